"""What a graph put out once is taken from the disk, bit for bit, and each call is told of as if it were computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from testbed.errors import ModelError
from testbed.runtime.backbone import Stepped
from testbed.runtime.digest import file_digest
from testbed.runtime.keptoutputs import LIMIT_BYTES, KeptOutputs
from testbed.runtime.onnx import OnnxGraph

ONES, SIZE = (1, 1, 1), 3
INPUTS = np.random.default_rng(0).normal(size=(4, 1, 1, 1, SIZE)).astype(np.float32)
FRAMES = np.random.default_rng(1).normal(size=(2, 1, len(ONES), 1, SIZE)).astype(np.float32)


@pytest.fixture(autouse=True)
def models(tmp_path: Path) -> Path:
    """A stem that doubles, and steps that add up what they get: of a timestep, of two, and another one that doubles."""
    folder = tmp_path / "model"
    folder.mkdir()
    _save(folder / "stem.onnx", [helper.make_node("Add", ["x", "x"], ["y"])])
    _save(folder / "step.onnx", _adding_up(), state="sum")
    _save(folder / "step_x2.onnx", [*_adding_up("half"), helper.make_node("Add", ["half", "half"], ["y"])], state="sum")
    return folder


def _adding_up(y: str = "y") -> list[onnx.NodeProto]:
    last = helper.make_node("ReduceSum", ["x", "axes"], ["all"], keepdims=0)
    axes = helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("v", TensorProto.INT64, [3], [0, 1, 2]))
    return [
        axes,
        last,
        helper.make_node("Add", ["all", "sum"], ["sum_next"]),
        helper.make_node("Add", ["sum_next", "sum_next"], [y]),
    ]


def _save(path: Path, nodes: list[onnx.NodeProto], state: str | None = None) -> None:
    def values(**shapes: list[int | str]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    x: list[int | str] = ["n", "c", "h", SIZE]
    ins, outs = values(x=x), values(y=x if state is None else [SIZE])
    if state is not None:
        ins, outs = ins + values(**{state: [SIZE]}), outs + values(**{f"{state}_next": [SIZE]})
    graph = helper.make_graph(nodes, "toy", ins, outs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


class Worker:
    """One repeat's network, with what it computed and what it was told to owe."""

    def __init__(self, models: Path, folder: Path | None, limit_bytes: int = LIMIT_BYTES, threads: int = 1) -> None:
        self.outputs = KeptOutputs(folder, limit_bytes)
        self.computed: list[str] = []
        self.called: list[str] = []
        stem, one, two = (self._graph(models / name, threads) for name in ("stem.onnx", "step.onnx", "step_x2.onnx"))
        self.steps = Stepped(stem, {1: one, 2: two})

    def _graph(self, path: Path, threads: int) -> OnnxGraph:
        inner = OnnxGraph(path, threads)
        call = inner._call  # noqa: SLF001

        def counted(*arguments: object) -> object:
            self.computed.append(path.stem)
            return call(*arguments)

        inner._call = counted  # noqa: SLF001
        graph = self.outputs.graph(inner, file_digest(path))
        graph.on_call = lambda: self.called.append(path.stem)
        return graph

    def run(self, inputs: NDArray[np.float32] = INPUTS, chunks: Sequence[int] = ONES) -> list[bytes]:
        """What comes out of each sample in these chunks."""
        return [y.tobytes() for x in self.outputs.watched(inputs) for y in self.steps.outputs(x, chunks)]

    def ahead(self, inputs: NDArray[np.float32] = INPUTS, chunks: Sequence[int] = ONES) -> list[bytes]:
        """The same, while what is kept is used."""
        with self.outputs.used():
            return self.run(inputs, chunks)


@pytest.mark.parametrize(
    ("inputs", "chunks"),
    [(INPUTS, ONES), (INPUTS, (1, 2)), (FRAMES, ONES), (FRAMES, (2, 1))],
    ids=["images", "images in chunks", "events", "events in chunks"],
)
def test_a_second_repeat_has_the_same_bits_and_calls_and_computes_nothing(
    models: Path, tmp_path: Path, inputs: NDArray[np.float32], chunks: tuple[int, ...]
) -> None:
    live = Worker(models, None)
    expected = live.run(inputs, chunks)
    cold, warm = (Worker(models, tmp_path / "kept") for _ in range(2))
    assert cold.ahead(inputs, chunks) == expected
    assert sorted(cold.computed) == sorted(live.computed)
    assert warm.ahead(inputs, chunks) == expected
    assert warm.computed == []
    assert warm.called == cold.called == live.called
    assert (live.outputs.samples, cold.outputs.samples, warm.outputs.samples) == (0, 0, len(inputs))
    assert warm.outputs.said == []


def test_what_is_not_known_goes_on_from_the_states_of_what_is(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead(chunks=(1, 1))
    longer = Worker(models, tmp_path)
    assert longer.ahead() == Worker(models, None).run()
    assert longer.called == Worker(models, tmp_path).called + ["stem", "step", "step", "step"] * len(INPUTS)
    assert longer.outputs.samples == 0


def test_samples_and_chunks_that_are_new_are_computed_beside_those_that_are_kept(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead(INPUTS[:2])
    more = Worker(models, tmp_path)
    assert more.ahead() == Worker(models, None).run()
    assert more.outputs.samples == 2
    all_of_it = Worker(models, tmp_path)
    all_of_it.ahead()
    assert all_of_it.computed == []
    assert Worker(models, tmp_path).ahead(chunks=(2, 1)) == Worker(models, None).run(chunks=(2, 1))


def test_another_file_or_another_number_of_threads_shares_nothing(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead()
    threaded = Worker(models, tmp_path, threads=2)
    threaded.ahead()
    _save(models / "stem.onnx", [helper.make_node("Mul", ["x", "x"], ["y"])])
    other = Worker(models, tmp_path)
    assert other.ahead() == Worker(models, None).run()
    assert "step" in threaded.computed
    assert other.computed.count("step") == len(INPUTS) * len(ONES)


def test_a_graph_computes_as_ever_before_and_after(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead()
    worker = Worker(models, tmp_path)
    expected = Worker(models, None).run()
    assert worker.run() == worker.ahead() == worker.run() == expected
    assert len(worker.computed) == 2 * len(INPUTS) * (1 + len(ONES))


def test_a_damaged_file_is_said_removed_and_computed_again(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead()
    (file,) = tmp_path.glob("*-*")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    again = Worker(models, tmp_path)
    assert again.ahead(INPUTS[:2]) == Worker(models, None).run(INPUTS[:2])
    assert again.outputs.said == [f"{file}: removed, and computed again: its content is not what its name says"]
    assert again.outputs.samples == 0
    assert not file.exists()
    warm = Worker(models, tmp_path)
    warm.ahead(INPUTS[:2])
    assert (warm.computed, warm.outputs.said) == ([], [])


def test_graphs_that_were_not_used_for_the_longest_go_where_there_is_no_room(models: Path, tmp_path: Path) -> None:
    for threads in (1, 2, 3):
        Worker(models, tmp_path, threads=threads).ahead()
    files = sorted(tmp_path.glob("*-*"), key=lambda file: file.stat().st_mtime_ns)
    size = sum(file.stat().st_size for file in files)
    Worker(models, tmp_path).ahead()  # the first one is used again
    Worker(models, tmp_path, limit_bytes=size, threads=4).ahead()
    left = set(tmp_path.glob("*-*"))
    assert len(left) == 3
    assert left > {files[0], files[2]}


def test_workers_that_write_at_once_keep_what_each_computed(models: Path, tmp_path: Path) -> None:
    one, other, same = (Worker(models, tmp_path) for _ in range(3))
    with one.outputs.used(), other.outputs.used(), same.outputs.used():
        one.run(INPUTS[:2])
        other.run(INPUTS[2:])
        same.run(INPUTS[2:])
    assert len(list(tmp_path.glob("*-*"))) == 2
    third = Worker(models, tmp_path)
    third.ahead()
    assert third.computed == []


def test_a_folder_that_takes_nothing_is_said_and_costs_nothing_else(models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    worker = Worker(models, tmp_path / "file" / "kept")
    assert worker.ahead() == Worker(models, None).run()
    assert worker.outputs.said == ["what was computed ahead is not kept for other repeats: [Errno 20] Not a directory: "
                                   f"'{tmp_path}/file/kept'"]  # fmt: skip


def test_nothing_is_kept_of_a_repeat_that_failed(models: Path, tmp_path: Path) -> None:
    worker = Worker(models, tmp_path / "kept")
    with pytest.raises(ModelError, match="invalid dimensions"), worker.outputs.used():
        worker.run([*INPUTS, INPUTS[0, :, :, :, :2]])
    assert not (tmp_path / "kept").exists()


def test_nobody_can_change_what_is_kept(models: Path, tmp_path: Path) -> None:
    Worker(models, tmp_path).ahead()
    warm = Worker(models, tmp_path)
    with warm.outputs.used(), pytest.raises(ValueError, match="read-only"):
        next(warm.steps.outputs(INPUTS[0], ONES))[...] = 0


def test_a_graph_of_another_runtime_or_of_no_known_hash_is_left_as_it_is(models: Path, tmp_path: Path) -> None:
    graph, outputs = OnnxGraph(models / "stem.onnx"), KeptOutputs(tmp_path)
    assert outputs.graph(graph, None) is graph
    graph.device = "cuda"
    assert outputs.graph(graph, "ab") is graph
    torch = type("TorchGraph", (), {"device": "cpu"})()
    assert outputs.graph(torch, "ab") is torch
