"""Connections as operators have them: a pooler between, several hosts, and the server's time-outs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink, exactly_once
from foreachonce.chain import breaks
from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.url import parse_url
from foreachonce.testing.contract import refused
from foreachonce.testing.faults import Faults
from tests.servers.pgbouncer import pgbouncer

BATCHES = 12


@pytest.fixture(params=["transaction", "session"])
def pooled(request, postgres_url) -> Iterator[str]:
    if os.environ.get("FOREACHONCE_SKIP_PGBOUNCER") and not os.environ.get("CI"):
        pytest.skip("FOREACHONCE_SKIP_PGBOUNCER is set: NOTHING IS TESTED THROUGH PGBOUNCER")
    with pgbouncer(postgres_url, request.param) as url:
        yield url


@pytest.fixture
def url(postgres_url):
    return postgres_url


@pytest.mark.parametrize("path", ["direct", "staged", "driver"])
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_twelve_batches_through_a_pooler(pooled, stream, query, path, mode):
    sink = JdbcSink(pooled, table="t", stream="s", mode=mode, key="id" if mode == "merge" else None, path=path)
    stream.feed(*([number] for number in range(BATCHES)))
    stream.run(sink)
    stream.forget_commit()
    stream.feed([BATCHES])
    stream.run(sink)
    assert query("select id from t order by id") == [(number,) for number in range(BATCHES + 1)]
    assert list(breaks(sink.ledger.entries("s"))) == []


def test_run_that_was_replaced_writes_nothing_through_a_pooler(pooled, stream, other_driver, query):
    from foreachonce.testing.driver import Job

    sink = JdbcSink(pooled, table="t", stream="s", path="direct")
    stream.feed([0], [1])
    faults: Faults = other_driver.faults
    faults.arm("rows-written", "stop")
    other_driver.submit(Job(sink, stream.source, stream.checkpoint))
    faults.wait("rows-written", lambda: other_driver.is_busy)
    stream.run(sink)
    faults.release("rows-written")
    assert "foreachonce.errors" in other_driver.result()
    assert query("select id from t order by id") == [(0,), (1,)]


@pytest.mark.parametrize("address", [
    "postgresql://{user}@127.0.0.1:1,{host}:{port}/{name}?target_session_attrs=read-write",
    "jdbc:postgresql://127.0.0.1:1,{host}:{port}/{name}?targetServerType=primary&{jdbc}",
])  # fmt: skip
def test_first_host_that_is_down(postgres_url, stream, query, address):
    behind = parse_url(postgres_url)
    parts = {"host": behind.host, "port": behind.port, "name": behind.database}
    user, jdbc = f"{behind.username}:{behind.password}", f"user={behind.username}&password={behind.password}"
    stream.feed([1])
    stream.run(JdbcSink(address.format(user=user, jdbc=jdbc, **parts), table="t", stream="s"))
    assert query("select id from t") == [(1,)]


@pytest.mark.parametrize("path", ["direct", "staged", "driver"])
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_rows_may_take_longer_than_a_session_may_idle(postgres_url, stream, query, path, mode):
    """Amid the transaction too: rows come slowly, and the server ends sessions that idle in one."""
    (name,) = query("select current_database()")[0]
    query(f"alter database \"{name}\" set idle_in_transaction_session_timeout = '300ms'")
    sink = JdbcSink(postgres_url, table="t", stream="s", mode=mode, key="id" if mode == "merge" else None, path=path)

    def slowly(batches):
        import time

        for batch in batches:
            time.sleep(0.7)
            yield batch

    stream.feed(range(120))  # three batches of Arrow
    stream.run(exactly_once(sink)(lambda frame, batch_id: frame.mapInArrow(slowly, frame.schema)))
    assert query("select count(*) from t") == [(120,)]


@pytest.mark.parametrize(("setting", "words"), [
    ("statement_timeout", "canceling statement due to statement timeout"),
    ("lock_timeout", "canceling statement due to lock timeout"),
])  # fmt: skip
def test_time_out_of_the_server_is_named(postgres_url, stream, query, setting, words):
    (name,) = query("select current_database()")[0]
    sink = JdbcSink(postgres_url, table="t", stream="s", path="direct")
    stream.feed([1])
    stream.run(sink)
    query(f"alter database \"{name}\" set {setting} = '400ms'")
    engine = sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool)
    stream.feed([2])
    other = JdbcSink(f"{postgres_url}?application_name=other", table="t", stream="s", path="direct")
    with engine.begin() as connection:
        connection.exec_driver_sql("lock table t in access exclusive mode")
        with refused("WriteFailed", words):
            stream.run(other)
    stream.run(other)
    assert query("select id from t order by id") == [(1,), (2,)]


@pytest.mark.parametrize("path", ["direct", "staged", "driver"])
def test_socket_in_the_file_system(postgres_url, stream, query, path):
    (folder,) = query("show unix_socket_directories")[0]
    behind = parse_url(postgres_url)
    if not folder or not os.path.isdir(folder):
        pytest.skip("the server has no socket on this machine")
    sign_on = f"{behind.username}:{behind.password}"
    address = f"postgresql://{sign_on}@/{behind.database}?host={folder}&port={behind.port}"
    stream.feed([1])
    stream.run(JdbcSink(address, table="t", stream="s", path=path))
    assert query("select id from t") == [(1,)]
    assert JdbcSink(postgres_url, table="t", stream="s").ledger.streams() == ["s"]


@pytest.mark.parametrize("form", [
    "postgresql://{user}:{password}@[::1]:{port}/{name}",
    "jdbc:postgresql://[::1]:{port}/{name}?user={user}&password={password}",
    "jdbc:postgresql://[::1]:1,[::1]:{port}/{name}?user={user}&password={password}",
])  # fmt: skip
def test_host_of_ipv6(postgres_url, stream, query, form):
    behind = parse_url(postgres_url)
    with socket.socket(socket.AF_INET6) if socket.has_ipv6 else contextlib.nullcontext() as probe:
        if probe is None or probe.connect_ex(("::1", behind.port or 5432)):
            pytest.skip("the server does not listen on ::1")
    address = form.format(user=behind.username, password=behind.password, port=behind.port, name=behind.database)
    stream.feed([1])
    stream.run(JdbcSink(address, table="t", stream="s"))
    assert query("select id from t") == [(1,)]


def test_as_many_streams_of_a_driver_as_there_are_write_at_once(postgres_url):
    """A pool of the usual size would let the sixteenth wait for half a minute, and then fail."""
    parsed, streams = parse_url(postgres_url), 40
    all_write = threading.Barrier(streams)

    def write(_: int) -> None:
        with Postgres().writing(parsed):
            all_write.wait(20)

    with ThreadPoolExecutor(streams) as threads:
        list(threads.map(write, range(streams)))
