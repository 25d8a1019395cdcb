"""A checkpoint's folder through Hadoop: on the local disk, and on a store whose paths only their URIs tell.

The store is Hadoop's viewfs under a scheme and a bucket of its own, as S3 has them. S3 itself cannot be had here. What
depends on it alone is not tested: that its rename copies, and that it knows no folder but by the files in it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from foreachonce import JdbcSink
from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.errors import ConfigurationError, EpochError
from foreachonce.spark.files import HadoopFiles
from foreachonce.testing.stream import open_stream
from tests.folders import ENTRY, FolderContract

STORE = "store://bucket"


@pytest.fixture(scope="module")
def store(spark, tmp_path_factory):
    """The session knows a store whose files are those of the tests' folder on the local disk, under the same paths."""
    disk = tmp_path_factory.getbasetemp()
    settings = {
        "fs.store.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        f"fs.viewfs.mounttable.bucket.link.{disk}": f"file://{disk}",
    }
    for key, value in settings.items():
        spark.conf.set(key, value)
    yield STORE
    for key in settings:
        spark.conf.unset(key)


class TestHadoop(FolderContract):
    @pytest.fixture(params=["file:", STORE])
    def folder(self, request, spark, store, tmp_path):
        return HadoopFiles.of(spark, f"{request.param}{tmp_path}/a b%20c ü/")

    def spoil(self, folder, path, size):
        place = self.on_disk(folder, path)
        assert place.with_name(f".{place.name}.crc").exists()
        place.write_bytes(place.read_bytes()[:size])

    def address(self, folder, path):
        return "file://" + quote(str(self.on_disk(folder, path)))

    def on_disk(self, folder, path) -> Path:
        return Path("/" + folder.root.removeprefix(STORE).removeprefix("file:").lstrip("/"), path)

    def test_checksums_of_hadoop_are_understood_without_it(self, folder):
        local = LocalCheckpoint(str(self.on_disk(folder, "")))
        for size in (0, 1, 512, 513, len(ENTRY)):
            folder.write("sources/0/0", ENTRY[:size])
            assert local.text("sources/0/0") == ENTRY[:size]
        self.spoil(folder, "sources/0/0", 700)
        with pytest.raises(EpochError, match=r"sources/0/0 .* is damaged: its checksum does not fit"):
            local.text("sources/0/0")
        local.write("sources/0/0", "v1")
        assert folder.text("sources/0/0") == "v1"

    def test_bytes_that_are_no_text_are_damage(self, folder):
        local = LocalCheckpoint(str(self.on_disk(folder, "")))
        local.write("offsets/0", "v1")
        self.on_disk(folder, "offsets/0").write_bytes(b"v1\n\xff\xfe")
        with pytest.raises(EpochError, match=r"offsets/0 .* is damaged"):
            folder.text("offsets/0")


@pytest.mark.parametrize("root", ["/", "file:/", STORE, f"{STORE}/"])
def test_nothing_is_beside_a_whole_file_system_or_bucket(spark, store, root):
    with pytest.raises(ConfigurationError, match="a folder of its own"):
        HadoopFiles.of(spark, root).beside(".mended")


def test_query_goes_on_from_a_checkpoint_that_was_written_anew_in_a_store(spark, store, stream, tmp_path):
    checkpoint = f"{STORE}{stream.checkpoint}/a b%20c ü/"
    database = tmp_path / "sink.db"
    sink = JdbcSink(f"sqlite:///{database}", table="events", stream="events", heal=True)
    for numbers in ([1], [2]), ([3],):
        stream.feed(*numbers)
        writer = open_stream(spark, stream.source, limit=1).writeStream.trigger(availableNow=True)
        sink.start(writer, checkpoint).awaitTermination()
        folder = HadoopFiles.of(spark, checkpoint)
        assert folder.exists("commits")
        folder.discard()
    assert sqlite3.connect(database).execute("select id from events order by id").fetchall() == [(1,), (2,), (3,)]
