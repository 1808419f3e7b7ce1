"""What the graphs of an emulated node put out, kept on its disk, so that no repeat computes it again.

Repeats and cells share samples and graphs. What a graph puts out depends on its bytes, on what computes it, and on what
came in since its states were zeros: that is the key. How long a board takes is no part of it, as each call still owes
its time.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.errors import DiskError
from testbed.record.log import write_atomically
from testbed.runtime.digest import document_digest
from testbed.runtime.graph import Graph
from testbed.runtime.onnx import OnnxGraph
from testbed.runtime.recalling import Memory, Recalling

LIMIT_BYTES = 256 << 20
"""Of all files of a folder. Those of graphs that were not used for the longest go first."""

SCHEMA = 1
"""Of the files, and of the keys in them."""

T = TypeVar("T")


class _Output(msgspec.Struct, frozen=True, array_like=True):
    key: bytes
    dtype: str
    shape: list[int]
    data: memoryview


_DECODER = msgspec.msgpack.Decoder(list[_Output])


class KeptOutputs:
    """A folder of outputs; None: nothing is kept.

    A file `GRAPH-SHA256` has what one repeat computed of a graph. It is named by its content: two workers that write at
    once do not disturb each other, and damage is seen when it is read.

    Attributes:
        samples: for how many of them all outputs were here, so that nothing was computed.
        said: what is wrong with the folder, such as a damaged file or a full disk. Then it is computed again.
    """

    def __init__(self, folder: Path | None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.samples = 0
        self.said: list[str] = []
        self._folder, self._limit_bytes = folder, limit_bytes
        self._memories: dict[str, Memory] = {}

    def graph(self, graph: Graph, sha256: str | None) -> Graph:
        """The graph with a memory, given the hash of its file.

        As it is where it might put out other bits each time (a GPU chooses its kernels anew), or where nobody knows its
        hash.
        """
        exact = isinstance(graph, OnnxGraph) and graph.device == "cpu"
        if self._folder is None or sha256 is None or not exact:
            return graph
        name = document_digest([SCHEMA, sha256, graph.told, graph.threads, graph.spinning, _processor()])[:32]
        return Recalling(graph, self._memories.setdefault(name, Memory(name)))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the graphs remember meanwhile: what is here is read before, and what is new is written after."""
        for memory in self._memories.values():
            memory.known = self._read(memory.name)
        try:
            yield
            for memory in self._memories.values():
                self._write(memory)
        finally:
            for memory in self._memories.values():
                memory.known, memory.new = None, {}

    def watched(self, samples: Iterable[T]) -> Iterator[T]:
        """Samples one after the other; counts those for which all is known until the next one is asked for."""
        for sample in samples:
            taken, computed = self._counts()
            yield sample
            taken_by, computed_by = self._counts()
            self.samples += taken_by > taken and computed_by == computed

    def _counts(self) -> tuple[int, int]:
        memories = self._memories.values()
        return sum(each.taken for each in memories), sum(each.computed for each in memories)

    def _read(self, name: str) -> dict[bytes, NDArray[Any]]:
        known: dict[bytes, NDArray[Any]] = {}
        for path in self._files(f"{name}-*"):
            known |= self._read_file(name, path)
        return known

    def _read_file(self, name: str, path: Path) -> dict[bytes, NDArray[Any]]:
        try:
            data = path.read_bytes()
            if path.name != _file_name(name, data):
                raise ValueError("its content is not what its name says")
            outputs = _DECODER.decode(data)
            found = {one.key: np.frombuffer(one.data, np.dtype(one.dtype)).reshape(one.shape) for one in outputs}
            os.utime(path)
        except FileNotFoundError:  # it was removed meanwhile, to make room or by `testbed clean`
            return {}
        except (OSError, ValueError, TypeError) as error:
            self.said.append(f"{path}: removed, and computed again: {error}")
            with suppress(OSError):
                path.unlink()
            return {}
        return found

    def _write(self, memory: Memory) -> None:
        if self._folder is None or not memory.new:
            return
        new = [_Output(key, y.dtype.str, list(y.shape), memoryview(y.tobytes())) for key, y in memory.new.items()]
        data = msgspec.msgpack.encode(new)
        try:
            write_atomically(self._folder / _file_name(memory.name, data), data)
            self._make_room()
        except (DiskError, OSError) as error:
            self.said.append(f"what was computed ahead is not kept for other repeats: {error.__cause__ or error}")

    def _make_room(self) -> None:
        seen = []
        for path in self._files("*-*"):
            with suppress(FileNotFoundError):
                seen.append((path.stat(), path))
        left = sum(stat.st_size for stat, _ in seen)
        for stat, path in sorted(seen, key=lambda each: each[0].st_mtime_ns):
            if left <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            left -= stat.st_size

    def _files(self, pattern: str) -> list[Path]:
        return [] if self._folder is None else sorted(self._folder.glob(pattern))


def _file_name(graph: str, data: bytes) -> str:
    return f"{graph}-{hashlib.sha256(data).hexdigest()}"


def _processor() -> list[str]:
    """What the processor is and can do, by which ONNX Runtime computes. Several machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return [platform.machine(), *sorted({line for line in lines if line.partition("\t")[0] in names})]
