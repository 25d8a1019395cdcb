"""The ledger as a table: made once, appended to by one writer, read back as it was written. On SQLite files."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from foreachonce import LedgerError, SqlLedger
from foreachonce.entry import Entry, LedgerState
from foreachonce.errors import Conflict, SinkUnavailable, WriteFailed
from foreachonce.position import Position, SourceSpan
from foreachonce.sql import schema, statements
from foreachonce.sql.databases.sqlite import Sqlite
from foreachonce.sql.url import parse_url
from tests.unit.builders import chain, entry, epoch, kafka, line, pointer


class Place:
    """A database of its own, from this process or as another one would see it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = parse_url(address)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with Sqlite().writing(self.url) as connection:
            yield connection

    def prepare(self) -> str:
        with self.writing() as connection:
            return schema.identity(connection, None) or schema.create(connection, Sqlite(), None)

    def append(self, *entries: Entry) -> None:
        self.prepare()
        with self.writing() as connection:
            for found in entries:
                statements.append_entry(connection, None, found, found.rows or 0)

    def write(self, found: Entry, *, failure: Exception | None = None) -> None:
        """A row of table t and an entry in one transaction, which may fail after both."""
        with self.writing() as connection:
            connection.execute(sa.text("insert into t values (1)"))
            statements.append_entry(connection, None, found, 1)
            if failure:
                raise failure

    def query(self, statement: str) -> list[tuple]:
        with self.writing() as connection:
            result = connection.execute(sa.text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    @property
    def view(self) -> SqlLedger:
        return SqlLedger(self.address)


@pytest.fixture
def place(sqlite_url) -> Place:
    return Place(sqlite_url)


def timeless(*entries: Entry) -> list[Entry]:
    """Entries without the time of their append."""
    return [replace(found, time=datetime.min) for found in entries]


# --- making it -------------------------------------------------------------------------------------------------------


def test_ledger_is_made_once_with_an_identity_that_stays(place):
    first = place.prepare()
    assert UUID(first)
    assert place.prepare() == first
    assert place.query("select name, value from foreachonce_meta order by name") == [
        ("identity", first), ("schema_version", "2")
    ]  # fmt: skip


def test_each_database_has_an_identity_of_its_own(place, tmp_path):
    assert place.prepare() != Place(f"sqlite:///{tmp_path / 'other.db'}").prepare()


def test_many_that_make_the_ledger_at_once_agree_on_it(place):
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: place.prepare(), range(8)))) == 1


def test_tables_have_the_columns_and_keys_that_are_documented(place):
    place.prepare()
    with place.writing() as connection:
        found = sa.inspect(connection)
        for name in (schema.LEDGER, schema.RUNS):
            _, _, text = schema.__doc__.partition(f"create table {name} (")
            body, _, _ = text.partition("\n    )")
            words = [line.split() for line in body.splitlines()[1:]]
            documented = [line[0] for line in words if line[1].rstrip(",") in ("text", "bigint", "smallint")]
            assert [column["name"] for column in found.get_columns(name)] == documented
            assert (
                " ".join(["primary", "key", f"({', '.join(found.get_pk_constraint(name)['constrained_columns'])}),"]) in body
            )
            (unique,) = found.get_unique_constraints(name)
            assert f"unique ({', '.join(unique['column_names'])})" in body
        assert found.get_pk_constraint(schema.INTENTS)["constrained_columns"] == ["stream", "seq", "attempt"]


def test_ledger_of_a_newer_version_says_what_to_do(place):
    place.prepare()
    place.query("update foreachonce_meta set value = '3' where name = 'schema_version'")
    with pytest.raises(LedgerError, match=r"schema version 3; .* version 2\. .*pip install -U foreachonce"):
        place.prepare()


def test_ledger_of_a_newer_version_is_not_written_to(place):
    place.append(entry())
    place.query("update foreachonce_meta set value = '3' where name = 'schema_version'")
    with pytest.raises(LedgerError):
        place.append(entry(1, 2, seq=1, batch_id=1))
    assert place.query("select count(*) from foreachonce_ledger") == [(1,)]


@pytest.mark.parametrize("damage", [
    "update foreachonce_meta set value = 'two' where name = 'schema_version'",
    "delete from foreachonce_meta where name = 'identity'",
])  # fmt: skip
def test_damaged_meta_table_is_refused_by_name(place, damage):
    place.prepare()
    place.query(damage)
    with pytest.raises(LedgerError, match="foreachonce_meta"):
        place.prepare()


def test_ledger_of_a_newer_version_is_not_read(place):
    place.prepare()
    place.query("update foreachonce_meta set value = '3' where name = 'schema_version'")
    with pytest.raises(LedgerError, match="pip install -U foreachonce"):
        place.view.head("s")


def test_place_where_no_ledger_can_be_made_is_refused(place, tmp_path):
    (tmp_path / "sink.db").write_text("this is no database" * 100)
    with pytest.raises(SinkUnavailable, match=r"cannot read .*sink\.db: file is not a database"):
        place.view.head("s")


# --- appending -------------------------------------------------------------------------------------------------------


def test_entry_is_counted_and_timed_when_it_is_appended(place):
    before = datetime.now(timezone.utc)
    place.append(entry(rows=None, time=datetime(2001, 1, 1, tzinfo=timezone.utc)))
    with place.writing() as connection:
        statements.append_entry(connection, None, entry(1, 2, seq=1, batch_id=1, rows=None), 17)
    found = place.view.head("s")
    assert found.rows == 17
    assert before <= found.time <= datetime.now(timezone.utc)


@pytest.mark.parametrize("second", [
    entry(1, 2, seq=0, batch_id=1),
    entry(1, 2, seq=0, query_id="query-2"),
    entry(1, 2, seq=1, batch_id=0),
    entry(1, 2, seq=0, batch_id=0),
], ids=["same seq", "same seq of another query", "same batch", "same both"])  # fmt: skip
def test_second_append_is_refused_with_all_of_its_transaction(place, second):
    place.append(entry())
    place.query("create table t (id bigint)")
    with pytest.raises(Conflict, match=rf"'s'.*seq {second.seq} or batch {second.batch_id} of query"):
        place.write(second)
    assert place.query("select count(*) from t") == [(0,)]
    assert timeless(*place.view.entries("s")) == timeless(entry())


@pytest.mark.parametrize("second", [
    entry(1, 2, seq=1, batch_id=1),
    entry(1, 2, seq=1, query_id="query-2"),
    entry(stream="other"),
])  # fmt: skip
def test_next_entry_and_other_streams_are_no_conflict(place, second):
    place.append(entry(), second)
    assert place.query("select count(*) from foreachonce_ledger") == [(2,)]


def test_rows_and_entry_come_and_go_together(place):
    place.prepare()
    place.query("create table t (id bigint)")
    with pytest.raises(RuntimeError, match="torn"):
        place.write(entry(), failure=RuntimeError("torn"))
    assert (place.query("select count(*) from t"), place.view.head("s")) == ([(0,)], None)
    place.write(entry())
    assert (place.query("select count(*) from t"), place.view.head("s").seq) == ([(1,)], 0)


def test_of_many_writers_one_appends(place):
    place.prepare()

    def write(number: int) -> bool:
        try:
            place.append(entry(query_id=f"query-{number}"))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(write, range(8))) == [False] * 7 + [True]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_new_stream_has_neither_head_nor_entries(place):
    place.append(entry(stream="other"))
    assert place.view.look(epoch()) == LedgerState(None, None)
    assert place.view.head("s") is None
    assert list(place.view.entries("s")) == []


def test_look_finds_head_and_batch_in_one_go(place):
    entries = chain(1, 2, 3)
    place.append(*entries)
    found = place.view.look(epoch(batch_id=1))
    assert timeless(found.head, found.same_batch) == timeless(entries[2], entries[1])


def test_look_finds_a_head_that_is_the_batch_itself(place):
    entries = chain(1, 2)
    place.append(*entries)
    found = place.view.look(epoch(batch_id=1))
    assert timeless(found.head, found.same_batch) == timeless(entries[1], entries[1])


@pytest.mark.parametrize("other", [epoch(batch_id=7), epoch(query_id="query-2")])
def test_look_takes_no_other_batch_for_the_epochs_own(place, other):
    place.append(*chain(1, 2))
    found = place.view.look(other)
    assert (found.head.seq, found.same_batch) == (1, None)


def test_look_takes_no_other_streams_batch_for_the_epochs_own(place):
    place.append(entry(), entry(stream="other"), entry(1, 2, stream="other", seq=1, batch_id=1))
    found = place.view.look(epoch(batch_id=1))
    assert (found.head.stream, found.head.seq, found.same_batch) == ("s", 0, None)


def test_head_has_the_greatest_number_and_not_the_last_text(place):
    place.append(*chain(*range(1, 13)))
    assert place.view.head("s").seq == 11


def test_streams_are_listed_once_each(place):
    place.append(*chain(1, 2), entry(stream="b"), entry(stream="Ä"))
    assert place.view.streams() == ["b", "s", "Ä"]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2001])
def test_entries_come_in_order_past_every_page(place, count):
    place.append(*chain(*range(1, count + 1)))
    assert [found.seq for found in place.view.entries("s")] == list(range(count))


def test_entries_can_be_left_half_way(place):
    place.append(*chain(1, 2, 3))
    assert next(iter(place.view.entries("s"))).seq == 0
    place.append(entry(3, 4, seq=3, batch_id=3))  # no reader is in the way
    assert place.view.head("s").seq == 3


# --- what is read is what was written ----------------------------------------------------------------------------------

NASTY = "😀 ünï'\"\\ \t%s :name ? {0} --"
SEVERAL = Position({
    "0": SourceSpan(pointer(0), pointer(2), files=(line("b", 1), line("😀 ü %20 {0}", 2)), start_files=(line("a", 0),)),
    "1": SourceSpan(None, None),
    "orders": SourceSpan(None, kafka(3, 4)),
    "ключ": SourceSpan('{"a": "ü:\u00a0"}', '{ "a" : "😀" }'),
})  # fmt: skip


def test_position_of_several_sources_comes_back_verbatim(place):
    place.append(entry(position=SEVERAL, offset_log='v1\n{"conf": {}}\n' + NASTY))
    found = place.view.head("s")
    assert found.position == SEVERAL
    assert found.offset_log == 'v1\n{"conf": {}}\n' + NASTY


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(texts, texts, texts, texts, texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_every_text_of_an_entry_comes_back_verbatim(place, stream, query_id, run_id, sink, decision):
    place.prepare()
    place.query("delete from foreachonce_ledger")
    written = entry(
        stream=stream, query_id=query_id, run_id=run_id, sink=sink, decision=decision, batch_id=2**40, rows=2**40
    )
    place.append(written)
    assert timeless(*place.view.entries(stream)) == timeless(written)
    assert timeless(place.view.look(epoch(stream=stream, query_id=query_id, batch_id=2**40)).same_batch) == timeless(written)


# --- the right ledger --------------------------------------------------------------------------------------------------


def test_ledger_that_the_driver_has_read_is_the_right_one(place):
    identity = place.prepare()
    with place.writing() as connection:
        schema.check_identity(connection, None, identity)


def test_another_ledger_is_refused_with_both_identities(place):
    identity = place.prepare()
    with pytest.raises(LedgerError, match=f"identity {identity}.*driver's .other.") as caught, place.writing() as connection:
        schema.check_identity(connection, None, "other")
    assert "SQLite file must be on the machine of both" in str(caught.value)


def test_executor_makes_no_new_file(place, tmp_path):
    from foreachonce.errors import SinkUnavailable

    with pytest.raises(SinkUnavailable, match="this is an executor"), Sqlite().writing(place.url, executor=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_has_batch_tells_the_batch_from_its_neighbours(place):
    place.append(*chain(1, 2))
    with place.writing() as connection:
        assert statements.has_batch(connection, None, entry(batch_id=1))
        assert not statements.has_batch(connection, None, entry(batch_id=2))


def test_view_travels_to_another_process(place):
    place.append(entry())
    assert pickle.loads(pickle.dumps(place.view)).head("s") == place.view.head("s")


def test_failing_statement_is_a_failed_write_without_its_values(place):
    place.query("create table t (id bigint check (id < 2))")
    with pytest.raises(WriteFailed, match="nothing was written") as caught, place.writing() as connection:
        connection.execute(sa.text("insert into t values (:id)"), {"id": 424242})
    assert "424242" not in str(caught.value)
