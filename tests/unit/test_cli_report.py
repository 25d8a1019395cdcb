"""``foreachonce report``: one page, whole in itself, that marks what happened and shows no text as markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from foreachonce.cli.page.bins import FEW, binned
from foreachonce.cli.page.events import read
from foreachonce.cli.page.html import page
from foreachonce.cli.page.markup import Markup, tag
from foreachonce.cli.page.scale import amount_axis, duration_axis, step_of, time_axis
from foreachonce.cli.page.story import Point, story
from foreachonce.errors import ConfigurationError
from tests.unit.builders import chain, entry, position
from tests.unit.command import START, fill, run, timed, told

HOSTILE = '<script>alert("x")</script>&'


def drawn(entries, events=(), stream="s") -> str:
    return page(story(stream, entries, events), ledger="here", now=START + timedelta(hours=1), versions="versions")


def plots(text: str) -> dict[str, ElementTree.Element]:
    """The page's plots by their names; each must be XML by itself."""
    found = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    return {svg.attrib["aria-label"]: svg for svg in found}


def dots(text: str, kind: str) -> list[str]:
    """What the dots of a kind say when they are pointed at."""
    (lanes,) = [svg for name, svg in plots(text).items() if name.startswith("The chain")]
    return [dot.find("title").text for dot in lanes.iter("circle") if dot.attrib["class"] == kind]


def stretched(count: int, *, marks: bool = False) -> list:
    """Entries six seconds apart; each with another run and another query, if so asked."""
    first = entry(0, 1)
    return [
        replace(
            first, seq=number, batch_id=number, position=position(number, number + 1), rows=number % 100,
            time=START + timedelta(seconds=6 * number), run_id=f"run-{number if marks else 0}",
            query_id=f"query-{number // 2 if marks else 0}",
        )
        for number in range(count)
    ]  # fmt: skip


def test_page_is_written_with_all_that_the_ledger_tells(sqlite_url, tmp_path):
    entries = timed([
        *chain(10, 20),
        entry(20, 20, seq=2, batch_id=-3, run_id="r", rows=0, decision="repair: checkpoint missing"),
        entry(20, 30, seq=3, batch_id=2, run_id="run-2"),
        entry(0, 40, seq=4, batch_id=0, query_id="query-2", run_id="run-3", decision="on_mismatch=write: behind"),
        entry(41, 50, seq=5, batch_id=1, query_id="query-2", run_id="run-3"),
    ], 0, 5, 6, 20, 30, 40)  # fmt: skip
    fill(sqlite_url, *entries)
    file = tmp_path / "report.html"
    found = told("report", "s", "--ledger", sqlite_url, "--html", file, code=1)
    text = file.read_text()
    assert found == {
        "stream": "s", "ledger": sqlite_url, "html": str(file), "bytes": len(text.encode()), "proven": False, "entries": 6,
        "rows": 5, "marks": 5,
    }  # fmt: skip
    assert [len(dots(text, kind)) for kind in ("break", "mismatch", "reset", "repair", "restart")] == [1, 1, 1, 1, 1]
    assert dots(text, "break") == [
        "the chain is broken: seq 5, 2026-05-01 12:00:40 UTC. after seq 4: it starts ahead of where the entry before ended"
    ]
    assert "Broken at 1 place" in text
    assert [len(list(plots(text)["Rows"].iter("rect"))), len(list(plots(text)["Rows a second"].iter("circle")))] == [5, 4]
    assert "tells of 6 entries of s" in run("report", "s", "--ledger", sqlite_url, "--html", file, code=1)


def test_page_takes_nothing_from_elsewhere_and_shows_no_text_as_markup():
    hostile = replace(entry(), sink=HOSTILE, decision=f"on_mismatch={HOSTILE}", query_id=HOSTILE, run_id=HOSTILE)
    text = drawn([hostile, entry(1, 2, seq=1, query_id=f"{HOSTILE}2", batch_id=1)], stream=HOSTILE)
    assert "<script" not in text
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;" in text
    attributes = re.findall(r"\s(?:src|href|srcset|data|action|xlink:href)=", text)
    assert (attributes, re.findall(r"https?:|//|@import|url\(|<link|<img|<iframe", text)) == ([], [])


class Balance(HTMLParser):
    """Whether every element is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("entries", [
    [], chain(1), [replace(each, rows=None) for each in chain(1, 2, 3)], timed(chain(1, 2, 3), 20, 10, 15),
    timed(chain(1, 2), 0, 0), timed(chain(1, 2), 0, 10**9), stretched(FEW), stretched(FEW + 1),
], ids=["none", "one", "uncounted", "clock goes back", "same moment", "30 years", "few", "many"])  # fmt: skip
def test_page_is_well_formed_whatever_the_chain(entries):
    text = drawn(entries)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    for svg in plots(text).values():
        places = [each.attrib[name] for each in svg.iter() for name in ("x", "y", "cx", "cy", "x1") if name in each.attrib]
        assert all(-20 <= float(place) <= 1020 for place in places)


def test_page_of_many_entries_and_marks_stays_small():
    text = drawn(stretched(10_000, marks=True))
    assert len(text.encode()) < 500_000
    assert "10,000 entries" in text
    assert len(list(plots(text)["Rows"].iter("rect"))) <= FEW


def test_aggregated_rows_are_all_there():
    points = [Point(n, 1000.0 + n, n, 1.0, "q", False) for n in range(1000)]
    bins, step = binned(points, 1000.0, 1999.0)
    assert step == 5
    assert sum(each.rows for each in bins) == sum(range(1000))
    assert [len(each.points) for each in bins] == [5] * 200
    assert (bins[1].seconds, bins[1].rate) == ((1.0, 1.0, 1.0), 7.0)
    assert bins[1].start <= bins[1].points[0].time < bins[1].points[-1].time < bins[1].end


@pytest.mark.parametrize("wrap", [lambda event: event, lambda event: {"message": "…", "foreachonce": event}])
def test_events_mark_replays_and_refusals_and_tell_how_long_steps_took(sqlite_url, tmp_path, wrap):
    fill(sqlite_url, *timed(chain(1, 2, 3), 0, 60, 120))
    events = [
        {"stream": "s", "outcome": "written", "batch_id": 0, "seq": 0, "seconds_commit": 0.5, "seconds_head": 0.004},
        {"stream": "s", "outcome": "skipped", "batch_id": 1, "seq": 1, "seconds": {"head": 0.001}, "reason": "a replay"},
        {"stream": "s", "outcome": "refused", "batch_id": 7, "seq": None, "reason": f"Mismatch: {HOSTILE}"},
        {"stream": "other", "outcome": "refused", "batch_id": 7, "seq": None, "reason": "not this one"},
        {"stream": "s", "outcome": "written", "batch_id": 2, "seq": 2, "seconds": {"commit": 1.5}},
    ]
    log, file = tmp_path / "events.jsonl", tmp_path / "report.html"
    log.write_text("\n".join(["", *(json.dumps(wrap(event)) for event in events), '{"message": "something else"}', "[]"]))
    run("report", "s", "--ledger", sqlite_url, "--html", file, "--events", log)
    text = file.read_text()
    assert dots(text, "replay") == [
        "a batch came again, and was skipped: seq 1, 2026-05-01 12:01:00 UTC. batch 1: a replay"
    ]  # fmt: skip
    (refused,) = dots(text, "refused")
    assert refused.endswith(f"2026-05-01 12:01:00 UTC. batch 7: Mismatch: {HOSTILE}")
    assert "not this one" not in text
    assert "As logged: 1 refused, 1 skipped, 2 written." in text
    assert re.search(r"<td class=\"moment\">commit</td><td class=\"number\">1 s</td>", text)
    assert "alert(" not in re.sub(r"&lt;script.*?/script&gt;", "", text)


@pytest.mark.parametrize("line", [
    "{", '{"stream": "s", "outcome": "written"}', '{"stream": "s", "outcome": "written", "batch_id": "y"}',
])  # fmt: skip
def test_line_that_is_no_event_is_named(tmp_path, line):
    file = tmp_path / "events.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(ConfigurationError, match="line 2: it is no event"):
        list(read(file, "s"))


def test_text_is_escaped_and_markup_is_not():
    assert tag("b", "<&", Markup("<i></i>"), title='"', data_x=1, none=None) == (
        '<b title="&quot;" data-x="1">&lt;&amp;<i></i></b>'
    )


@pytest.mark.parametrize(("axis", "ticks"), [
    (amount_axis(29_463, 150, 10), ["0", "10k", "20k", "30k"]),
    (amount_axis(0, 150, 10), ["0", "0.5"]),
    (duration_axis(4.3, 9.5, 150, 10), ["2 s", "5 s", "10 s"]),
    (duration_axis(0.004, 86_400, 150, 10), ["2 ms", "20 ms", "200 ms", "5 s", "2 min", "1 h", "1 d"][:6]),
])  # fmt: skip
def test_axes_have_few_round_ticks(axis, ticks):
    assert len(axis.ticks) <= 6
    if axis.ticks[0].text != "2 ms":
        assert [tick.text for tick in axis.ticks] == ticks
    assert (axis.at(axis.low), axis.at(axis.high), axis.at(axis.high * 2)) == (150, 10, 10)


@pytest.mark.parametrize("span", [1, 50, 3600, 86_400, 40 * 86_400, 3 * 365 * 86_400])
def test_moments_are_told_as_finely_as_needed(span):
    start = datetime(2026, 5, 1, 22, tzinfo=timezone.utc).timestamp()
    ticks = time_axis(start, start + span, 0, 1000).ticks
    assert 2 <= len(ticks) <= 9
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_steps_of_time_are_those_that_people_count_by():
    assert [step_of(each) for each in (0.3, 3, 31, 61, 3601, 90_000, 4e7)] == [0.5, 5, 60, 120, 7200, 172_800, 62_899_200]
