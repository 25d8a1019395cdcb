"""Which ledger an address means; and that no secret of one is ever shown."""

from __future__ import annotations

import json
import os
import shlex
import sys

import pytest

from foreachonce import DeltaLedger, KafkaLedger
from foreachonce.address import AddressOptions, is_local
from foreachonce.cli.doctor import Case
from foreachonce.cli.options import Shared, address_of
from foreachonce.delta.address import DeltaAddress
from foreachonce.errors import ConfigurationError
from foreachonce.kafka.address import KafkaAddress
from foreachonce.sql.address import PRIVILEGES, SqlAddress, grants
from tests.unit.command import run, told

SECRET = "hu%sh p@ss"


def parsed(text: str, schema: str | None = None, prefix: str = "foreachonce.", client=()):
    return address_of(text, AddressOptions(schema, prefix, client))


@pytest.mark.parametrize(("address", "words"), [
    ("postgresql://app@db:5433/shop?sslmode=require", "postgresql://app@db:5433/shop?sslmode=require"),
    ("postgresql://app:hush@db/shop", "postgresql://app@db/shop"),
    ("jdbc:postgresql://db/shop?user=app&password=hush", "postgresql://app@db/shop"),
    ("mariadb://app:hush@db/shop", "mysql://app@db/shop"),
    ("jdbc:mysql://db/shop?user=app&password=hush", "mysql://app@db/shop"),
    ("postgresql://db/shop?sslpassword=hush&user=app", "postgresql://db/shop?user=app"),
    ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
    ("jdbc:sqlite:/data/shop.db", "sqlite:////data/shop.db"),
])  # fmt: skip
def test_database_is_named_again_without_its_password(address, words):
    place = parsed(address, "ops")
    assert isinstance(place, SqlAddress)
    assert list(place.arguments) == ["--ledger", words, "--ledger-schema", "ops"]
    assert "hush" not in f"{place.arguments} {place.shown} {place.open()!r}"
    assert list(parsed(words, "ops").arguments) == list(place.arguments)


def test_database_of_another_kind_is_taken_as_sqlalchemy_takes_it():
    place = parsed("mysql+pymysql://app@db/shop")
    assert not place.is_generic
    assert parsed("oracle://app:hush@db/shop").is_generic


@pytest.mark.parametrize(("address", "by_spark"), [
    ("delta:/data/orders", False), ("delta:file:/data/orders", False),
    ("delta:shop.orders", True), ("delta:s3a://bucket/orders", True),
])  # fmt: skip
def test_delta_table_needs_spark_to_be_read_where_python_does_not_reach_it(address, by_spark):
    place = parsed(address)
    assert isinstance(place, DeltaAddress)
    assert [place.needs_spark(operation) for operation in ("read", "append", "count")] == [by_spark, True, True]
    assert list(place.arguments) == ["--ledger", address]


def test_delta_table_that_is_not_there_is_no_empty_ledger(tmp_path):
    for words in (("ledger", "list"), ("doctor", "s", "--checkpoint", tmp_path), ("verify", "s")):
        assert "there is no Delta table at delta:" in run(*words, "--ledger", f"delta:{tmp_path}", code=2)
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("{}\n")
    assert isinstance(parsed(f"delta:{tmp_path}").ledger(), DeltaLedger)
    assert "has no stream" in run("ledger", "list", "--ledger", f"delta:{tmp_path}")


def test_relative_path_of_a_delta_table_becomes_a_whole_one():
    assert parsed("delta:data/orders").place == os.path.abspath("data/orders")


def test_kafka_is_named_again_with_its_settings(monkeypatch):
    monkeypatch.setenv("SASL", SECRET)
    place = parsed("kafka://a:9092,b:9092", None, "ops.", ["sasl.username=app", "sasl.password=env:SASL"])
    assert isinstance(place, KafkaAddress)
    assert list(place.arguments) == [
        "--ledger", "kafka://a:9092,b:9092", "--ledger-prefix", "ops.",
        "--client", "sasl.username=app", "--client", "sasl.password=env:SASL",
    ]  # fmt: skip
    ledger = place.ledger()
    assert isinstance(ledger, KafkaLedger)
    assert (ledger.prefix, dict(ledger.cluster.client)["sasl.password"]) == ("ops.", SECRET)


def test_password_of_the_environment_is_the_ledgers(monkeypatch):
    monkeypatch.setenv("FOREACHONCE_LEDGER_PASSWORD", SECRET)
    assert parsed("postgresql://app@db/shop").open().url.password == SECRET
    assert parsed("postgresql://app:own@db/shop").open().url.password == "own"
    assert parsed("sqlite:////data/shop.db").open().url.password is None
    assert parsed("kafka://a:9092", client=["sasl.username=app"]).client["sasl_password"] == SECRET
    assert "sasl_password" not in parsed("kafka://a:9092").client


@pytest.mark.parametrize(("words", "text"), [
    (["--ledger", "shop"], "--ledger is not an address: it takes postgresql://user@host"),
    (["--ledger", "postgres"], "delta:catalog.table or kafka://host:port"),
    (["--ledger", "nosuchdb://app:hush@db/shop"], "no dialect"),
    (["--ledger", "postgresq://app:hush@db/shop"], "--ledger names the database 'postgresq'"),
    (["--ledger", "postgresql://app:p@hush@db/shop"], "--ledger has an @ that is not the one"),
    (["--ledger", "mysql://app:p@hush/x@db/shop"], "--ledger has an @ that is not the one"),
    (["--ledger", ""], "--ledger is empty: it takes"),
    (["--ledger", "delta://data/orders"], "write delta:/path"),
    (["--ledger", "postgresql://app:hush@db:port/shop"], "--ledger is not a database address: its port is no number"),
    (["--ledger", "kafka://app:hush@a:9092"], "names servers only"),
    (["--ledger", "kafka://a:9092", "--client", "sasl.password=hush"], "write --client sasl.password=env:NAME"),
    (["--ledger", "kafka://a:9092", "--client", "ssl_key_password=hush"], "no place for a secret"),
    (["--ledger", "kafka://a:9092", "--client", "sasl.password=env:NONE"], "the environment has no variable 'NONE'"),
    (["--ledger", "kafka://a:9092", "--client", "=hush"], "--client: expected NAME=VALUE; the name is missing"),
    (["--ledger", "kafka://a:9092", "--client", "linger"], "--client: expected NAME=VALUE; 'linger' has no value"),
    (["--ledger", "kafka://a b", "--client", "linger.ms=1"], "bootstrap_servers="),
    (["--ledger", "kafka://a:9092", "--client", "no.such.setting=1"], "no.such.setting"),
    (["--ledger", "delta:a b"], "--ledger"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_a_line_without_the_secret(words, text):
    said = run("ledger", "list", *words, code=2)
    assert said.startswith("foreachonce: ")
    assert text in said
    assert "hush" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("words", "text"), [
    (["--conf", "spark.hadoop.fs.s3a.secret.key=hush"], "write --conf spark.hadoop.fs.s3a.secret.key=env:NAME"),
    (["--conf", "fs.s3a.access.key=hush"], "no place for a secret"),
    (["--checkpoint", "s3a://key:hush@bucket/c"], "--checkpoint holds a password"),
])  # fmt: skip
@pytest.mark.parametrize("command", ["doctor", "restore"])
def test_secret_of_spark_is_not_taken_from_the_command_line(command, words, text, sqlite_url):
    given = ("--checkpoint", "/c", *words) if words[0] == "--conf" else words
    said = run(command, "s", "--ledger", sqlite_url, *given, code=2)
    assert text in said
    assert "hush" not in said


def test_error_of_a_server_holds_no_password():
    """Nobody listens there, and the driver's own words may hold the address."""
    for name in ("FOREACHONCE_LEDGER_PASSWORD", None):
        address = "postgresql://app@127.0.0.1:1/shop" if name else "postgresql://app:hush@127.0.0.1:1/shop"
        for more in ((), ("--json",)):
            said = run("ledger", "list", "--ledger", address, *more, code=2, **({name: "hush"} if name else {}))
            assert "no connection to postgresql://app" in said
            assert "hush" not in said


def test_doctor_gives_a_command_without_the_password(monkeypatch, tmp_path):
    """The command is made of the place alone; the database itself is asked in tests/contract."""
    address = "postgresql://app:hush@db/shop"
    case = Case("s", "/c", Shared(address, packages=["a:b:1"], conf=["x=env:Y"]))
    assert shlex.split(case.command()) == [
        "foreachonce", "restore", "s", "--ledger", "postgresql://app@db/shop", "--checkpoint", "/c",
        "--packages", "a:b:1", "--conf", "x=env:Y",
    ]  # fmt: skip
    assert "FOREACHONCE_LEDGER_PASSWORD must hold" in case.password_hint
    monkeypatch.setenv("FOREACHONCE_LEDGER", address)
    assert "postgresql" not in case.command()
    assert case.password_hint == ""


@pytest.mark.parametrize(("path", "here"), [
    ("/data/c", True), ("c", True), ("file:/data/c", True), ("file:///data/c", True),
    ("s3a://bucket/c", False), ("hdfs://name/c", False), ("abfss://a@b/c", False),
])  # fmt: skip
def test_local_paths_are_told_from_others(path, here):
    assert is_local(path) == here


def test_missing_kafka_client_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'foreachonce\[kafka\]'"):
        parsed("kafka://a:9092").ledger()


def test_init_makes_the_ledger_once(sqlite_url):
    made = told("init", "--ledger", sqlite_url)
    assert (made["made"], made["rights"]) == (True, [])
    again = told("init", "--ledger", sqlite_url)
    assert (again["made"], again["identity"]) == (False, made["identity"])
    assert "The ledger exists already" in run("init", "--ledger", sqlite_url)


def test_rights_are_those_of_the_reference():
    """One row of the table there for the ledger, one for functions."""
    assert list(grants("app", "ops", lambda name: f'"{name}"', has_schemas=True)) == [
        'GRANT USAGE ON SCHEMA "ops" TO "app"',
        *(f'GRANT {privileges} ON "ops".{table} TO "app"' for table, privileges in PRIVILEGES.items()),
    ]
    assert next(grants("app", "shop", str, has_schemas=False)).startswith("GRANT SELECT ON shop.foreachonce_meta")


def test_init_makes_nothing_where_nothing_is_to_be_made(tmp_path):
    assert told("init", "--ledger", f"delta:{tmp_path / 'none'}")["made"] is False
    said = run("init", "--ledger", "kafka://a:9092")
    assert "retention.ms=-1" in said
    assert json.loads(run("init", "--ledger", "kafka://a:9092", "--json"))["rights"] == []
