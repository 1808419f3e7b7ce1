"""Which code measured. An edit of what only plans, prints, judges or draws sets no results aside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import testbed
from devices.base.plugins import ON_NODES, files, files_on_nodes
from testbed.errors import CodeChangedError
from testbed.record.documents import CodeRef
from testbed.runtime.digest import document_digest, file_digest
from testbed.version import VERSION

MEASURES = (
    "devices",
    "testbed/errors.py",
    "testbed/link",
    "testbed/modes",
    "testbed/orchestrator",
    "testbed/record/documents.py",
    "testbed/record/exits.py",
    "testbed/record/faults.py",
    "testbed/record/late.py",
    "testbed/record/log.py",
    "testbed/record/mode.py",
    "testbed/record/noderecord.py",
    "testbed/record/resent.py",
    "testbed/record/scenario.py",
    "testbed/record/schedules.py",
    "testbed/record/schema.py",
    "testbed/runtime",
    "testbed/snn/artefact.py",
    "testbed/snn/chunked.py",
    "testbed/snn/chunks.py",
    "testbed/snn/deployable.py",
    "testbed/snn/export.py",
    "testbed/snn/stepgraph.py",
    "testbed/worker",
)
"""What decides the numbers: all that runs on a node, the order of a repeat, and the export of the networks."""


def code() -> CodeRef:
    """The code that measures: its version, a hash of its sources, and the commit where there is one."""
    root = Path(testbed.__file__).parent.parent
    git = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return CodeRef(
        version=VERSION,
        sha256=digest(root),
        commit=git.stdout.strip() or None,
        python=sys.version.split()[0],
        plugins={path.name: file_digest(path) for path in files()},
    )


def digest(root: Path) -> str:
    """The hash of the measuring sources below a folder, and of the modules of plug-ins that measure."""
    sources = [[path.relative_to(root).as_posix(), file_digest(path)] for path in measuring(root)]
    return document_digest([sources, sorted(_plugins())])


class Unchanged:
    """Holds a running campaign to the code that it began with: a `git pull` beside it reaches the next worker."""

    def __init__(self) -> None:
        self._root = Path(testbed.__file__).parent.parent
        self._begun = digest(self._root)

    def check(self) -> None:
        """Look again.

        Raises:
            CodeChangedError: it is another one now.
        """
        if digest(self._root) != self._begun:
            raise CodeChangedError(
                f"{self._root}: the code that measures was changed while this ran. Undo that and run it again to go "
                "on, or run it again as it is to measure anew."
            )


def measuring(root: Path) -> list[Path]:
    """The sources that measure, below a folder that holds `testbed` and `devices`."""
    found: set[Path] = set()
    for name in MEASURES:
        found |= {root / name} if name.endswith(".py") else set((root / name).rglob("*.py"))
    return sorted(found)


def _plugins() -> Iterator[list[str]]:
    for group in ON_NODES:
        for point in entry_points(group=group):
            module = find_spec(point.module)
            source = None if module is None or module.origin is None else Path(module.origin)
            release = "" if point.dist is None else point.dist.version
            yield [group, point.name, point.value, release, file_digest(source) if source and source.is_file() else ""]
    for path in files_on_nodes():
        yield ["file", path.name, file_digest(path)]
