"""Step graphs made elsewhere: whether they fit each other, and what they answer."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.data.datasets import Dataset, Samples
from testbed.data.size import Size, sides
from testbed.errors import DataError, ModelError
from testbed.runtime.artefact import ACCURACY_SAMPLES, ModelCard
from testbed.runtime.backbone import Stepped
from testbed.runtime.graph import State
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.chunks import read_graph
from testbed.snn.join import for_one, joined, pixels_as_they_are, unrolled, with_uint8_code
from testbed.snn.modelcard import Cut, write_model_card
from testbed.snn.own_spec import FileHere, Shape
from testbed.snn.pair_spec import CUT, PairSpec

SEED = 0
RATE_SAMPLES = 500
RATE_DIGITS = 6


@dataclass(frozen=True)
class Found:
    """What a pair of graphs is: the shape of its code, and how many logits it gives."""

    code: Shape
    outputs: int


def inspected(spec: PairSpec, channels: int, image_size: Size) -> Found:
    """Run the graphs for a timestep on random pixels.

    Raises:
        ModelError: one of them is no step graph, or they do not fit each other; the text names it.
    """
    return _inspected(_Files.of(spec), (channels, *sides(image_size)))


@dataclass(frozen=True)
class _Files:
    """The graphs of a pair, by their contents."""

    edge: FileHere
    cloud: FileHere
    stem: FileHere | None
    full: FileHere | None
    full_stem: FileHere | None

    @classmethod
    def of(cls, spec: PairSpec) -> _Files:
        return cls(spec.edge, spec.cloud, spec.stem, spec.full, spec.full_stem or spec.stem)

    def write(self, folder: Path, frame: Shape, timesteps: int, *, still: bool) -> None:
        """Every graph that an artefact has."""
        edge, cloud = with_uint8_code(for_one(read_graph(self.edge.path))), for_one(read_graph(self.cloud.path))
        stem, full_stem = (
            pixels_as_they_are((1, *frame), edge) if file is None else for_one(read_graph(file.path))
            for file in (self.stem, self.full_stem)
        )
        try:
            step = joined(edge, cloud) if self.full is None else for_one(read_graph(self.full.path))
            whole = unrolled(full_stem, step, timesteps, still=still)
        except ModelError as error:
            raise ModelError(f"{self.edge.path} and {self.cloud.path}: {error}") from error
        graphs = {"stem": stem, "edge": edge, "cloud": cloud, "full_stem": full_stem, "full_step": step, "full": whole}
        for name, graph in graphs.items():
            (folder / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))


@functools.cache
def _inspected(files: _Files, frame: Shape) -> Found:
    x: NDArray[Any] = np.random.default_rng(SEED).integers(0, 256, (1, *frame), dtype=np.uint8)
    code = _behind(files.stem, files.edge, x)
    if code.ndim != 4 or len(code) != 1:
        raise ModelError(f"{files.edge.path}: its code is {list(code.shape)}, not [1, C, H, W]")
    _check_binary(files.edge.path, code)
    logits = _stepped(files.cloud.path, code, f"the code of {files.edge.path.name}")
    _check_logits(files.cloud.path, logits)
    if files.full is not None:
        answer = _behind(files.full_stem, files.full, x)
        if answer.shape != logits.shape:
            raise ModelError(
                f"{files.full.path}: gives {list(answer.shape)}, but {files.cloud.path} {list(logits.shape)}"
            )
    return Found((code.shape[1], code.shape[2], code.shape[3]), logits.shape[1])


def _behind(stem: FileHere | None, step: FileHere, x: NDArray[Any]) -> NDArray[Any]:
    """What a graph gives for an image, behind its stem if it has one."""
    image = "an image of the data set"
    if stem is not None:
        return _stepped(step.path, _stepped(stem.path, x, image), f"what {stem.path} gives")
    if (wanted := OnnxGraph(step.path).blank().dtype) != x.dtype:
        raise ModelError(
            f"{step.path}: takes {wanted}, but pixels are {x.dtype}; put what makes one of the other into the graph, "
            "or give it as a graph of its own: stem"
        )
    return _stepped(step.path, x, image)


def _check_logits(path: Path, logits: NDArray[Any]) -> None:
    if logits.ndim != 2 or len(logits) != 1:
        raise ModelError(f"{path}: its output is {list(logits.shape)}, not logits [1, classes]")


def _check_binary(path: Path, code: NDArray[Any]) -> None:
    other = code[(code != 0) & (code != 1)]
    if other.size:
        raise ModelError(f"{path}: its code is not binary: it has {other[0]:g} among its values")


def _stepped(path: Path, x: NDArray[Any], what: str) -> NDArray[Any]:
    """The output of one timestep, when all has been checked that the states must keep to."""
    graph = OnnxGraph(path)
    wanted = graph.input_shape
    if len(wanted) != x.ndim or any(size not in (None, found) for size, found in zip(wanted, x.shape, strict=True)):
        raise ModelError(f"{path}: takes {wanted}, but {what} is {list(x.shape)}")
    before = graph.initial_state()
    y, after = graph.step(x, before)
    for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        if _kind(old) != _kind(new):
            raise ModelError(f"{path}: state {number} goes in as {_kind(old)} and comes out as {_kind(new)}")
    return y


def _kind(state: Any) -> str:
    return f"{state.data_type().removeprefix('tensor')}{list(state.shape())}"


class Graphs:
    """The graphs of an artefact on this machine, answering samples one by one."""

    def __init__(self, folder: Path, timesteps: int, *, cut: bool) -> None:
        names = ("stem", "edge") if cut else ("full_stem", "full_step")
        stem, self._first = (OnnxGraph(folder / f"{name}.onnx") for name in names)
        self._steps, self._timesteps = Stepped(stem, {1: self._first}), timesteps
        self._cloud = OnnxGraph(folder / "cloud.onnx") if cut else None

    def codes(self, x: NDArray[np.uint8]) -> Iterator[NDArray[Any]]:
        """What the first graph gives at each timestep, for one input with its batch of one."""
        return self._steps.outputs(x, [1] * self._timesteps)

    def logits(self, samples: Samples) -> NDArray[np.float32]:
        """Logits [T, N, K].

        Raises:
            ModelError: a code is not binary.
        """
        answers = []
        for number in range(len(samples)):
            outputs = []
            state: State = [] if self._cloud is None else self._cloud.initial_state()
            for y in self.codes(samples.images[number : number + 1]):
                if self._cloud is None:
                    outputs.append(y[0])
                    continue
                _check_binary(self._first.path, y)
                answer, state = self._cloud.step(y, state)
                outputs.append(answer[0])
            answers.append(np.stack(outputs))
        return np.stack(answers, axis=1).astype(np.float32, copy=False)


def write_pair(
    spec: PairSpec, name: str, timesteps: int, dataset: Dataset, folder: Path, trained: dict[str, Any]
) -> ModelCard:
    """The artefact of a pair of graphs; the folder appears whole or not at all.

    Raises:
        DataError: the data set has other classes than there are logits.
        ModelError: the graphs do not fit each other, or a code is not binary.
    """
    inputs = dataset.test.images
    frame: Shape = (inputs.shape[-3], inputs.shape[-2], inputs.shape[-1])
    found = _inspected(_Files.of(spec), frame)
    if found.outputs != len(dataset.classes):
        raise DataError(
            f"{spec.cloud.path}: {found.outputs} logits, but the data set has {len(dataset.classes)} classes"
        )
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _Files.of(spec).write(part, frame, timesteps, still=dataset.static)
        feature = spec.feature or found.code
        split, some = Graphs(part, timesteps, cut=True), dataset.test.some(ACCURACY_SAMPLES)
        accuracy = {
            "full": _accuracy(Graphs(part, timesteps, cut=False), some),
            "split": _accuracy(split, some),
        }
        cut = Cut(CUT, feature, found.code, feature != found.code, _rates(split, dataset.train))
        card = write_model_card(part, name, spec, dataset, timesteps, accuracy, trained, cut)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def _accuracy(graphs: Graphs, samples: Samples) -> list[float]:
    """Of the mean logits after each timestep."""
    right = graphs.logits(samples).cumsum(0).argmax(-1) == samples.labels
    return [float(share) for share in right.mean(1)]


def _rates(graphs: Graphs, samples: Samples) -> list[list[float]]:
    """Share of ones in each channel of the code at each timestep [T][C'], on training samples drawn by a fixed seed."""
    order = np.random.default_rng(SEED).permutation(len(samples))[:RATE_SAMPLES]
    sums: Any = 0
    for number in order:
        codes = list(graphs.codes(samples.images[number : number + 1]))
        sums = sums + np.stack([code[0].mean((1, 2), dtype=np.float64) for code in codes])
    return [[round(float(rate), RATE_DIGITS) for rate in step] for step in sums / len(order)]
