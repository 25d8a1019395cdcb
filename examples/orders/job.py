"""Orders and their daily totals, in one transaction: ``python examples/orders/job.py SOURCE CHECKPOINT DATABASE``.

The totals are right at every moment: an order and its share of its day's total are committed together with the ledger's
entry, so neither a crash nor a replay can count an order twice, and no reader sees one table ahead of the other.
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from foreachonce import ExactlyOnce, JdbcSink, Transaction, exactly_once

ORDERS = "order_id bigint, ordered_at timestamp, customer string, amount decimal(12,2)"


def totals(orders: DataFrame) -> DataFrame:
    """What a batch of orders adds to each day."""
    day = F.to_date("ordered_at").alias("day")
    return orders.groupBy(day).agg(F.count("*").alias("orders"), F.sum("amount").cast("decimal(18,2)").alias("amount"))


def job(database: str) -> ExactlyOnce:
    """The foreachBatch function."""

    @exactly_once(JdbcSink(database, stream="shop"))
    def write(df: DataFrame, batch_id: int, tx: Transaction) -> None:
        tx.append(df, table="orders")
        # The batch's own totals go into a table of their own, and from there onto the days.
        tx.execute("delete from batch_totals")
        tx.append(totals(df), table="batch_totals")
        tx.execute("""
            insert into daily_totals (day, orders, amount)
            select day, orders, amount from batch_totals where true
            on conflict (day) do update
            set orders = daily_totals.orders + excluded.orders, amount = daily_totals.amount + excluded.amount
        """)

    return write


def main(source: str, checkpoint: str, database: str) -> None:
    """Bring every order that is there into the database."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    orders = spark.readStream.schema(ORDERS).option("maxFilesPerTrigger", 1).json(source)
    writer = orders.writeStream.foreachBatch(job(database)).option("checkpointLocation", checkpoint)
    writer.trigger(availableNow=True).start().awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
