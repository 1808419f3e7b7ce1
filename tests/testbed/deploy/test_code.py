"""The testbed as it is sent to a node."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from devices.base.plugins import told, use_files
from testbed.deploy.code import pack_testbed, packed_plugins


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    archive = pack_testbed(tmp_path / "one")
    assert pack_testbed(tmp_path / "two").read_bytes() == archive.read_bytes()
    made = archive.stat().st_ino
    assert pack_testbed(tmp_path / "one").stat().st_ino == made
    whole = archive.read_bytes()
    archive.write_bytes(whole[:1000])  # torn by a power cut
    assert pack_testbed(tmp_path / "one").read_bytes() == whole


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


def test_the_files_of_plug_ins_are_sent_too_and_used_there(tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(f'ADDS = {{"exit_policies": {{"{name}": max}}}}\n')
    here = tmp_path / "figure.py"
    here.write_text('import matplotlib\n\nADDS = {"figures": {"here": print}}\n')
    use_files([*files, here])
    try:
        archive, names = pack_testbed(tmp_path), packed_plugins()
    finally:
        use_files([])
    there = tmp_path / "there"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(there)
    for file in files:
        file.unlink()
    done = subprocess.run(
        [sys.executable, "-c", "from testbed.record.exits import policy_names; print(*policy_names())"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(there)} | told(there / name for name in names),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["max_softmax", "entropy", "margin", "first", "second"]
