"""The page's plots, as SVG. They share one axis of time, so what stands below each other is the same moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from itertools import groupby

from foreachonce.cli.page.bins import Bin
from foreachonce.cli.page.markup import Markup, joined, tag
from foreachonce.cli.page.scale import Axis, amount_axis, duration_axis, time_text
from foreachonce.cli.page.story import KINDS, Happening, Kind, Point, Story

WIDTH, LEFT, RIGHT = 1000, 92, 14
TOP, FOOT = 10, 22
# The kinds that are drawn through all plots, as long as they are few.
GUIDES: tuple[Kind, ...] = ("break", "mismatch", "unfinished", "reset", "repair")
FEW_GUIDES = 40
LANE, BAR, DOT = 20, 16, 7


def chain(story: Story, x: Axis) -> Markup:
    """The chain as a bar, a colour for each query; below it a lane for each kind of what happened."""
    kinds = [kind for kind in KINDS if any(each.kind == kind for each in story.happenings)]
    bottom = TOP + BAR + 10 + LANE * len(kinds)
    rows = [_label("chain", TOP + BAR / 2), *_segments(story.points, x)]
    for number, kind in enumerate(kinds):
        middle = TOP + BAR + 10 + LANE * (number + 0.5)
        found = [each for each in story.happenings if each.kind == kind]
        rows.append(tag("line", x1=x.start, x2=x.end, y1=middle, y2=middle, class_="lane"))
        rows += [_label(kind, middle), *_dots(found, kind, middle, x)]
    return _svg("The chain, and what happened to it", bottom, _moments(x, TOP, bottom), *rows)


def rows(story: Story, bins: Sequence[Bin], x: Axis) -> Markup:
    """The rows of each batch, or of each step of time, as bars."""
    y = amount_axis(max((each.rows for each in bins), default=0), 150, TOP)
    wide = min(14.0, max(1.5, 0.7 * (x.end - x.start) / max(len(bins), 1)))
    drawn = (_bar(each, each.rows, wide, x, y, f"{each.rows:,} rows") for each in bins)
    return _plot("Rows", story, x, y, tag("g", *drawn, class_="rows"))


def seconds(story: Story, bins: Sequence[Bin], x: Axis) -> Markup:
    """The seconds between neighbouring batches: each, or the middle of each step of time within least and greatest."""
    known = [(each, found) for each in bins if (found := each.seconds) is not None]
    positive = [value for _, found in known for value in found if value > 0]
    y = duration_axis(min(positive, default=1), max(positive, default=1), 150, TOP)
    line = _line((x.at(_middle(each)), y.at(found[1])) for each, found in known)
    drawn = (_range(each, found, x, y) for each, found in known)
    return _plot("Seconds between batches", story, x, y, line, *drawn, kind="seconds")


def rates(story: Story, bins: Sequence[Bin], x: Axis) -> Markup:
    """Rows a second, since the batch before."""
    known = [(each, found) for each in bins if (found := each.rate) is not None]
    y = amount_axis(max((found for _, found in known), default=0), 150, TOP)
    places = [(each, x.at(_middle(each)), y.at(found), found) for each, found in known]
    line = _line((left, top) for _, left, top, _ in places)
    dots = (_dot(left, top, 2.2, f"{found:,.1f} rows/s, {_told(each)}") for each, left, top, found in places)
    return _plot("Rows a second", story, x, y, line, *dots, kind="rates")


def _plot(title: str, story: Story, x: Axis, y: Axis, *drawn: Markup, kind: str | None = None) -> Markup:
    lines = (tag("line", x1=x.start, x2=x.end, y1=y.at(tick.value), y2=y.at(tick.value), class_="grid") for tick in y.ticks)
    labels = (_label(tick.text, y.at(tick.value)) for tick in y.ticks)
    body = tag("g", *drawn, class_=kind)
    return _svg(title, 150, *lines, *labels, _moments(x, TOP, 150), _guides(story.happenings, x), body)


def _svg(title: str, bottom: float, *drawn: object) -> Markup:
    box = f"0 0 {WIDTH} {round(bottom + FOOT)}"
    return tag("div", tag("svg", *drawn, viewBox=box, role="img", aria_label=title), class_="wide")


def _moments(x: Axis, top: float, bottom: float) -> Markup:
    """The axis of time: a line and a text at each tick."""
    lines = (tag("line", x1=x.at(tick.value), x2=x.at(tick.value), y1=top, y2=bottom, class_="grid") for tick in x.ticks)
    texts = (tag("text", tick.text, x=x.at(tick.value), y=bottom + 15, class_="moment") for tick in x.ticks)
    return joined(*lines, *texts)


def _label(text: str, middle: float) -> Markup:
    return tag("text", text, x=LEFT - 10, y=round(middle + 4, 1), class_="label")


def _guides(happenings: Iterable[Happening], x: Axis) -> Markup:
    found = [each for each in happenings if each.kind in GUIDES]
    if len(found) > FEW_GUIDES:
        return Markup()
    return joined(
        *(tag("line", x1=x.at(each.time), x2=x.at(each.time), y1=TOP, y2=150, class_=f"guide {each.kind}") for each in found)
    )


def _segments(points: Sequence[Point], x: Axis) -> Iterable[Markup]:
    """A bar for each query, in one of two tones; it reaches to where the next one begins."""
    queries = [list(found) for _, found in groupby(points, key=lambda point: point.query_id)]
    # Of those that begin at the same place the last is seen.
    groups = list({round(x.at(found[0].time)): found for found in queries}.values())
    for number, found in enumerate(groups):
        left = x.at(found[0].time) if number else x.start
        right = x.at(groups[number + 1][0].time) if number + 1 < len(groups) else x.end
        words = f"query {found[0].query_id}: seq {found[0].seq} to {found[-1].seq}"
        yield _box(left, TOP, right - left, BAR, words, f"query{number % 2}")


def _dots(found: Sequence[Happening], kind: Kind, middle: float, x: Axis) -> Iterable[Markup]:
    """A dot for each, or for those that would cover each other."""
    for _, near in groupby(found, key=lambda each: x.at(each.time) // DOT):
        several = list(near)
        first = several[0]
        words = f"{KINDS[kind]}: seq {first.seq}, {_moment(first.time)} UTC. {first.words}"
        if len(several) > 1:
            words = f"{len(several)} times, the first: {words}"
        yield _dot(x.at(first.time), middle, min(7.0, 3.5 + len(several) ** 0.5 / 2), words, kind)


def _bar(each: Bin, value: float, wide: float, x: Axis, y: Axis, words: str) -> Markup:
    left, right = x.at(each.start), x.at(each.end)
    if each.start == each.end:
        left, right = left - wide / 2, right + wide / 2
    top = min(y.at(value), y.start - (1 if value else 0))
    return _box(left, top, right - left - 0.3, y.start - top, f"{words}, {_told(each)}")


def _range(each: Bin, found: tuple[float, float, float], x: Axis, y: Axis) -> Markup:
    least, middle, most = found
    words = f"{time_text(middle)}, {_told(each)}"
    dot = _dot(x.at(_middle(each)), y.at(middle), 2.2, words)
    if len(each.points) == 1:
        return dot
    words = f"{time_text(least)} to {time_text(most)}, in the middle {words}"
    left, top = x.at(each.start), y.at(most)
    return joined(_box(left, top, x.at(each.end) - left, max(1.0, y.at(least) - top), words, "range"), dot)


def _box(left: float, top: float, width: float, height: float, words: str, kind: str | None = None) -> Markup:
    size = {"x": round(left, 1), "y": top, "width": round(max(1.0, width), 1), "height": round(height, 1)}
    return tag("rect", tag("title", words), **size, class_=kind)


def _dot(left: float, middle: float, radius: float, words: str, kind: str | None = None) -> Markup:
    return tag("circle", tag("title", words), cx=left, cy=middle, r=round(radius, 1), class_=kind)


def _line(places: Iterable[tuple[float, float]]) -> Markup:
    return tag("polyline", points=" ".join(f"{left},{top}" for left, top in places))


def _middle(each: Bin) -> float:
    return (each.start + each.end) / 2


def _told(each: Bin) -> str:
    """Which entries, and when."""
    first, last = each.points[0], each.points[-1]
    which = f"seq {first.seq}" if first is last else f"seq {first.seq} to {last.seq}"
    return f"{which}, {_moment(first.time)} UTC"


def _moment(time: float) -> str:
    return f"{datetime.fromtimestamp(time, timezone.utc):%F %T}"
