"""From `results/` to metrics, figures, tables and a report; it reads `testbed.record` and nothing else.

`analysis.load("results/NAME")` gives an experiment's results as pandas frames. Else import the module that is needed
(`analysis.summary`, `analysis.tables`, `analysis.figures`, `analysis.replay`, `analysis.report`). Nothing is imported
here, so that `import analysis` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.frames import Frames


def load(folder: str | Path) -> Frames:
    """An experiment's results as pandas frames, with labels and every factor of a cell as columns.

    Args:
        folder: the results of one experiment, such as `results/quickstart`.

    Raises:
        RecordError: there is no such folder, or it holds no cell that can be read.
    """
    from analysis.frames import read

    return read(folder)
