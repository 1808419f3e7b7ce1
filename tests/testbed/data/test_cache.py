"""Prepared data: made once, whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from testbed.data.cache import MARKER, new_array, prepared
from testbed.errors import DataError


def write(folder: Path) -> dict[str, int]:
    (folder / "data").write_bytes(b"12345")
    return {"things": 5}


def test_it_is_made_once_for_the_same_origin(cache):
    first = prepared("thing", {"a": 1}, write)
    assert prepared("thing", {"a": 1}, lambda _: pytest.fail("made again")) == first
    assert prepared("thing", {"a": 2}, write) != first
    assert first.parent == cache


def test_the_marker_says_what_was_made_from_what():
    marker = json.loads((prepared("thing", {"a": 1}, write) / MARKER).read_text())
    assert marker["made_from"] == {"a": 1}
    assert marker["counts"] == {"things": 5}
    assert marker["files"]["data"] == [5, "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"]


def test_a_failure_leaves_nothing_that_looks_prepared(cache):
    def fail(folder: Path) -> dict[str, int]:
        write(folder)
        raise DataError("broken source")

    with pytest.raises(DataError, match="broken source"):
        prepared("thing", 1, fail)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    assert (prepared("thing", 1, write) / "data").exists()


def test_a_killed_preparation_is_made_anew(cache):
    script = """
        import os, signal
        from testbed.data.cache import prepared
        def die(folder):
            (folder / "data").write_bytes(b"123")
            os.kill(os.getpid(), signal.SIGKILL)
        prepared("thing", 1, die)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=dict(os.environ), check=False)
    assert run.returncode == -signal.SIGKILL
    assert list(cache.glob(".thing-*.part/data"))
    folder = prepared("thing", 1, write)
    assert (folder / "data").read_bytes() == b"12345"
    assert not list(cache.glob(".thing-*.part"))


def test_prepared_data_that_lost_something_is_refused():
    folder = prepared("thing", 1, write)
    (folder / "data").write_bytes(b"123")
    with pytest.raises(DataError, match="not whole any more; delete the folder"):
        prepared("thing", 1, write)
    (folder / "data").write_bytes(b"12345")
    assert prepared("thing", 1, write) == folder
    (folder / MARKER).unlink()
    with pytest.raises(DataError, match="not whole"):
        prepared("thing", 1, write)


def test_processes_that_want_the_same_wait_for_the_one_that_makes_it():
    made = []
    begun = threading.Event()

    def slow(folder: Path) -> dict[str, int]:
        begun.set()
        made.append(folder)
        return write(folder)

    threads = [threading.Thread(target=prepared, args=("thing", 1, slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun.is_set()
    assert len(made) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="TESTBED_CACHE can name another folder"):
        prepared("thing", 1, write)


def test_names_from_outside_stay_one_folder(cache):
    assert prepared("images-my pets/../x", 1, write).parent == cache


def test_a_full_disk_is_an_error_and_no_crash(cache, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left"):
        prepared("thing", 1, lambda folder: {"n": len(new_array(folder / "big.npy", (10,)))})
    assert [path for path in cache.iterdir() if path.is_dir()] == []
