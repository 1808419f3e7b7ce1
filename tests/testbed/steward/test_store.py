"""What is kept on a node by hash is what its name says, whole, or is not there."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from testbed.steward.store import Store, StoreError


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_file_that_is_not_what_was_announced_does_not_count(tmp_path) -> None:
    store, stream = Store(tmp_path), io.BytesIO(b"damaged" + b"next message")

    with pytest.raises(StoreError, match=r"arrived with sha256 .* instead of"):
        store.put(sha256(b"correct"), 7, stream.read)

    assert stream.read() == b"next message"
    assert store.lacking({sha256(b"correct"): 7}) == [sha256(b"correct")]
    assert not list((tmp_path / "files").iterdir())


def test_transfer_that_breaks_off_does_not_count(tmp_path) -> None:
    store, pieces = Store(tmp_path), [b"half"]

    def read(size: int) -> bytes:
        if not pieces:
            raise ConnectionError
        return pieces.pop()

    with pytest.raises(ConnectionError):
        store.put(sha256(b"half and half"), 13, read)

    assert store.lacking({sha256(b"half and half"): 13})


def test_file_of_another_size_than_it_should_have_is_lacking(tmp_path) -> None:
    store = Store(tmp_path)
    store.put(sha256(b"content"), 7, io.BytesIO(b"content").read)
    assert store.lacking({sha256(b"content"): 7}) == []
    store.file(sha256(b"content")).chmod(0o644)
    store.file(sha256(b"content")).write_bytes(b"cont")

    assert store.lacking({sha256(b"content"): 7}) == [sha256(b"content")]


def test_folder_and_code_are_made_once_of_files_that_are_there(tmp_path) -> None:
    store, archive = Store(tmp_path), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("package/module.py", "value = 1\n")
    data = archive.getvalue()
    store.put(sha256(data), len(data), io.BytesIO(data).read)

    folder = store.assemble("digest", {"name.whl": sha256(data)})
    code = store.unpack(sha256(data))

    assert (folder / "name.whl").read_bytes() == data
    assert (code / "package" / "module.py").read_text() == "value = 1\n"
    assert store.assemble("digest", {}) == folder  # there already
    with pytest.raises(FileNotFoundError):
        store.assemble("another", {"name": sha256(b"not sent")})
    assert not (tmp_path / "folders" / "another").exists()


def test_environment_sees_the_packages_of_the_interpreter_that_makes_it(tmp_path) -> None:
    python = Store(tmp_path).environment("key", {}, lambda part: None)

    found = subprocess.run([python, "-c", "import pytest, sys; print(sys.prefix)"], capture_output=True, text=True)

    assert found.stdout.strip() == str(tmp_path / "environments" / "key"), found.stderr


def test_environment_that_could_not_be_filled_does_not_count(tmp_path) -> None:
    store = Store(tmp_path)

    def fail(part) -> None:
        raise StoreError("no matching distribution")

    with pytest.raises(StoreError):
        store.environment("key", {}, fail)

    assert not list((tmp_path / "environments").iterdir())


def test_what_is_made_of_files_is_on_the_disk_before_it_counts(tmp_path, monkeypatch) -> None:
    """A board that loses its power keeps names whose content had not been written."""
    done: list[str] = []
    store = Store(tmp_path)
    data = b"content"
    store.put(sha256(data), len(data), io.BytesIO(data).read)
    monkeypatch.setattr("testbed.steward.store._syncfs", lambda folder, failed: done.append(f"sync {folder.name}"))
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    store.assemble("digest", {"name": sha256(data)})
    assert done[0].startswith("sync digest.")
    assert done[1:] == ["rename digest", "sync folders"]


def test_a_disk_that_fails_leaves_nothing_that_counts(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr("testbed.steward.store._syncfs", lambda folder, failed: failed.append(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        store.assemble("digest", {})
    assert not list((tmp_path / "folders").iterdir())


def test_the_workstation_is_listened_to_while_the_disk_is_waited_for(tmp_path, monkeypatch) -> None:
    written, heard = threading.Event(), []
    monkeypatch.setattr("testbed.steward.store.LISTEN_S", 0.001)
    monkeypatch.setattr("testbed.steward.store._syncfs", lambda folder, failed: written.wait(10))

    def listen() -> None:
        heard.append("a beat")
        if len(heard) == 3:
            written.set()

    Store(tmp_path, listen).assemble("digest", {})
    assert len(heard) >= 3
