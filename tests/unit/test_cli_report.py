"""``foreachonce report``: one page, whole in itself, that marks what happened and shows no text as markup."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import accumulate

import pandas as pd
import pytest
from bokeh.models import HoverTool

from foreachonce.cli.page import FEW, bins, draw, page
from foreachonce.cli.timeline import WORDS, Event, Point, gather, read
from foreachonce.entry import Decision
from foreachonce.errors import ConfigurationError
from tests.unit.builders import chain, entry, position
from tests.unit.command import START, fill, run, timed, told

HOSTILE = """</script><!--<script>alert("x")</script><img src=x onerror='alert(1)'>&{{ 7 * 7 }}@{kind}\\\u2028"""

ALL = ["The chain", "Rows", "Time", "Rows a second since the batch before"]


def drawn(entries, events=(), stream="s") -> str:
    return page(gather(stream, entries, events), ledger="here", now=START + timedelta(hours=1), versions="versions")


def plots(entries, events=()) -> dict:
    """The page's plots by the beginnings of their titles."""
    grid = draw(gather("s", entries, events))
    return {re.split(r"[,;]| between", plot.title.text)[0]: plot for plot, _, _ in grid.children}


def sources(text: str) -> list[dict[str, list]]:
    """The columns of text behind a page's plots."""
    (documents,) = re.findall(r"docs_json = '(.*)';", text)
    found = []

    def look(fields):
        if fields.get("type") == "map" and isinstance(fields.get("entries"), list):
            columns = {
                name: value["array"] for name, value in fields["entries"] if isinstance(value, dict) and "array" in value
            }
            found.append({name: texts for name, texts in columns.items() if isinstance(texts, list)})
        return fields

    json.loads(unescape(documents.replace("\\\\", "\\")), object_hook=look)
    return found


def dots(text: str, kind: str) -> list[str]:
    """What the dots of a kind say when they are pointed at."""
    (lanes,) = [columns for columns in sources(text) if "kind" in columns]
    return [words for each, words in zip(lanes["kind"], lanes["words"], strict=True) if each == kind]


def batches(text: str) -> list[str]:
    """What the batches say when they are pointed at."""
    return next(
        columns["words"] for columns in sources(text) if "words" in columns and not columns.keys() & {"kind", "query"}
    )


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
    assert [each.split("\n")[2:] for each in batches(text)] == [
        ["1 rows"],
        ["1 rows", "5.00 s after the batch before", "0.2 rows a second"],
        ["1 rows", "15.0 s after the batch before", "0.1 rows a second"],
        ["1 rows", "10.0 s after the batch before", "0.1 rows a second"],
        ["1 rows", "10.0 s after the batch before", "0.1 rows a second"],
    ]
    assert "tells of 6 entries of s" in run("report", "s", "--ledger", sqlite_url, "--html", file, code=1)


class Elements(HTMLParser):
    """A page's elements, with their attributes, each closed by its own end; and its text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.names, self.attributes, self.words = [], [], set(), []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.words.append(data)


def named(name: str) -> str:
    """A page on which every text that others wrote has this name in it."""
    first = replace(entry(), sink=name, decision=Decision("on_mismatch", name), query_id=name, run_id=name)
    events = [Event("failed", 1, None, name, {}), Event("written", 0, 0, "", {name: 1.0})]
    second = entry(2, 3, seq=1, query_id=f"{name}2", batch_id=1)
    return drawn(timed([first, second], 0, 5), events, stream=name)


def test_page_takes_nothing_from_elsewhere_and_shows_no_text_as_markup():
    text, harmless = named(HOSTILE), Elements(named("harmless"))
    page = Elements(text)
    assert HOSTILE not in text
    assert page.names == harmless.names
    assert page.attributes == harmless.attributes
    assert not page.attributes & {"src", "href", "srcset", "data", "action"}
    assert not re.search(r"https?:|//|@import|url\(", "".join(page.words))
    # All of it is there, as text.
    assert "".join(harmless.words).replace("harmless", HOSTILE) == "".join(page.words)
    assert dots(text, "mismatch") == [f"{WORDS['mismatch']}: seq 0, {START:%F %T} UTC. on_mismatch=write: {HOSTILE}"]


def test_hover_texts_are_escaped_by_the_library():
    hovers = [hover for plot in plots(stretched(3)).values() for hover in plot.select({"type": HoverTool})]
    assert len(hovers) == 4
    assert all(">@words<" in hover.tooltips for hover in hovers)


@pytest.mark.parametrize(("entries", "titles"), [
    ([], []), (chain(1), ["The chain", "Rows"]),
    ([replace(each, rows=None) for each in timed(chain(1, 2, 3), 0, 5, 9)], ["The chain", "Time"]),
    (timed(chain(1, 2, 3), 20, 10, 15), ALL), (timed(chain(1, 2), 0, 0), ["The chain", "Rows"]),
    (timed(chain(1, 2), 0, 10**9), ALL), (stretched(FEW), ALL), (stretched(FEW + 1), ALL),
    ([entry(1, 1, batch_id=-1, rows=0)], ["The chain"]),
], ids=["none", "one", "uncounted", "clock goes back", "same moment", "30 years", "few", "many", "repair"])  # fmt: skip
def test_page_is_well_formed_whatever_the_chain(entries, titles):
    assert ("script" in Elements(drawn(entries)).names) == bool(entries)
    assert ([*plots(entries)] if entries else []) == titles


def test_page_of_many_entries_and_marks_stays_small():
    text = drawn(stretched(10_000, marks=True))
    assert len(text.encode()) < 2_000_000
    assert "10,000 entries" in text
    assert 100 < len(batches(text)) <= FEW
    assert 100 < len(dots(text, "restart")) <= 155
    assert sum(int(each.partition(" times")[0].replace(",", "")) for each in dots(text, "restart")) == 5000


def test_aggregated_rows_are_all_there():
    points = [Point(n, START + timedelta(seconds=n), n, float(n % 5), "q", False) for n in range(1000)]
    found, step = bins(pd.DataFrame(points).astype({"rows": float, "seconds": float}))
    assert (step, len(found), found.rows.sum()) == ("5s", 200, sum(range(1000)))
    assert [(each.first, each.last) for each in found.itertuples()] == [(n, n + 4) for n in range(0, 1000, 5)]
    second = found.iloc[1]
    # The first of the five took no time.
    assert (second.least, second.middle, second.most, second.rate) == (0, 2, 4, (6 + 7 + 8 + 9) / 10)
    assert second.start < second.time < found.iloc[2].start


def test_more_batches_than_are_shown_one_by_one_keep_their_place_in_time():
    plot = plots(stretched(FEW + 1))["Rows"]
    assert plot.title.text == "Rows, by steps of 10s"
    assert plots(stretched(FEW))["Rows"].title.text == "Rows, each batch"


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
    assert '<td>commit</td><td class="number">1.000</td><td class="number">1.450</td><td class="number">1.500</td>' in text


@pytest.mark.parametrize("line", [
    "{", '{"stream": "s", "outcome": "written"}', '{"stream": "s", "outcome": "written", "batch_id": "y"}',
])  # fmt: skip
def test_line_that_is_no_event_is_named(line):
    with pytest.raises(ConfigurationError, match="line 2: it is no event"):
        list(read(["\n", line], "s"))


@pytest.mark.parametrize(("spans", "labels"), [
    ([4.3, 9.5], ["5s", "10s"]), ([1, 1], ["500ms", "1s", "2s"]), ([60, 7200], ["30s", "2min", "10min", "1h"]),
])  # fmt: skip
def test_times_between_batches_have_few_round_labels(spans, labels):
    moments = [0, *accumulate(spans)]
    axis = plots(timed(chain(1, 2, 3), *moments))["Time"].yaxis[0]
    assert [axis.major_label_overrides[tick] for tick in axis.ticker.ticks] == labels


def test_longest_times_have_few_labels_too():
    axis = plots(timed(chain(1, 2, 3), 0, 0.004, 10**8))["Time"].yaxis[0]
    assert 4 <= len(axis.ticker.ticks) <= 6


@pytest.mark.parametrize("package", ["bokeh", "jinja2"])
def test_missing_package_says_what_to_install(monkeypatch, tmp_path, sqlite_url, package):
    fill(sqlite_url, *chain(1))
    monkeypatch.delitem(sys.modules, "foreachonce.cli.page")
    monkeypatch.setitem(sys.modules, package, None)
    said = run("report", "s", "--ledger", sqlite_url, "--html", tmp_path / "report.html", code=2)
    assert "pip install 'foreachonce[report]'" in said
    assert list(tmp_path.glob("*.html")) == []
