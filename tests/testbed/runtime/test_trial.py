"""Threads are chosen by what they save; an emulated node chooses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from testbed.runtime.onnx import OnnxGraph
from testbed.runtime.trial import load


@pytest.fixture
def path(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "doubler.onnx"
    path.write_bytes(model.SerializeToString())
    return path


class Board:
    """What a timestep takes on so many threads, in ms, and with spinning; it notes what was tried."""

    def __init__(self, ms: dict[int, float], spinning: float) -> None:
        self.ms, self.spinning = ms, spinning
        self.tried: list[tuple[int, bool]] = []

    def __call__(self, graph: OnnxGraph) -> float:
        self.tried.append((graph.threads, graph.spinning))
        return self.ms[graph.threads] * (self.spinning if graph.spinning else 1)


def chosen(path: Path, board: Board, most: int) -> tuple[int, bool]:
    graph, trial_ms = load(path, most, "cpu", tried=True, time_ms=board)
    assert list(trial_ms) == [f"{threads}{' spinning' * spinning}" for threads, spinning in board.tried]
    return graph.threads, graph.spinning


def test_threads_are_taken_up_to_the_most_where_each_doubling_is_worth_it(path: Path):
    board = Board({1: 10, 2: 6, 4: 4, 6: 3}, spinning=1.0)
    assert chosen(path, board, 6) == (6, False)
    assert (8, False) not in board.tried


def test_nothing_is_tried_beyond_threads_that_are_not_worth_it(path: Path):
    board = Board({1: 10, 2: 9.6}, spinning=1.0)
    assert chosen(path, board, 8) == (1, False)
    assert board.tried == [(1, False), (2, False), (2, True)]


def test_threads_spin_where_that_saves_a_twentieth(path: Path):
    assert chosen(path, Board({1: 10, 2: 6}, spinning=0.9), 2) == (2, True)
    assert chosen(path, Board({1: 10, 2: 6}, spinning=0.96), 2) == (2, False)
    assert chosen(path, Board({1: 10, 2: 12}, spinning=0.5), 2) == (2, True)


def test_without_a_trial_a_graph_has_all_threads_and_none_spins(path: Path):
    board = Board({}, spinning=1.0)
    graph, trial_ms = load(path, 4, "cpu", tried=False, time_ms=board)
    assert (graph.threads, graph.spinning, trial_ms, board.tried) == (4, False, {}, [])


def test_one_thread_needs_no_trial(path: Path):
    board = Board({}, spinning=1.0)
    graph, trial_ms = load(path, 1, "cpu", tried=True, time_ms=board)
    assert (graph.threads, graph.spinning, trial_ms, board.tried) == (1, False, {}, [])


def test_the_time_of_a_graph_is_that_of_a_step_from_rest(path: Path):
    graph, trial_ms = load(path, 2, "cpu", tried=True)
    assert all(ms > 0 for ms in trial_ms.values())
    assert set(trial_ms) == {"1", "2", "2 spinning"}
    assert f"{graph.threads}{' spinning' * graph.spinning}" in trial_ms
