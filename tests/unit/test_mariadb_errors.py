"""MariaDB's errors in our words: what was lost, what was in the way, what was refused; no values, no secrets."""

from __future__ import annotations

import pymysql
import pytest
from sqlalchemy.exc import OperationalError

from foreachonce.errors import CommitInDoubt, Conflict, SinkUnavailable, WriteFailed
from foreachonce.sql.databases.load_data import without_values
from foreachonce.sql.databases.mariadb import MariaDb
from foreachonce.sql.url import parse_url

URL = parse_url("mysql://app:hunter2@db/shop")


@pytest.mark.parametrize(("error", "expected"), [
    (pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"), CommitInDoubt),
    (pymysql.err.OperationalError(2006, "MySQL server has gone away"), CommitInDoubt),
    (pymysql.err.OperationalError(1053, "Server shutdown in progress"), CommitInDoubt),
    (pymysql.err.OperationalError(1927, "Connection was killed"), CommitInDoubt),
    (pymysql.err.OperationalError(1317, "Query execution was interrupted"), CommitInDoubt),
    (pymysql.err.InterfaceError(0, ""), CommitInDoubt),
    (pymysql.err.InternalError("Packet sequence number wrong - got 3 expected 1"), CommitInDoubt),
    (pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock"), Conflict),
    (pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), Conflict),
    (pymysql.err.OperationalError(1305, "SAVEPOINT sa_savepoint_1 does not exist"), Conflict),
    (pymysql.err.OperationalError(1305, "FUNCTION shop.f does not exist"), WriteFailed),
    (pymysql.err.IntegrityError(1062, "Duplicate entry '7' for key 'PRIMARY'"), WriteFailed),
    (pymysql.err.ProgrammingError(1146, "Table 'shop.t' doesn't exist"), WriteFailed),
])  # fmt: skip
def test_error_means(error, expected):
    assert type(MariaDb()._translate(error, URL, is_writing=True)) is expected
    assert type(MariaDb()._translate(OperationalError("insert", None, error), URL, is_writing=True)) is expected


def test_reader_that_loses_its_connection_has_written_nothing():
    error = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
    assert type(MariaDb()._translate(error, URL, is_writing=False)) is SinkUnavailable


def test_neither_values_nor_secrets_are_told():
    error = pymysql.err.IntegrityError(1062, "Duplicate entry 'it's, hunter2' for key 'PRIMARY' of hunter2")
    text = str(MariaDb()._translate(error, URL, is_writing=True))
    assert "it's" not in text
    assert "hunter2" not in text
    assert "Duplicate entry '…' for key 'PRIMARY'" in text


@pytest.mark.parametrize(("text", "expected"), [
    ("Incorrect integer value: 'a\nb' for column `s`.`t`.`v` at row 4",
     "Incorrect integer value: '…' for column `s`.`t`.`v` at row 4"),
    ("Truncated incorrect DOUBLE value: 'secret'", "Truncated incorrect DOUBLE value: '…'"),
    ("Data truncated for column 'v' at row 1", "Data truncated for column 'v' at row 1"),
])  # fmt: skip
def test_quoted_value_is_taken_out(text, expected):
    assert without_values(text) == expected
