"""Wheels that the workstation downloads and keeps, and what is said where it cannot: with a real pip."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from testbed.deploy.download import cache_folder, caching, download
from testbed.deploy.wheels import Python
from testbed.errors import DeployError
from tests.fakes.disk import small_disk

ORIN = Python("/usr/bin/python3", "3.10.12", "aarch64", ("glibc", "2.35"))
WANTED = [Requirement("numpy>=1.26")]


@pytest.fixture(autouse=True)
def _no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index and no settings but a test's own."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index: a folder with the wheels that it has."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any") -> Path:
    """A wheel that pip takes; what is in it is stored as it is."""
    path = folder / f"{name}-{version}-{tag}.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"{name}/__init__.py", "content = 'whole'\n" * 100)
        packed.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        packed.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        packed.writestr(f"{about}/RECORD", "")
    return path


def fetch(cache: Path) -> list[Path]:
    return download(WANTED, ORIN, cache, threading.Event())


@pytest.mark.parametrize(
    ("variable", "url", "why"),
    [
        ("PIP_INDEX_URL", "http://127.0.0.1:1/simple", r"127\.0\.0\.1:1: .*Connection refused"),
        ("PIP_INDEX_URL", "https://no-such-index.invalid/simple", r"no-such-index\.invalid: .*"),
        ("PIP_INDEX_URL", "http://user:secret@127.0.0.1:1/simple", r"127\.0\.0\.1:1: .*"),
        ("PIP_PROXY", "http://127.0.0.1:1", r"pypi\.org: .*"),
    ],
)
def test_an_offline_workstation_is_no_missing_package(
    variable: str, url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(DeployError) as seen:
        fetch(tmp_path / "cache")
    said = str(seen.value)
    assert re.match(rf"this workstation reaches no package index that has them \({why}\)\. Be online once", said), said
    assert "\n" not in said
    assert "secret" not in said
    assert "No matching distribution" not in said
    assert not list((tmp_path / "cache" / "wheels").iterdir())


def test_wheels_that_were_downloaded_by_hand_where_it_says_are_used(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(DeployError) as seen:
        fetch(cache)
    command = re.search(
        r"in bash: python3 (-m pip download .* pip); then copy the folder (\w+) into (\S+)", str(seen.value)
    )
    assert command is not None
    wheel(index, "numpy", "1.26.4", "cp310-cp310-manylinux_2_17_aarch64")
    wheel(index, "pip", "25.0")
    # Its own index comes first, so that the words are those of the command.
    done = subprocess.run(
        ["bash", "-c", f"PIP_NO_INDEX=1 PIP_FIND_LINKS={index} {sys.executable} {command[1]}"],
        cwd=command[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (Path(command[3]) / command[2]).is_dir()
    assert [file.name.partition("-")[0] for file in fetch(cache)] == ["numpy", "pip"]


def test_an_index_without_a_wheel_for_the_node_says_what_the_node_is(tmp_path: Path, index: Path) -> None:
    wheel(index, "numpy", "2.0.0", "cp310-cp310-manylinux_2_17_x86_64")
    wheel(index, "pip", "25.0")
    with pytest.raises(
        DeployError, match=r"has none that fit Python 3\.10 on aarch64 with glibc 2\.35 \(pip: Could not"
    ):
        fetch(tmp_path / "cache")


def test_an_index_that_is_not_a_folder_any_more_is_named(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/no/such/mirror")
    with pytest.raises(DeployError, match=r"has none that fit .*/no/such/mirror"):
        fetch(tmp_path / "cache")


@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_wheel_is_downloaded_again(damage: str, tmp_path: Path, index: Path) -> None:
    wheel(index, "numpy", "1.26.4")
    wheel(index, "pip", "25.0")
    kept = fetch(tmp_path / "cache")
    data = kept[0].read_bytes()
    if damage == "removed":
        kept[0].unlink()
    else:
        kept[0].write_bytes(data[:200] if damage == "cut" else data.replace(b"whole", b"torn!", 1))
    assert fetch(tmp_path / "cache") == kept
    assert kept[0].read_bytes() == data


def test_a_damaged_wheel_that_cannot_be_downloaded_again_is_one_line(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(index, "numpy", "1.26.4")
    wheel(index, "pip", "25.0")
    kept = fetch(tmp_path / "cache")
    kept[0].write_bytes(b"")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(
        DeployError, match=r"^numpy-1\.26\.4\S+ is damaged in \S+, and this workstation reaches no package"
    ):
        fetch(tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, index: Path) -> None:
    (tmp_path / "cache").write_text("a file is in its place")
    with pytest.raises(DeployError, match=r"^the cache \S+ of this workstation cannot be used \(.*XDG_CACHE_HOME$"):
        fetch(tmp_path / "cache")


def test_a_cache_without_room_and_a_read_only_one_are_one_line(tmp_path: Path, index: Path) -> None:
    wheel(index, "numpy", "1.26.4")
    wheel(index, "pip", "25.0")
    with small_disk(tmp_path / "cache") as disk:
        disk.remount("ro")
        with pytest.raises(
            DeployError, match=r"cannot be used \(Read-only file system: \S+\); let your user write there"
        ):
            fetch(tmp_path / "cache")


def test_a_python_without_pip_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr("testbed.deploy.download.sys.executable", str(bare))
    with pytest.raises(DeployError, match=r"^this workstation's Python has no pip; type here: \S+ -m ensurepip$"):
        fetch(tmp_path / "cache")


def test_what_is_cached_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/neucodex")
    with pytest.raises(DeployError, match="the cache /somewhere/neucodex"), caching(cache_folder()):
        raise PermissionError(13, "Permission denied", "/somewhere")


def test_a_download_that_nobody_waits_for_any_more_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[str]] = []

    class Endless(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command: list[str], **options: object) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **options)
            begun.append(self)
            stop.set()

    stop = threading.Event()
    monkeypatch.setattr("testbed.deploy.download.subprocess.Popen", Endless)
    with pytest.raises(DeployError, match="was stopped"):
        download(WANTED, ORIN, tmp_path, stop)
    assert begun[0].returncode == -9
    assert not list(tmp_path.glob("wheels/*"))
