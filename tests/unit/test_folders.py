"""A checkpoint's folder in memory, as the unit tests use it, and on the local disk keep one contract."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path
from urllib.parse import quote
from zlib import crc32

import pytest

from foreachonce.checkpoint.local import LocalCheckpoint
from foreachonce.errors import ConfigurationError, EpochError
from tests.folders import FolderContract
from tests.unit.builders import FakeFolder

NAMES = ["checkpoint", "a b%20c ü/"]


def checksums(content: bytes, piece: int = 512) -> bytes:
    """The checksums that Hadoop keeps beside a file; tests/contract/test_folders.py reads real ones."""
    sums = (crc32(content[at : at + piece]) for at in range(0, len(content), piece))
    return b"crc\0" + struct.pack(">i", piece) + b"".join(struct.pack(">I", each) for each in sums)


class TestFake(FolderContract):
    @pytest.fixture(params=NAMES)
    def folder(self, request):
        return FakeFolder(root=f"/data/{request.param}")

    def spoil(self, folder, path, size):
        folder.tear(path, size)

    def address(self, folder, path):
        return "file://" + quote(f"{folder.root}/{path}")


class TestLocal(FolderContract):
    @pytest.fixture(params=product(["", "file:", "file://"], NAMES), ids="".join)
    def folder(self, request, tmp_path):
        start, name = request.param
        return LocalCheckpoint(f"{start}{tmp_path}/{name}")

    def spoil(self, folder, path, size):
        place = on_disk(folder, path)
        place.with_name(f".{place.name}.crc").write_bytes(checksums(place.read_bytes()))
        place.write_bytes(place.read_bytes()[:size])

    def address(self, folder, path):
        return "file://" + quote(str(on_disk(folder, path)))


def on_disk(folder, path: str) -> Path:
    return Path(folder.root.removeprefix("file://").removeprefix("file:"), path)


@pytest.fixture
def local(tmp_path):
    return LocalCheckpoint(str(tmp_path / "checkpoint"))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 5000])
def test_checksums_that_fit_are_believed(local, size):
    text = "0123456789" * 500
    local.write("offsets/0", text[:size])
    place = on_disk(local, "offsets/0")
    place.with_name(".0.crc").write_bytes(checksums(place.read_bytes()))
    assert local.text("offsets/0") == text[:size]
    for other in ("", text[: size + 1], "x" + text[1:size], text[: size // 2]):
        if other != text[:size]:
            place.write_text(other)
            with pytest.raises(EpochError, match="checksum"):
                local.text("offsets/0")


@pytest.mark.parametrize("strange", [b"", b"crc", b"crc\0\0", b"crc\0\0\0\0\0", b"crc\0\0\0\2\0\1", b"other" * 9])
def test_checksums_of_another_form_are_passed_over(local, strange):
    local.write("offsets/0", "v1")
    on_disk(local, "offsets/.0.crc").write_bytes(strange)
    assert local.text("offsets/0") == "v1"


def test_bytes_that_are_no_text_are_damage(local):
    local.write("offsets/0", "v1")
    on_disk(local, "offsets/0").write_bytes(b"v1\n\xff\xfe")
    with pytest.raises(EpochError, match=r"offsets/0 of .*checkpoint is damaged"):
        local.text("offsets/0")


def test_nothing_is_beside_a_whole_file_system():
    with pytest.raises(ConfigurationError, match="a folder of its own"):
        LocalCheckpoint("/").beside(".mended")


def test_file_that_nobody_can_look_for_counts_as_there(local):
    assert local.has("s3a://bucket/in/0.json")
    assert not local.has("/in/0.json")
