"""A user with just the rights that docs/sinks lists can write in each mode, take a stream over, and prune."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from foreachonce import JdbcSink, SqlLedger, exactly_once
from foreachonce.sql.url import parse_url

COLUMNS = "id int, v string, what string, at int"
ROWS = [(1, "a", "insert", 1), (2, "b", "insert", 1)]
KEYWORDS = {
    "append": {},
    "overwrite": {},
    "merge": {"key": "id", "order_by": "at"},
    "changes": {"key": "id", "order_by": "at", "op": "what"},
}
ON_TABLE = {
    "append": "insert",
    "overwrite": "insert, delete",
    "merge": "select, insert, update",
    "changes": "select, insert, update, delete",
}


class Place:
    """A database with a ledger and a table t, and a user who may do nothing."""

    schema: str

    def __init__(self, admin: str) -> None:
        self.admin, self.user = admin, f"app_{uuid4().hex[:12]}"
        self.url = parse_url(admin).set(username=self.user, password="app")
        SqlLedger(admin).streams()
        self.run("create table t (id int primary key, v varchar(9), at int)")

    @property
    def address(self) -> str:
        return self.url.render_as_string(hide_password=False)

    @property
    def database(self) -> str:
        return str(self.url.database)

    def run(self, *statements: str) -> None:
        """As the owner."""
        with sa.create_engine(parse_url(self.admin), poolclass=sa.NullPool).begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def grant(self, rights: str, on: str) -> None:
        self.run(f"grant {rights} on {on} to {self.user}")

    def grant_ledger(self, *tables: str) -> None:
        self.grant("select", f"{self.schema}.foreachonce_meta")
        for table in tables:
            self.grant("select, insert", f"{self.schema}.foreachonce_{table}")


class Postgres(Place):
    schema = "public"

    def __init__(self, admin: str) -> None:
        super().__init__(admin)
        self.run(
            f"create role {self.user} login password 'app'",
            f"revoke all on database {self.database} from public",
            "revoke all on schema public from public",
        )
        self.grant("connect", f"database {self.database}")
        self.grant("usage", "schema public")

    def grant_path(self, path: str, *, by_key: bool) -> None:
        if path == "staged":
            self.grant("select", "t")
            self.grant("create", "schema public")
        elif by_key:
            self.grant("temporary", f"database {self.database}")

    def close(self) -> None:
        self.run(f"drop owned by {self.user}", f"drop role {self.user}")


class MariaDb(Place):
    def __init__(self, admin: str) -> None:
        super().__init__(admin)
        self.schema = self.database
        self.run(f"create user {self.user} identified by 'app'")

    def grant_path(self, path: str, *, by_key: bool) -> None:
        if path == "staged":
            self.grant("select, insert, create, delete, drop", f"{self.database}.*")
        elif by_key:
            self.grant("create temporary tables", f"{self.database}.*")

    def close(self) -> None:
        self.run(f"drop user {self.user}")


@pytest.fixture(params=[(Postgres, "postgres_url"), (MariaDb, "mariadb_url")], ids=["postgres", "mariadb"])
def place(request) -> Iterator[Postgres | MariaDb]:
    kind, url = request.param
    place = kind(request.getfixturevalue(url))
    yield place
    place.close()


@pytest.mark.parametrize("path", ["direct", "staged"])
@pytest.mark.parametrize("mode", KEYWORDS)
def test_rights_that_are_listed_are_enough(place, stream, land, mode, path):
    place.grant_ledger("ledger", "runs")
    place.grant(ON_TABLE[mode], f"{place.schema}.t")
    place.grant_path(path, by_key=mode in ("merge", "changes"))
    sink = JdbcSink(place.address, table="t", stream="s", mode=mode, path=path, **KEYWORDS[mode])

    def change(frame):
        return frame if mode == "changes" else frame.drop("what")

    land(sink, ROWS, schema=COLUMNS, change=change)
    # Another run, which takes the stream over and finds the stages of the first.
    land(sink, [(2, None, "delete", 2), (3, "c", "insert", 2)] if mode == "changes" else [(3, "c", "", 2)],
         schema=COLUMNS, change=change)  # fmt: skip
    assert len(list(SqlLedger(place.admin).entries("s"))) == 2


def test_rights_of_a_function_that_are_listed_are_enough(place, stream):
    place.grant_ledger("ledger", "runs", "intents")
    called = []

    @exactly_once(ledger=place.address, stream="s")
    def call(df, batch_id):
        called.append(batch_id)

    stream.feed([1], [2])
    stream.run(call)
    assert called == [0, 1]


def test_rights_of_a_pruning_job_that_are_listed_are_enough(place, land):
    land(JdbcSink(place.admin, table="u", stream="s"), ROWS, schema=COLUMNS)
    place.grant("select", f"{place.schema}.foreachonce_meta")
    for table in ("ledger", "intents"):
        place.grant("select, delete", f"{place.schema}.foreachonce_{table}")
    assert SqlLedger(place.address).prune("s") == 0
