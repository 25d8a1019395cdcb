"""The whole page. Pure but for its style sheet, which is a file beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from statistics import median, quantiles

from foreachonce.cli.page import plots
from foreachonce.cli.page.bins import Bin, binned
from foreachonce.cli.page.events import Event
from foreachonce.cli.page.markup import Markup, joined, tag
from foreachonce.cli.page.scale import Axis, time_axis, time_text
from foreachonce.cli.page.story import KINDS, Happening, Story
from foreachonce.cli.timeline import Step, rate
from foreachonce.cli.words import decision_text, duration, number, short

LISTED = 100
RECENT = 20
# A verdict of a chain that is broken all over names so many places.
_LINES = 60


def page(story: Story, *, ledger: str, now: datetime, versions: str) -> str:
    """The page of a stream.

    Args:
        story: what it tells.
        ledger: the ledger's address, without secrets.
        now: when it is made, in UTC.
        versions: of the library.
    """
    css = files("foreachonce.cli.page").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"{story.stream} - foreachonce"),
        tag("style", Markup(css)),
    )
    body = tag(
        "body",
        tag("h1", story.stream),
        tag("p", f"{ledger}, {now:%F %T} UTC, {versions}", class_="soft"),
        _tiles(story, now),
        _verdict(story),
        *_plots(story),
        *_steps(story.events),
        *_happenings(story.happenings),
        *_entries(story.newest),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _tiles(story: Story, now: datetime) -> Markup:
    points, proof = story.points, story.proof
    batches = [point for point in points if not point.is_repair]
    between = [point.seconds for point in batches if point.seconds is not None]
    recent = [step for step in story.newest if not step.entry.is_repair][-RECENT:]
    facts = {
        "entries": f"{proof.entries:,}",
        "rows": f"{proof.rows:,}",
        "seq of the newest entry": f"{points[-1].seq:,}" if points else "-",
        "age of the newest batch": duration(max(0.0, now.timestamp() - batches[-1].time)) if batches else "-",
        "usual time between batches": duration(median(between)) if between else "-",
        f"rows a second, last {len(recent)}": number(rate(recent)),
    }
    tiles = (tag("div", tag("b", value), tag("span", name), class_="tile") for name, value in facts.items())
    return tag("div", *tiles, class_="tiles")


def _verdict(story: Story) -> Markup:
    lines = list(story.proof.lines())
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… and {len(lines) - _LINES:,} lines more; foreachonce verify has them all."]
    kind = "broken" if not story.proof.is_proven else "forced" if story.proof.forced or story.proof.unfinished else "proven"
    return tag("div", *(tag("p", line) for line in lines), class_=f"verdict {kind}")


def _plots(story: Story) -> Iterable[Markup]:
    if not story.points:
        return
    times = [point.time for point in story.points]
    first, last = min(times), max(times)
    x = time_axis(first, last, plots.LEFT, plots.WIDTH - plots.RIGHT)
    bins, step = binned(story.points, first, last)
    each = "Each batch" if step is None else f"By {time_text(step)}"
    words = "A colour for each query; below, what happened to it. All times are UTC."
    yield from _section("The chain", words, plots.chain(story, x))
    told: Mapping[tuple[str, str], Callable[[Story, Sequence[Bin], Axis], Markup]] = {
        ("Rows", f"{each}."): plots.rows,
        ("Seconds between batches", _how_seconds(step)): plots.seconds,
        ("Rows a second", f"{each}, over the time since the batch before."): plots.rates,
    }
    tells_rows = any(point.rows for point in story.points)
    for (title, words), plot in told.items():
        if tells_rows or plot is plots.seconds:
            yield from _section(title, words, plot(story, bins, x))


def _how_seconds(step: float | None) -> str:
    if step is None:
        return "From each batch to the next, by a logarithmic scale."
    return f"From each batch to the next, by a logarithmic scale: the median by {time_text(step)}, within the range."


def _section(title: str, words: str, *content: Markup) -> Iterable[Markup]:
    return tag("h2", title), tag("p", words, class_="soft"), *content


def _steps(events: Sequence[Event]) -> Iterable[Markup]:
    """How long each step of the logged batches took."""
    if not events:
        return ()
    outcomes = sorted({event.outcome for event in events})
    counts = ", ".join(f"{sum(event.outcome == each for event in events):,} {each}" for each in outcomes)
    names = dict.fromkeys(name for event in events if event.outcome == "written" for name in event.seconds)
    taken = {name: [e.seconds[name] for e in events if e.outcome == "written" and name in e.seconds] for name in names}
    most = max((median(found) for found in taken.values()), default=0)
    rows = (_step_row(name, found, most) for name, found in taken.items())
    table = _table({"step": "moment", "median": "number", "95 %": "number", "most": "number", "": "bars"}, rows)
    return _section("Steps of a batch", f"As logged: {counts}. Seconds of those that were written.", table)


def _step_row(name: str, found: Sequence[float], most: float) -> Sequence[object]:
    high = quantiles(found, n=20)[-1] if len(found) > 1 else found[0]
    share = median(found) / most if most else 0
    bar = tag("div", class_="bar", style=f"width:{max(0.5, share * 100):.1f}%")
    return name, time_text(median(found)), time_text(high), time_text(max(found)), bar


def _happenings(happenings: Sequence[Happening]) -> Iterable[Markup]:
    if not happenings:
        return ()
    rows = (
        (_moment(each.time), "" if each.seq is None else f"{each.seq:,}", _mark(each.kind), _happened(each))
        for each in reversed(happenings[-LISTED:])
    )
    words = "The newest first." if len(happenings) <= LISTED else f"The newest {LISTED} of {len(happenings):,}."
    return _section("What happened", words, _table({"time (UTC)": "moment", "seq": "number", "": "", "words": ""}, rows))


def _happened(each: Happening) -> str:
    return f"{KINDS[each.kind]}: {each.words}" if each.words else KINDS[each.kind]


def _entries(newest: Sequence[Step]) -> Iterable[Markup]:
    columns = {
        "seq": "number", "batch": "number", "rows": "number", "after": "number", "rows/s": "number", "time (UTC)": "moment",
        "offsets": "", "": "",
    }  # fmt: skip
    return _section("The newest entries", f"The last {len(newest)}.", _table(columns, map(_entry, reversed(newest))))


def _entry(step: Step) -> Sequence[object]:
    entry = step.entry
    return (
        f"{entry.seq:,}",
        "-" if entry.is_repair else f"{entry.batch_id:,}",
        number(entry.rows),
        duration(step.seconds),
        number(step.rate),
        _moment(entry.time.timestamp()),
        decision_text(entry) if entry.is_repair else short(entry.position, 90),
        joined(*map(_mark, step.marks)),
    )


def _table(columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; ``columns`` gives each one's class."""
    kinds = [kind or None for kind in columns.values()]
    head = tag("tr", *(tag("th", name, class_=kind) for name, kind in zip(columns, kinds, strict=True)))
    body = (tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True))) for row in rows)
    return tag("div", tag("table", head, *body), class_="wide")


def _mark(kind: str) -> Markup:
    return tag("span", kind, class_=f"mark {kind}")


def _moment(time: float) -> str:
    return f"{datetime.fromtimestamp(time, timezone.utc):%F %T}"
