"""Requests that an edge answered by itself in a cell that asks its cloud."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from testbed.record.reader import Cell


def fell_back(cell: Cell, requests: pd.DataFrame) -> NDArray[np.bool_]:
    """Which of a cell's requests those are. Their logits are the whole network's, at all T timesteps."""
    if cell.manifest.mode_facts.answers == "edge":
        return np.zeros(len(requests), dtype=bool)
    return (requests["answered_by"] == "edge").to_numpy(dtype=bool, na_value=False)
