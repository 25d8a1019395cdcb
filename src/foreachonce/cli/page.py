"""The page: plots over one axis of time, so that what stands below each other is the same moment, within its template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from math import ceil
from statistics import median
from typing import Any

import pandas as pd
from bokeh import models
from bokeh.embed import components
from bokeh.layouts import gridplot
from bokeh.models.annotations import Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined

from foreachonce.cli.output import decision_text, duration, number, short
from foreachonce.cli.timeline import KINDS, Event, Happening, Kind, Story, rate

# So many batches are shown one by one; more of them by steps of time that people count by.
FEW = 300
_STEPS = "1ms 2ms 5ms 10ms 20ms 50ms 100ms 200ms 500ms 1s 2s 5s 10s 30s 1min 2min 5min 10min 30min 1h 3h 12h 1D 7D 28D 364D"
STEPS = {name: pd.Timedelta(name) for name in _STEPS.split()}
BLUE, PALE, BROWN, GREEN, GREY, RED = "#4a7dc4", "#9dbce8", "#c07a3e", "#2d9a74", "#7b8794", "#d9413c"
# Each is readable on a light page and on a dark one.
COLORS: dict[Kind, str] = dict.fromkeys(KINDS, "#b97a07") | {
    "break": RED, "failed": RED, "reset": "#8f5fd0", "repair": "#1f86c7", "replay": GREY, "restart": GREY,
}  # fmt: skip
# These kinds are drawn through all plots, as long as they are few.
GUIDES, FEW_GUIDES = ("break", "mismatch", "unfinished", "reset", "repair"), 40


def page(story: Story, *, ledger: str, now: datetime, versions: str) -> str:
    """The page of a stream, whole in itself; the ledger's address is one without secrets."""
    loader = PackageLoader("foreachonce.cli", ".")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for each in (number, duration, short, rate, median, decision_text):
        jinja.filters[each.__name__] = each
    script, plots = components(draw(story)) if story.points else ("", "")
    return jinja.get_template("page.html.j2").render(
        story=story, ledger=ledger, now=now, versions=versions, kinds=KINDS, colors=COLORS, steps=step_times(story.events),
        library=Resources(mode="inline", components=["bokeh"]).render_js(), script=script, plots=plots,
    )  # fmt: skip


def step_times(events: Iterable[Event]) -> dict[str, list[float]]:
    """The median, the 95 % quantile and the most of the seconds that each step of the written batches took."""
    written = pd.DataFrame([event.seconds for event in events if event.outcome == "written"])
    return {str(step): seconds.quantile([0.5, 0.95, 1]).to_list() for step, seconds in written.items()}


def draw(story: Story) -> models.GridPlot:
    """The plots below each other, with one axis of time and one ruler."""
    entries = pd.DataFrame(story.points).astype({"rows": float, "seconds": float})
    plots = [_chain(entries, story.happenings), *_measures(*bins(entries[~entries.is_repair]))]
    guides = [each for each in story.happenings if each.kind in GUIDES]
    ruler = Span(dimension="height", line_color=GREY, line_dash="dotted")
    for plot in plots:
        plot.x_range = plots[0].x_range
        plot.add_tools(models.CrosshairTool(dimensions="height", overlay=ruler))
        if len(guides) <= FEW_GUIDES:
            colors = [COLORS[each.kind] for each in guides]
            plot.vspan([each.time for each in guides], line_color=colors, line_dash="dashed")
    return gridplot([[plot] for plot in plots], sizing_mode="stretch_width", toolbar_options={"logo": None})


def bins(batches: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """Batches one by one where they are few, else by steps of time; and the name of that step."""
    # Clocks may go back.
    batches = batches.sort_values("time", kind="stable")
    least = (batches.time.max() - batches.time.min()) / FEW
    step = next((name for name, length in STEPS.items() if length >= least), "364D") if len(batches) > FEW else None
    timed = batches.seconds.gt(0) & batches.rows.notna()
    batches = batches.assign(timed_rows=batches.rows.where(timed), timed_seconds=batches.seconds.where(timed))
    groups = batches.groupby(batches.time.dt.floor(step).rename("bin") if step else "seq", sort=False)
    values = groups.agg(
        time=("time", "mean"), start=("time", "first"), first=("seq", "first"), last=("seq", "last"),
        least=("seconds", "min"), middle=("seconds", "median"), most=("seconds", "max"),
    )  # fmt: skip
    sums = groups[["rows", "timed_rows", "timed_seconds"]].sum(min_count=1)
    return values.assign(rows=sums.rows, rate=sums.timed_rows / sums.timed_seconds), step


def _chain(entries: pd.DataFrame, happenings: Sequence[Happening]) -> figure:
    """The chain as a bar, a tone for each query; below it a lane for each kind of what happened."""
    kinds = [kind for kind in KINDS if any(each.kind == kind for each in happenings)]
    first, last = entries.time.min(), entries.time.max()
    margin = (last - first or STEPS["1min"]) / 100
    ranges = {"x_range": (first - margin, last + margin), "y_range": [*kinds[::-1], "chain"]}
    plot = _figure("The chain, a tone for each query", 80 + 21 * len(kinds), **ranges)
    queries, marks = _queries(entries, first, last + margin), _marks(happenings, (last - first) / 150)
    bars = plot.hbar("lane", left="start", right="end", height=0.7, color="color", source=queries)
    dots = plot.scatter("time", "kind", size="size", color="color", source=marks)
    plot.add_tools(_hover(bars, dots))
    return plot


def _queries(entries: pd.DataFrame, first: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Each query from its first entry to where the next one begins; of those that begin at the same place the last one."""
    groups = entries.groupby((entries.query_id != entries.query_id.shift()).cumsum())
    queries = groups.agg(start=("time", "first"), first=("seq", "first"), last=("seq", "last"), query=("query_id", "first"))
    queries = queries.groupby(((queries.start - first) // ((end - first) / 1000)).rename("place")).last()
    queries["lane"], queries["end"] = "chain", queries.start.shift(-1, fill_value=end)
    queries["color"] = [(BLUE, PALE)[place % 2] for place in range(len(queries))]
    queries["words"] = [f"query {each.query}: seq {each.first:,} to {each.last:,}" for each in queries.itertuples()]
    return queries


def _marks(happenings: Sequence[Happening], near: pd.Timedelta) -> pd.DataFrame:
    """A dot for each thing that happened, or for those that would cover each other."""
    marks = pd.DataFrame(happenings, columns=list(Happening._fields)).astype({"time": "datetime64[ns, UTC]"})
    place = marks.time.dt.floor(max(near, STEPS["1ms"])).rename("place")
    marks["words"] = [str(each) for each in happenings]
    groups = marks.groupby(["kind", place])
    dots: pd.DataFrame = groups.agg(time=("time", "first"), words=("words", "first"), times=("words", "size"))
    dots = dots.reset_index()
    dots["words"] = dots.words.where(dots.times == 1, dots.times.map("{:,} times, the first: ".format) + dots.words)
    dots["color"], dots["size"] = dots.kind.map(COLORS), (7 + dots.times**0.5).clip(upper=14)
    return dots


def _measures(values: pd.DataFrame, step: str | None) -> Iterator[figure]:
    """Rows, times and rates of the batches, as far as they are known."""
    each = f"by steps of {step.lower()}" if step else "each batch"
    span = values.time.max() - values.time.min() or STEPS["1min"]
    width = STEPS[step] if step else span / max(len(values), 70) * 0.7
    times = values[["least", "middle", "most"]]
    shortest = times[times > 0].min().min()
    # A logarithm has no zero.
    shown = values.assign(words=[_describe(each) for each in values.itertuples()], **times.clip(lower=shortest))
    source = models.ColumnDataSource(shown)
    if values.rows.any():
        plot = _figure(f"Rows, {each}")
        plot.add_tools(_hover(plot.vbar("time", width, "rows", color=BLUE, source=source)))
        yield plot
    if pd.notna(shortest):
        plot = _figure(f"Time between batches, {'median within the range, ' if step else ''}{each}", y_axis_type="log")
        plot.vbar("time", width, "most", "least", fill_color=BROWN, fill_alpha=0.25, line_color=None, source=source)
        _mark_durations(plot, shortest, times.most.max())
        yield _line(plot, "middle", BROWN, source)
    if values.rate.any():
        yield _line(_figure(f"Rows a second since the batch before, {each}"), "rate", GREEN, source)


def _describe(batches: Any) -> str:
    """One batch or a bin of several, in the words of its hover text."""
    lines = [f"seq {batches.first:,}" + (f" to {batches.last:,}" if batches.last > batches.first else "")]
    lines.append(f"{batches.start:%F %T} UTC")
    if pd.notna(batches.rows):
        lines.append(f"{batches.rows:,.0f} rows")
    if pd.notna(batches.middle):
        between = f"{duration(batches.least)} to {duration(batches.most)}, median " if batches.most > batches.least else ""
        lines.append(f"{between}{duration(batches.middle)} after the batch before")
    if pd.notna(batches.rate):
        lines.append(f"{number(batches.rate)} rows a second")
    return "\n".join(lines)


def _mark_durations(plot: figure, shortest: float, longest: float) -> None:
    names = {length.total_seconds(): name.lower() for name, length in STEPS.items()}
    inside = [seconds for seconds in names if shortest / 2 <= seconds <= longest * 2]
    plot.yaxis.ticker = inside[:: ceil(len(inside) / 6) or 1]
    plot.yaxis.major_label_overrides = {seconds: names[seconds] for seconds in inside}


def _line(plot: figure, name: str, color: str, source: models.ColumnDataSource) -> figure:
    plot.line("time", name, color=color, alpha=0.6, source=source)
    plot.add_tools(_hover(plot.scatter("time", name, color=color, size=5, source=source)))
    return plot


def _figure(title: str, height: int = 190, **settings: Any) -> figure:
    # No tool takes drags unasked: a finger is to scroll the page.
    settings |= {"x_axis_type": "datetime", "tools": "xpan,xbox_zoom,xwheel_zoom,reset", "active_drag": None}
    plot = figure(title=title, height=height, min_border_left=80, **settings)
    plot.xaxis.formatter = models.DatetimeTickFormatter(
        days="%b %d", hours="%H:%M", hourmin="%H:%M", minutes="%H:%M", minsec="%T", seconds="%T"
    )
    if "y_range" not in settings:
        plot.yaxis.formatter = models.NumeralTickFormatter(format="0.[000]a")
    return plot


def _hover(*renderers: GlyphRenderer[Any]) -> models.HoverTool:
    """Hover texts; Bokeh escapes what it puts in the place of ``@words``, from 3.8 on."""
    words = '<div style="max-width: 26em; overflow-wrap: anywhere; white-space: pre-line">@words</div>'
    return models.HoverTool(renderers=list(renderers), tooltips=words, visible=False)
