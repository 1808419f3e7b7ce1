"""Every test of the data sets prepares into its own folder; made-up folders and recordings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.data.recordings import atis_bytes
from testbed.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published split of two classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 4)):
        for label in ("cat", "dog"):
            target = tmp_path / "pets" / part / label
            target.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(target / f"{number}.png")
    # A grey image among the coloured ones, as Caltech-101 has them.
    Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(tmp_path / "pets/train/cat/grey.png")
    return tmp_path / "pets"


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    """Class folders without a split, and what macOS leaves among them."""
    rng = np.random.default_rng(1)
    for label in ("bee", "Ant", "cow"):
        target = tmp_path / "animals" / label
        target.mkdir(parents=True)
        for number in range(10):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(target / f"{number}.png")
        (target / "._0.png").write_bytes(b"leaving")
        (target / ".DS_Store").write_bytes(b"leaving")
    junk = tmp_path / "animals" / "__MACOSX" / "bee"
    junk.mkdir(parents=True)
    (junk / "0.png").write_bytes(b"leaving")
    return tmp_path / "animals"


def one_line(call: Callable[[], object]) -> str:
    """What a call is refused with, which has to be one line of a DataError; "" where it goes through."""
    try:
        call()
    except DataError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
    return said


def random_events(seed: int, count: int, width: int, height: int) -> tuple[np.ndarray, ...]:
    """Times (sorted), columns, rows and polarities."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 300_000, count))
    return t, rng.integers(0, width, count), rng.integers(0, height, count), rng.integers(0, 2, count)


def atis_file(seed: int, count: int = 60, width: int = 240, height: int = 180) -> bytes:
    """A made-up recording in the format of N-MNIST and N-Caltech101."""
    return atis_bytes(*random_events(seed, count, width, height)).tobytes()


def aedat_file(seed: int, count: int = 60) -> bytes:
    """A made-up DVS128 recording in AER-DAT 2.0: 32-bit address (y, x, OFF bit), 32-bit microseconds, big-endian."""
    t, x, y, p = random_events(seed, count, 128, 128)
    # What SpikingJelly turns into (x, y, p): the sensor counts from the other corner and sets the bit for OFF.
    address = ((127 - x) << 8) | ((127 - y) << 1) | (1 - p)
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n#End Of ASCII Header\r\n"
    return header + np.stack([address, t], axis=1).astype(">u4").tobytes()
