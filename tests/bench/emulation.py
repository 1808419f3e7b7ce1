"""Whether two runs of an emulated campaign agree: the quickstart twice, the second time with another core kept busy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.request import ROOT, Silent

if TYPE_CHECKING:
    from testbed.record.reader import Cell

LATENCY_TARGET, ENERGY_TARGET = 0.01, 0.02
EDGE, CLOUD = (ROOT / "devices" / f"emulated-{name}.yaml" for name in ("orin-nano", "t4"))


@contextmanager
def busy() -> Iterator[None]:
    """A process that does nothing, as fast as it can."""
    hog = subprocess.Popen([sys.executable, "-c", "while 1: pass"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def campaign(folder: Path, name: str, overrides: Sequence[str]) -> list[Cell]:
    """The quickstart's cells, with an emulated server as its cloud; they are kept under that name."""
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell

    file = ROOT / "experiments" / "quickstart.yaml"
    planned = make_plan(file, folder, overrides=overrides, edge=EDGE, cloud=CLOUD)
    asyncio.run(Campaign(planned, Silent(), Invocation(argv=[], file=file.name)).run())
    kept = planned.folder.path.rename(folder / name)
    return [read_cell(kept / cell.folder.path.name) for cell in planned.cells]


def run(*overrides: str) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        quiet = campaign(Path(name), "quiet", overrides)
        with busy():
            loaded = campaign(Path(name), "busy", overrides)
        print(f"{'':42} {'p50 ms':>8} {'busy':>8} {'x':>7} {'mJ':>8} {'busy':>8} {'x':>7} {'overruns':>13}")
        print(f"{'to reach':42} {'':>17} {f'± {LATENCY_TARGET:.0%}':>7} {'':>17} {f'± {ENERGY_TARGET:.0%}':>7}")
        for pair in zip(quiet, loaded, strict=True):
            print(_line(*pair))


def _line(*cells: Cell) -> str:
    from analysis.energy import energy

    p50 = [float(cell.requests["latency_ms"].median()) for cell in cells]
    found = [energy(cell, cell.manifest.role("edge")[0]) for cell in cells]
    mean_mj = [float("nan") if one is None else one.gross.mean for one in found]
    apart = [loaded / quiet for quiet, loaded in (p50, mean_mj)]
    met = abs(apart[0] - 1) <= LATENCY_TARGET and abs(apart[1] - 1) <= ENERGY_TARGET
    over = " ".join(f"{overruns(cell):>6.1%}" for cell in cells)
    return (
        f"{cells[0].manifest.label:42} {p50[0]:>8.3f} {p50[1]:>8.3f} {apart[0]:>7.4f} {mean_mj[0]:>8.2f} "
        f"{mean_mj[1]:>8.2f} {apart[1]:>7.4f} {over}  {'met' if met else 'MISSED'}"
    )


def overruns(cell: Cell) -> float:
    """Share of the stages of a cell's emulated nodes that their host had ready late."""
    repeats = [said for node in cell.manifest.nodes.values() for said in node.repeats.values()]
    kept = [said.finished.timekeeping for said in repeats if said.finished.timekeeping is not None]
    return sum(each.overruns for each in kept) / max(1, sum(each.stages for each in kept))
