"""What each kind of a checkpoint's folder must do, on whatever file system it is."""

from __future__ import annotations

import pytest

from foreachonce.checkpoint import CheckpointFolder
from foreachonce.errors import EpochError, SinkUnavailable

ENTRY = "v1\n" + "\n".join(f'{{"path":"file:///in/{number}","timestamp":1,"batchId":0}}' for number in range(20))


class FolderContract:
    """Subclasses give an empty folder, and a way to spoil a file in it behind its back."""

    @pytest.fixture
    def folder(self) -> CheckpointFolder:
        """A folder that is not there yet."""
        raise NotImplementedError

    def spoil(self, folder: CheckpointFolder, path: str, size: int) -> None:
        """Cut a file short, and leave the checksum that is kept beside it."""
        raise NotImplementedError

    def address(self, folder: CheckpointFolder, path: str) -> str:
        """The URI of a file in the folder, as a source log names it."""
        raise NotImplementedError

    @pytest.mark.parametrize("text", ["", "v1", "v1\n{}\n", "Zürich ☃ 𝄞\n\ttab\u2028", ENTRY], ids=len)
    def test_text_comes_back_as_it_was_written(self, folder, text):
        folder.write("offsets/0", text)
        assert folder.text("offsets/0") == text

    @pytest.mark.parametrize("again", ["v1", ENTRY + ENTRY])
    def test_text_is_written_in_place_of_another(self, folder, again):
        folder.write("offsets/0", ENTRY)
        folder.write("offsets/0", again)
        assert folder.text("offsets/0") == again

    def test_file_that_is_missing_has_no_text(self, folder):
        folder.write("offsets/0", "v1")
        assert [folder.text(path) for path in ("offsets/1", "commits/0", "offsets", "")] == [None] * 4

    def test_files_and_folders_are_there(self, folder):
        assert not folder.exists("")
        folder.write("sources/0/9.compact", "v1")
        there = ("", "sources", "sources/0", "sources/0/9.compact", "sources/0/9", "source")
        assert [folder.exists(path) for path in there] == [True, True, True, True, False, False]

    def test_names_in_a_folder(self, folder):
        for path in ("metadata", "offsets/10", "offsets/9", "offsets/Zürich 1%20", "sources/0/0"):
            folder.write(path, ENTRY)
        assert folder.names("") == ["metadata", "offsets", "sources"]
        assert folder.names("offsets") == ["10", "9", "Zürich 1%20"]
        assert folder.names("sources") == ["0"]

    def test_where_there_is_no_folder_there_are_no_names(self, folder):
        assert folder.names("") == folder.names("offsets") == []
        folder.write("metadata", "{}")
        assert folder.names("metadata") == folder.names("offsets") == []

    def test_all_files_in_a_folder(self, folder):
        paths = ["metadata", "state/0/0/1.delta", "state/0/0/left keys/Zürich%20", "state/_metadata/0"]
        for path in paths:
            folder.write(path, "v1")
        assert sorted(folder.walk("")) == paths
        assert sorted(folder.walk("state/0")) == paths[1:3]
        assert list(folder.walk("offsets")) == list(folder.walk("metadata")) == []

    def test_file_that_was_cut_short_is_damaged(self, folder):
        folder.write("sources/0/0", ENTRY)
        self.spoil(folder, "sources/0/0", 700)
        with pytest.raises(EpochError, match=r"sources/0/0 of .* is damaged"):
            folder.text("sources/0/0")
        assert folder.exists("sources/0/0")
        assert folder.names("sources/0") == ["0"]

    def test_damaged_file_is_whole_once_it_was_written_anew(self, folder):
        folder.write("offsets/0", ENTRY)
        self.spoil(folder, "offsets/0", 700)
        folder.write("offsets/0", ENTRY)
        assert folder.text("offsets/0") == ENTRY

    def test_folder_beside_is_another(self, folder):
        folder.write("offsets/0", "v1")
        beside = folder.beside(".mended")
        assert beside.root == folder.root + ".mended"
        assert not beside.exists("")
        beside.write("offsets/0", "v2")
        assert (folder.text("offsets/0"), beside.text("offsets/0")) == ("v1", "v2")

    def test_file_or_folder_is_copied_to_another_root(self, folder):
        for path in ("metadata", "state/0/0/1.delta", "state/0/1/left/1.snapshot", "offsets/0"):
            folder.write(path, ENTRY)
        beside = folder.beside(".mended")
        folder.copy("state", beside.root)
        folder.copy("metadata", beside.root)
        assert sorted(beside.walk("")) == ["metadata", "state/0/0/1.delta", "state/0/1/left/1.snapshot"]
        assert {beside.text(path) for path in beside.walk("")} == {ENTRY}
        assert folder.text("metadata") == ENTRY

    def test_what_is_missing_is_not_copied(self, folder):
        folder.write("metadata", "{}")
        with pytest.raises(EpochError, match="there is no state"):
            folder.copy("state", folder.beside(".mended").root)

    @pytest.mark.parametrize("path", ["state", "state/0/1.delta"])
    def test_damaged_file_is_not_copied(self, folder, path):
        folder.write("state/0/1.delta", ENTRY)
        self.spoil(folder, "state/0/1.delta", 700)
        with pytest.raises(EpochError, match="is damaged"):
            folder.copy(path, folder.beside(".mended").root)

    def test_file_is_removed(self, folder):
        folder.write("state/1", ENTRY)
        folder.write("state/2", "v1")
        folder.remove("state/1")
        folder.remove("state/1")
        assert folder.names("state") == ["2"]
        folder.write("state/1", "v1")
        assert folder.text("state/1") == "v1"

    def test_folder_is_moved(self, folder):
        folder.write("offsets/0", ENTRY)
        beside = folder.beside(".aside-1")
        folder.move(beside.root)
        assert not folder.exists("")
        assert (beside.text("offsets/0"), list(beside.walk(""))) == (ENTRY, ["offsets/0"])
        beside.move(folder.root)
        assert (folder.text("offsets/0"), beside.exists("")) == (ENTRY, False)

    def test_folder_is_not_moved_to_where_something_is(self, folder):
        beside = folder.beside(".mended")
        folder.write("offsets/0", "old")
        beside.write("offsets/0", "new")
        with pytest.raises(SinkUnavailable, match="something is there"):
            beside.move(folder.root)
        assert (folder.text("offsets/0"), beside.text("offsets/0")) == ("old", "new")

    def test_what_is_missing_is_not_moved(self, folder):
        with pytest.raises(SinkUnavailable, match="nothing to move"):
            folder.move(folder.beside(".aside-1").root)

    def test_folder_is_discarded_alone(self, folder):
        beside = folder.beside(".mended")
        folder.write("offsets/0", "v1")
        for _ in range(2):
            beside.write("offsets/0", "v1")
            beside.discard()
            beside.discard()
            assert not beside.exists("")
        assert folder.text("offsets/0") == "v1"

    def test_files_of_a_source_are_looked_for_by_their_uri(self, folder):
        folder.write("in/a b%20c#d?ü.json", "{}")
        assert folder.has(self.address(folder, "in/a b%20c#d?ü.json"))
        assert not folder.has(self.address(folder, "in/a b c#d?ü.json"))
