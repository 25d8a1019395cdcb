"""The example job: orders and daily totals agree, also where a batch fails at its end or is replayed."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyspark.errors import StreamingQueryException

from foreachonce.faults import VARIABLE
from foreachonce.sql.url import parse_url
from foreachonce.testing.faults import Faults

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def shop(postgres_url, tmp_path):
    engine = sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in (EXAMPLES / "orders" / "schema.sql").read_text().split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    return engine


def sell(source: Path, number: int) -> None:
    source.mkdir(exist_ok=True)
    orders = [
        {"order_id": 10 * number + k, "ordered_at": f"2026-01-0{k % 3 + 1}T10:00:00Z", "customer": "c", "amount": "1.50"}
        for k in range(10)
    ]
    (source / f"{number:03}.json").write_text("\n".join(map(json.dumps, orders)))


def agree(engine: sa.Engine) -> int:
    """Whether each day's total is that of its orders; how many orders there are."""
    with engine.connect() as connection:
        day = "(ordered_at at time zone 'America/New_York')::date"
        days = connection.exec_driver_sql(f"select {day}, count(*), sum(amount) from orders group by 1 order by 1").all()
        assert connection.exec_driver_sql("select day, orders, amount from daily_totals order by day").all() == days
    assert sum(day[2] for day in days) == Decimal("1.50") * sum(day[1] for day in days)
    return sum(day[1] for day in days)


def test_orders_and_totals_agree_whatever_happens(shop, postgres_url, spark, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from orders.job import ORDERS, job

    source, checkpoint = tmp_path / "source", tmp_path / "checkpoint"
    sell(source, 0)
    sell(source, 1)

    def run(function):
        orders = spark.readStream.schema(ORDERS).option("maxFilesPerTrigger", 1).json(str(source))
        writer = orders.writeStream.foreachBatch(function).option("checkpointLocation", str(checkpoint))
        writer.trigger(availableNow=True).start().awaitTermination()

    run(job(postgres_url))
    assert agree(shop) == 20
    (checkpoint / "commits" / "1").unlink()
    (checkpoint / "commits" / ".1.crc").unlink()
    sell(source, 2)
    Faults(Path(os.environ[VARIABLE])).arm("entry-written", "raise")
    with pytest.raises(StreamingQueryException, match="entry-written"):
        run(job(postgres_url))
    assert agree(shop) == 20
    run(job(postgres_url))
    assert agree(shop) == 30
