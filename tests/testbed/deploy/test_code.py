"""The testbed as it is sent to a node."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from testbed.deploy.code import pack_testbed


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    archive = pack_testbed(tmp_path / "one")
    assert pack_testbed(tmp_path / "two").read_bytes() == archive.read_bytes()
    made = archive.stat().st_mtime_ns
    assert pack_testbed(tmp_path / "one").stat().st_mtime_ns == made


def test_a_worker_runs_from_what_was_unpacked_and_from_nothing_else(tmp_path: Path) -> None:
    there = tmp_path / "there"
    with zipfile.ZipFile(pack_testbed(tmp_path)) as packed:
        packed.extractall(there)
    assert (there / "devices" / "host.yaml").is_file()
    script = "import testbed.worker.agent, testbed.steward.service, devices; print(testbed.__file__, devices.__file__)"
    done = subprocess.run(
        # Isolated, so that neither the current folder nor an installed testbed is looked into first.
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(there)!r}); {script}"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(there / "testbed" / "__init__.py"), str(there / "devices" / "__init__.py")]
