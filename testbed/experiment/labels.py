"""Names of cells for people."""

from __future__ import annotations

from testbed.experiment.spec import CellSpec
from testbed.modes import facts_of


def label(cell: CellSpec, compression: float) -> str:
    """A cell's name for people, such as `co-inference 2048x packed, exit 0.9`.

    A calibrated exit is named after what was asked, `exit at drop 0.5`; the manifest has the thresholds found.
    """
    facts = facts_of(cell.mode)
    text = facts.title
    if facts.needs_codec:
        text += f" {compression:g}x" if compression > 32 or cell.codec != "float32" else ""
        text += f" {cell.codec}"
    if cell.exit is not None:
        aim = cell.exit.calibrate
        rule = aim or cell.exit
        policy = "" if rule.policy == "max_softmax" else f"{rule.policy} "
        if aim is not None:
            when = f"at drop {aim.drop:g}" + (" per timestep" if aim.per_timestep else "")
        else:
            when = "/".join(f"{value:g}" for value in cell.exit.thresholds or (cell.exit.threshold,))
        text += f", exit {policy}{when}" + (" on sums" if rule.accumulate == "sum" else "")
    return text
