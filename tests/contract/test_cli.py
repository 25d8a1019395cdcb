"""The command on real ledgers: of PostgreSQL, of Kafka and of Delta, with real checkpoints."""

from __future__ import annotations

import shlex
from uuid import uuid4

import pytest
from pyspark.sql import SparkSession

from foreachonce import DeltaSink, KafkaSink, SqlLedger
from foreachonce.address import AddressOptions
from foreachonce.cli.options import address_of
from foreachonce.sql.url import parse_url
from tests.servers.kafka import Reader, make_topic
from tests.unit.builders import chain, entry, epoch
from tests.unit.command import checkpoint_after, fill, run, told

PASSWORD = "hush hush"


@pytest.fixture
def query(postgres_url):
    """Run statements as the owner."""

    def query(*statements: str) -> None:
        view = SqlLedger(postgres_url)
        with view.database.writing(view.url) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return query


@pytest.fixture
def app(query) -> str:
    """A user who may connect, and nothing else."""
    name = f"App-{uuid4().hex[:12]}"
    query(f"create role \"{name}\" login password '{PASSWORD}'", "revoke all on schema public from public")
    yield name
    query(f'drop owned by "{name}"', f'drop role "{name}"')


def test_rights_that_init_tells_are_those_that_a_stream_needs(postgres_url, query, app):
    query("create schema ops")
    made = told("init", "--ledger", postgres_url, "--ledger-schema", "ops", "--user", app)
    address = parse_url(postgres_url).set(username=app, password=PASSWORD).render_as_string(hide_password=False)
    assert made["made"]
    query(*made["rights"])
    theirs = SqlLedger(address, schema="ops")
    assert theirs.take(epoch(), None).is_held
    theirs.append(entry())
    assert theirs.head("s").seq == 0
    assert told("ledger", "list", "--ledger", address, "--ledger-schema", "ops")[0]["stream"] == "s"


def test_password_is_shown_nowhere(postgres_url, query, app, tmp_path):
    fill(postgres_url, *chain(10, 20))
    query(*told("init", "--ledger", postgres_url, "--user", app)["rights"], f'grant usage on schema public to "{app}"')
    own = parse_url(postgres_url).set(username=app, password=PASSWORD).render_as_string(hide_password=False)
    plain = address_of(own, AddressOptions()).arguments[1]
    asked = ("doctor", "s", "--checkpoint", tmp_path / "c")
    for address, environment in ((plain, {"FOREACHONCE_LEDGER_PASSWORD": PASSWORD}), (own, {})):
        for more in ((), ("--json",)):
            said = run(*asked, "--ledger", address, *more, code=1, **environment)
            assert "the checkpoint is gone" in said
            assert "hush" not in said
    wrong = run(*asked, "--ledger", plain, code=2, FOREACHONCE_LEDGER_PASSWORD="hush wrong")
    assert "password authentication failed" in wrong
    assert "hush" not in wrong


def test_rows_are_compared_with_a_table_of_another_schema(postgres_url, query):
    fill(postgres_url, *(each for each in chain(10, 20)))
    query('create schema "Shop"', 'create table "Shop"."Or""ders" (id int)', 'insert into "Shop"."Or""ders" values (1), (2)')
    asked = ("verify", "s", "--ledger", postgres_url, "--schema", "Shop", "--table", 'Or"ders')
    assert told(*asked)["counts"] == {"entries": 2, "table": 2, "well": True, "mode": "append", "baseline": 0}
    assert "has no table 'none'" in run("verify", "s", "--ledger", postgres_url, "--table", "none", code=2)


def test_checkpoint_of_a_kafka_sink_is_mended_without_spark(kafka_server, stream, tmp_path):
    topic, name = f"out-{uuid4().hex[:12]}", f"s-{uuid4().hex[:12]}"
    make_topic(kafka_server, topic, 1)
    sink = KafkaSink(kafka_server, topic=topic, stream=name, value="cast(id as string)")
    stream.feed([1], [2])
    stream.run(sink)
    stream.lose_checkpoint()
    asked = ("--ledger", f"kafka://{kafka_server}", "--checkpoint", stream.checkpoint)
    _, *words = shlex.split(told("doctor", name, *asked, code=1)["command"])
    assert told(*words)["done"]
    stream.feed([3])
    stream.run(sink)
    assert sorted(Reader(kafka_server).values(topic)) == [b"1", b"2", b"3"]
    assert told("verify", name, "--ledger", f"kafka://{kafka_server}")["proven"]
    shown = told("ledger", "show", name, "--last", 2, "--ledger", f"kafka://{kafka_server}")
    assert [(each["seq"], each["marks"]) for each in shown] == [(2, ["repair"]), (3, ["restart"])]


def test_checkpoint_of_a_delta_table_is_mended_by_a_session(spark, stream, tmp_path):
    path = str(tmp_path / "orders")
    sink = DeltaSink(path, stream="s")
    stream.feed([1], [2])
    stream.run(sink)
    stream.lose_checkpoint()
    asked = ("--ledger", f"delta:{path}", "--checkpoint", stream.checkpoint)
    _, *words = shlex.split(told("doctor", "s", *asked, code=1)["command"])
    assert told(*words)["done"]
    assert SparkSession.getActiveSession() is not None  # whose session it is goes on with it
    stream.feed([3])
    stream.run(sink)
    counts = told("verify", "s", "--ledger", f"delta:{path}", "--count")["counts"]
    assert counts == {"entries": 3, "table": 3, "well": True, "mode": "append", "baseline": 0}
    spark.sql(f"delete from delta.`{path}` where id = 2").collect()
    assert told("verify", "s", "--ledger", f"delta:{path}", "--count", code=1)["counts"]["table"] == 2
    assert [each.seq for each in sink.ledger.entries("s", after=1)] == [2, 3]


def test_file_system_that_spark_lacks_is_named(spark, sqlite_url):
    fill(sqlite_url, *chain(10))
    said = run("doctor", "s", "--ledger", sqlite_url, "--checkpoint", "s3a://bucket/checkpoint", code=2)
    assert "--packages org.apache.hadoop:hadoop-aws:" in said
    assert len(said.splitlines()) == 1


def test_checkpoint_is_mended_through_spark_where_python_does_not_reach(spark, sqlite_url, tmp_path, monkeypatch):
    """On a file system of Hadoop's that leads to a local folder, by a setting from the environment."""
    fill(sqlite_url, *chain(10, 20))
    checkpoint_after(tmp_path / "checkpoint", *chain(10))
    monkeypatch.setenv("FOLDER", f"file://{tmp_path}")
    conf = ("--conf", "spark.hadoop.fs.viewfs.mounttable.c.link./mounted=env:FOLDER")
    asked = ("--ledger", sqlite_url, "--checkpoint", "viewfs://c/mounted/checkpoint", *conf)
    found = told("doctor", "s", *asked, code=1)
    assert (found["kind"], str(tmp_path) in found["command"].replace(sqlite_url, "")) == ("behind", False)
    _, *words = shlex.split(found["command"])
    assert told(*words)["aside"].startswith("viewfs://c/mounted/checkpoint.aside-")
    assert told("doctor", "s", "--ledger", sqlite_url, "--checkpoint", tmp_path / "checkpoint")["kind"] == "agrees"
