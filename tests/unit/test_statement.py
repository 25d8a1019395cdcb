"""A statement in a transaction: parameters match, and nothing in it ends the transaction."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from foreachonce.errors import ConfigurationError
from foreachonce.sql.databases.sqlite import Sqlite
from foreachonce.sql.transaction import Statement
from foreachonce.sql.url import parse_url


@pytest.mark.parametrize("text", [
    "commit", "COMMIT;", "  rollback", "-- now\ncommit", "/* a\nb */ begin", "start transaction", "savepoint a", "end",
    "prepare transaction 'x'", "release a", "abort",
])  # fmt: skip
def test_command_of_the_transaction_is_refused(text):
    with pytest.raises(ConfigurationError, match="committed by foreachonce"):
        Statement(text, {})


@pytest.mark.parametrize("text", ["update commits set a = 1", "insert into begin_log values (1)", "-- commit\nselect 1"])
def test_other_statements_may_name_them(text):
    Statement(text, {})


@pytest.mark.parametrize("text", ["", "  ", None, 7])
def test_what_is_no_statement_is_refused(text):
    with pytest.raises(ConfigurationError, match="one SQL statement"):
        Statement(text, {})


@pytest.mark.parametrize(("text", "parameters"), [
    ("update t set a = :a", {}), ("update t set a = 1", {"a": 1}), ("update t set a = :a", {"b": 1}),
])  # fmt: skip
def test_parameters_that_do_not_match_are_refused(text, parameters):
    with pytest.raises(ConfigurationError, match="parameters"):
        Statement(text, parameters)


def test_values_are_bound_and_colons_can_be_kept(sqlite_url):
    database, url = Sqlite(), parse_url(sqlite_url)
    with database.writing(url) as connection:
        Statement("create table t (a text)", {}).run(connection, database)
        Statement(r"insert into t values (:a || ' at 12\:30, 100%')", {"a": "'); drop table t; --"}).run(
            connection, database
        )
        assert connection.execute(sa.text("select a from t")).scalar() == "'); drop table t; -- at 12:30, 100%"
