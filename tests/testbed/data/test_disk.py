"""Folders as they come: links, loops, FIFOs and forbidden files are read through, passed over, or named in one line."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from testbed.data.datasets import DatasetSpec, load, source_digest
from testbed.data.files import IMAGE_SUFFIXES, contents, list_files
from testbed.errors import DataError


def listed(folder: Path):
    return list_files(folder, IMAGE_SUFFIXES)


def spec() -> DatasetSpec:
    return DatasetSpec(name="image_folder", image_size=8)


def test_a_link_that_leads_nowhere_is_named_with_its_target(unsplit):
    (unsplit / "bee/x.png").symlink_to("/mnt/not-mounted/x.png")
    with pytest.raises(
        DataError, match=r"bee/x\.png: is a link to /mnt/not-mounted/x\.png, which is not there; fetch it"
    ):
        listed(unsplit)
    (unsplit / "gone").symlink_to("/mnt/not-mounted")
    with pytest.raises(DataError, match="gone: is a link to /mnt/not-mounted"):
        listed(unsplit / "gone")


def test_a_link_that_leads_nowhere_and_is_no_sample_does_not_matter(unsplit):
    (unsplit / "README").symlink_to("/mnt/not-mounted/README")
    (unsplit / "self").symlink_to("self")
    assert len(listed(unsplit)) == 30
    assert source_digest(spec(), unsplit) == source_digest(spec(), unsplit)


def test_a_link_to_itself_and_a_fifo_and_a_socket_are_named(unsplit, tmp_path):
    odd = unsplit / "bee/x.png"
    odd.symlink_to("x.png")
    with pytest.raises(DataError, match=r"bee/x\.png: cannot be read: Too many levels of symbolic links"):
        listed(unsplit)
    odd.unlink()
    os.mkfifo(odd)
    with pytest.raises(DataError, match=r"bee/x\.png: is no file but a FIFO; remove it"):
        listed(unsplit)
    odd.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        (tmp_path / "s").rename(odd)
        with pytest.raises(DataError, match="is no file but a socket"):
            listed(unsplit)
    os.mkfifo(tmp_path / "f")
    with pytest.raises(DataError, match="Not a directory"):
        listed(tmp_path / "f")


def test_links_back_to_a_folder_above_are_not_followed_and_said(unsplit):
    before = listed(unsplit)
    for at in ("again", "bee/up", "bee/other", "cow/up", "Ant/here"):
        (unsplit / at).symlink_to({"bee/other": "../cow", "Ant/here": "."}.get(at, ".." if "/" in at else "."))
    (unsplit / "bee/other").unlink()
    after = listed(unsplit)
    assert (after.names, after.digest) == (before.names, before.digest)
    assert [note.split()[1] for note in after.notes] == ["Ant/here", "again", "bee/up", "cow/up"]
    assert all("leads back to a folder above it: not followed" in note for note in after.notes)
    assert "link again leads back" in load(spec(), unsplit).variant


def test_a_link_to_a_folder_elsewhere_is_followed(unsplit, tmp_path):
    before = listed(unsplit)
    shutil.move(unsplit / "bee", tmp_path / "far")
    (unsplit / "bee").symlink_to(tmp_path / "far")
    assert listed(unsplit).names == before.names
    assert len(list(contents(listed(unsplit)))) == 30


def forbid(monkeypatch: pytest.MonkeyPatch, owner, name: str, of: str) -> None:
    """Let a call of the file system fail for one path, as for a user who is not root."""
    true = getattr(owner, name)

    def call(path, *more, **named):
        if str(path).endswith(of):
            raise PermissionError(13, "Permission denied", str(path))
        return true(path, *more, **named)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ("owner", "name", "of"), [(os, "scandir", "bee"), (Path, "stat", "bee/3.png"), (Path, "read_bytes", "bee/3.png")]
)
def test_what_may_not_be_read_is_named(unsplit, monkeypatch, owner, name, of):
    forbid(monkeypatch, owner, name, of)
    with pytest.raises(DataError, match=r"animals/bee.*: cannot be read: Permission denied"):
        list(contents(listed(unsplit)))


def test_a_forbidden_source_and_a_forbidden_zip_are_named(unsplit, tmp_path, monkeypatch):
    forbid(monkeypatch, Path, "stat", "animals")
    with pytest.raises(DataError, match="animals: cannot be read: Permission denied"):
        load(spec(), unsplit)
    (tmp_path / "a.zip").write_bytes(b"PK")
    forbid(monkeypatch, Path, "stat", "a.zip")
    for call in (load, source_digest):
        with pytest.raises(DataError, match=r"a\.zip: cannot be read: Permission denied"):
            call(spec(), tmp_path / "a.zip")


def test_an_unreadable_image_is_not_blamed_on_the_cache(unsplit, monkeypatch):
    forbid(monkeypatch, Path, "read_bytes", "bee/3.png")
    with pytest.raises(DataError) as caught:
        load(spec(), unsplit)
    assert "bee/3.png: cannot be read: Permission denied" in str(caught.value)
    assert "TESTBED_CACHE" not in str(caught.value)


def test_a_name_that_is_not_utf_8_is_named_on_one_line(unsplit):
    path = os.fsencode(unsplit / "bee") + b"/caf\xe9\nx.png"
    with open(path, "wb"):  # noqa: PTH123  (a name that is no text)
        pass
    with pytest.raises(DataError, match=r"bee/caf\\udce9 x\.png: this name is not UTF-8; rename it") as caught:
        listed(unsplit)
    assert "\n" not in str(caught.value)
    assert source_digest(spec(), unsplit)


def test_a_file_too_large_for_a_sample_is_refused(unsplit):
    with (unsplit / "bee/3.png").open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="1,099,511,627,776 bytes are too many for one sample"):
        listed(unsplit)
