"""AER-DAT 2.0 of the DAVIS sensors, as jAER and v2e write it.

iniVation's description of AER-DAT 2.0 (https://docs.inivation.com/software/software-advanced-usage/file-formats/): an
address has its kind in bit 31 (0 for an event of a pixel), the row in bits 30 to 22, the column in bits 21 to 12, the
polarity in bit 11 (1 for ON), and in bit 10 whether it is an event of the IN pin. Rows count from the bottom, and stay
so here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from testbed.data.disk import read
from testbed.data.recordings import AEDAT_TIME_BITS, Recording, aedat_events, in_order, read_aedat
from testbed.errors import DataError

NAME = "davis"
"""In the header's line `# AEChip:`, in small letters."""

NO_PIXEL = 1 << 31 | 1 << 10


def read_aedat2(path: Path) -> Recording:
    """Read a recording of a DAVIS, where the header names one, and else of a DVS128.

    Raises:
        DataError: it is of another version or sensor, cut short, or holds no events.
    """
    address, t, offset, chip = aedat_events(read(path), path)
    if NAME not in chip.lower():
        return read_aedat(path)
    pixel = address & NO_PIXEL == 0
    if not pixel.any():
        raise DataError(f"{path}: holds no events of pixels; was it written whole?")
    address, t, offset = address[pixel], t[pixel], offset[pixel]
    x, y, p = address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1
    return in_order((t, x, y, p), AEDAT_TIME_BITS, offset, no_pixel=int(np.count_nonzero(~pixel)))
