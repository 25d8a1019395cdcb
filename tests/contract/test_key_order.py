"""Several streams may merge into one table: rows are locked in the order of their keys, so nobody waits in a circle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from foreachonce.sql.databases.postgres import Postgres
from foreachonce.sql.stage import apply, merge
from foreachonce.sql.table import OP, Rows, SqlTarget
from foreachonce.sql.url import parse_url

ROWS, ROUNDS = 20_000, 5


@pytest.fixture
def stages(postgres_url):
    """Two stages with the same keys, one ascending and one descending; the table has all of them."""
    engine = sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        numbers = f"select id, 'old' as v from generate_series(1, {ROWS}) as id"
        connection.exec_driver_sql(f"create table t as {numbers}")
        connection.exec_driver_sql("alter table t add primary key (id)")
        for name, order in (("up", "id"), ("down", "id desc")):
            ops = f"case when mod(id, 2) = 0 then 'delete' else 'update' end as {OP}"
            connection.exec_driver_sql(f"create table {name} as select *, {ops} from ({numbers}) as n order by {order}")
    return [sa.table(name, *map(sa.column, ("id", "v", OP))) for name in ("up", "down")]


@pytest.mark.parametrize(("mode", "bring"), [("merge", merge), ("changes", apply)])
def test_opposite_orders_do_not_deadlock(stages, postgres_url, mode, bring):
    rows = Rows(SqlTarget("t", None, mode, ("id",), op=None if mode == "merge" else "op"), ("id", "v"))
    names = rows.columns if mode == "merge" else (*rows.columns, OP)

    def write(stage, start: Barrier) -> None:
        source = sa.select(*(stage.c[name] for name in names))
        for _ in range(ROUNDS):
            start.wait(timeout=30)
            with Postgres().writing(parse_url(postgres_url)) as connection:
                bring(connection, Postgres(), rows, source)

    start = Barrier(2)
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(write, stage, start) for stage in stages]:
            done.result(timeout=60)
