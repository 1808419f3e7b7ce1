"""An edit of what measures is another code; an edit of anything else is not."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devices.base.plugins import use_files
from testbed.campaign import provenance
from testbed.runtime.digest import file_digest
from tests.devices.base.installed import install

ROOT = Path(__file__).parents[3]
ALIKE = ("testbed/version.py",)
"""Runs on a node, and decides nothing there: a release is not another measurement."""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, to be edited."""
    for package in ("testbed", "devices", "analysis", "docs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# another line\n")


@pytest.mark.parametrize(
    "folder", ["testbed/worker", "testbed/modes", "testbed/link", "testbed/runtime", "testbed/orchestrator", "devices"]
)
def test_an_edit_of_what_measures_changes_the_hash(sources: Path, folder: str) -> None:
    before = provenance.digest(sources)
    edit(sorted((sources / folder).rglob("*.py"))[-1])
    assert provenance.digest(sources) != before


@pytest.mark.parametrize("file", ["testbed/record/schema.py", "testbed/snn/export.py", "testbed/snn/stepgraph.py"])
def test_an_edit_of_the_schema_or_of_the_export_changes_the_hash(sources: Path, file: str) -> None:
    before = provenance.digest(sources)
    edit(sources / file)
    assert provenance.digest(sources) != before


@pytest.mark.parametrize("folder", ["testbed/cli", "testbed/campaign", "testbed/deploy", "testbed/steward", "analysis"])
def test_an_edit_of_the_command_of_a_figure_or_of_the_plan_changes_nothing(sources: Path, folder: str) -> None:
    before = provenance.digest(sources)
    for path in (sources / folder).rglob("*.py"):
        edit(path)
    assert provenance.digest(sources) == before


def test_an_edit_of_a_page_or_of_a_reader_of_results_changes_nothing(sources: Path) -> None:
    before = provenance.digest(sources)
    for path in (*(sources / "docs").rglob("*.md"), sources / "testbed" / "record" / "reader.py"):
        edit(path)
    assert provenance.digest(sources) == before


def test_a_file_that_is_new_or_gone_changes_the_hash(sources: Path) -> None:
    hashes = [provenance.digest(sources)]
    (sources / "testbed" / "link" / "another.py").write_text("")
    hashes.append(provenance.digest(sources))
    (sources / "testbed" / "link" / "clock.py").unlink()
    hashes.append(provenance.digest(sources))
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(("group", "measures"), [("testbed.codecs", True), ("testbed.figures", False)])
def test_a_package_that_adds_what_measures_is_part_of_the_code(tmp_path: Path, monkeypatch, group, measures) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = [provenance.digest(ROOT)]
    install(tmp_path, "lab-extras", {group: "extra = extras_of_a_lab:EXTRA"}, {"extras_of_a_lab.py": "EXTRA = 1\n"})
    importlib.invalidate_caches()
    hashes.append(provenance.digest(ROOT))
    edit(tmp_path / "extras_of_a_lab.py")
    hashes.append(provenance.digest(ROOT))
    assert len(set(hashes)) == (3 if measures else 1)


@pytest.mark.parametrize(("group", "measures"), [("exit_policies", True), ("metrics", False)])
def test_a_file_that_adds_what_measures_is_part_of_the_code(tmp_path: Path, group, measures) -> None:
    file = tmp_path / "lab.py"
    file.write_text(f'ADDS = {{"{group}": {{"mine": max}}}}\n')
    hashes = [provenance.digest(ROOT)]
    try:
        use_files([file])
        hashes.append(provenance.digest(ROOT))
        edit(file)
        hashes.append(provenance.digest(ROOT))
        assert provenance.code().plugins == {"lab.py": file_digest(file)}
    finally:
        use_files([])
    assert len(set(hashes)) == (3 if measures else 1)


def test_everything_that_a_worker_loads_is_covered() -> None:
    script = (
        "import sys, testbed.worker.agent, devices.power.sampler\n"
        "print(*filter(None, (getattr(module, '__file__', None) for module in sys.modules.values())), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    ours = {path for path in loaded if path.is_relative_to(ROOT / "testbed") or path.is_relative_to(ROOT / "devices")}
    assert len(ours) > 20
    empty = {path for path in ours if path.name == "__init__.py"}
    alike = {ROOT / name for name in ALIKE}
    assert {str(path.relative_to(ROOT)) for path in ours - empty - alike - set(provenance.measuring(ROOT))} == set()


def test_every_named_source_is_there() -> None:
    assert [name for name in provenance.MEASURES if not (ROOT / name).exists()] == []
    assert all(path.is_file() for path in provenance.measuring(ROOT))


def test_code_names_the_commit_and_the_interpreter() -> None:
    code = provenance.code()
    assert code.sha256 == provenance.digest(ROOT)
    assert code.python == sys.version.split()[0]
