"""A function whose effect no transaction of the library covers, and a probe that tells the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from foreachonce.sql.url import parse_url


@dataclass(frozen=True)
class Effects:
    """A system of its own that takes rows under an idempotency key; it stands in for an HTTP service."""

    url: str

    def __call__(self, df, batch_id, epoch):
        """Send the batch's rows; a key that was taken before is refused by the other system."""
        rows = [{"id": row.id, "value": row.value} for row in df.collect()]
        with self.begin() as connection:
            connection.execute(sa.text("create table if not exists events (id bigint, value text)"))
            connection.execute(sa.text("create table if not exists keys (key text primary key)"))
            connection.execute(sa.text("insert into keys values (:key)"), {"key": epoch.idempotency_key})
            if rows:
                connection.execute(sa.text("insert into events values (:id, :value)"), rows)

    def is_there(self, epoch) -> bool:
        """Whether the epoch's rows have come."""
        with self.begin() as connection:
            if not sa.inspect(connection).has_table("keys"):
                return False
            found = connection.execute(sa.text("select 1 from keys where key = :key"), {"key": epoch.idempotency_key})
            return found.first() is not None

    def ids(self) -> list[int]:
        """All ids that have come, in order."""
        with self.begin() as connection:
            if not sa.inspect(connection).has_table("events"):
                return []
            return list(connection.execute(sa.text("select id from events order by id")).scalars())

    def begin(self):
        return sa.create_engine(parse_url(self.url), poolclass=sa.NullPool).begin()


class Broken(Effects):
    """It does what it should, and then its reply is lost."""

    def __call__(self, df, batch_id, epoch):
        super().__call__(df, batch_id, epoch)
        raise OperationalError("no reply", None, Exception("timed out"))
