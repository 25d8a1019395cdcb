"""The epoch is resolved on Spark Connect too; a Connect session needs a process of its own."""

from __future__ import annotations

import subprocess
import sys

import sqlalchemy as sa

from foreachonce.sql.url import parse_url


def test_connect_resolves_epochs_with_the_checkpoint_keyword(postgres_url, tmp_path):
    job = [sys.executable, "-m", "tests.contract.connect_job", postgres_url, str(tmp_path)]
    done = subprocess.run(job, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.splitlines()[-4:] == ["written", "replayed", "refused", "asked for checkpoint="], done.stderr[-3000:]
    engine = sa.create_engine(parse_url(postgres_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.execute(sa.text("select id from events order by id")).scalars().all() == [1, 2, 3]
