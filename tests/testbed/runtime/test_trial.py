"""Threads are chosen by what they save; an emulated node chooses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper

from devices.profile import Runtime
from testbed.errors import ModelError
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
    graph, trial_ms = load(path, Runtime(provider="cpu", threads=most), tried=True, time_ms=board)
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
    graph, trial_ms = load(path, Runtime(provider="cpu", threads=4), tried=False, time_ms=board)
    assert (graph.threads, graph.spinning, trial_ms, board.tried) == (4, False, {}, [])


def test_one_thread_needs_no_trial(path: Path):
    board = Board({}, spinning=1.0)
    graph, trial_ms = load(path, Runtime(provider="cpu", threads=1), tried=True, time_ms=board)
    assert (graph.threads, graph.spinning, trial_ms, board.tried) == (1, False, {}, [])


def test_the_time_of_a_graph_is_that_of_a_step_from_rest(path: Path):
    graph, trial_ms = load(path, Runtime(provider="cpu", threads=2), tried=True)
    assert all(ms > 0 for ms in trial_ms.values())
    assert set(trial_ms) == {"1", "2", "2 spinning"}
    assert f"{graph.threads}{' spinning' * graph.spinning}" in trial_ms


def test_pytorch_runs_a_graph_where_the_profile_asks_for_it(path: Path):
    graph, trial_ms = load(path, Runtime(provider="torch", device="cpu", threads=1), tried=True)
    assert (graph.told, trial_ms) == ({"library": f"torch {torch.__version__}", "device": "CPU"}, {})


def test_a_node_without_pytorch_is_told_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "testbed.runtime.torch.graph", None)
    with pytest.raises(ModelError, match=r"needs PyTorch, which .* cannot import \(.*\); install it \(on a Jet"):
        load(path, Runtime(provider="torch", device="cpu"), tried=True)


def test_pytorch_is_not_imported_by_a_worker_that_does_not_ask_for_it():
    code = (
        "import sys, testbed.worker.__main__, testbed.modes.kit, testbed.runtime.trial; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
