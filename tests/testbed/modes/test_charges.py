"""What an emulated node owes for real graphs and codecs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devices.activity import Activity, ActivityReader, ActivityWriter
from devices.base.errors import DeviceError
from devices.emulation import EmulatedTempo
from devices.tempo import RealTempo
from devices.timemodel import Roofline, Slowdown, Work
from testbed.errors import ModelError
from testbed.link.codec import CodecBook
from testbed.link.messages import CellConfig
from testbed.modes.charges import Charges
from testbed.modes.kit import Kit
from testbed.record.schedules import AutoSchedule, Call
from testbed.runtime.onnx import OnnxGraph
from testbed.runtime.trial import FEWEST
from tests.made import records

BOARD = Roofline(
    gmacs_per_s=10,
    gbytes_per_s=5,
    call_overhead_us=30,
    code_overhead_us=4,
    entropy_ns_per_bit=20,
    reference="made up for a test",
)
CARD = msgspec.structs.replace(
    records.model(), graphs={"step.onnx": Work(macs=10_000_000, bytes=5_000, layers=1)}, code_rates=None
)
CODE = np.zeros(CARD.code_shape, np.uint8)


@pytest.fixture
def tempo(tmp_path: Path) -> Iterator[EmulatedTempo]:
    writer = ActivityWriter(tmp_path / "activity")
    yield EmulatedTempo(writer, Activity.GPU)
    writer.close()


@pytest.fixture
def graph(tmp_path: Path) -> OnnxGraph:
    """A graph that gives back what it gets."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    model = helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", [x], [y]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "step.onnx")
    return OnnxGraph(tmp_path / "step.onnx")


def test_each_call_of_a_graph_owes_what_the_roofline_says(graph: OnnxGraph, tempo: EmulatedTempo) -> None:
    assert Charges(BOARD, tempo, CARD).charge_graph(graph) == 1.03
    with tempo.computing() as span:
        for _ in range(3):
            graph.run(graph.blank())
    assert span.ns == 3 * 1_030_000


def test_each_call_owes_a_factor_of_one_median_and_not_of_what_it_took(graph: OnnxGraph, tempo: EmulatedTempo) -> None:
    call_ms = Charges(Slowdown(slowdown=7, reference="made up"), tempo, CARD).charge_graph(graph)
    took_ns = set()
    for _ in range(5):
        with tempo.computing() as span:
            graph.run(graph.blank())
        took_ns.add(span.ns)
    assert took_ns == {round(1e6 * call_ms)}


def test_a_graph_that_the_artefact_says_nothing_of_is_refused(graph: OnnxGraph, tempo: EmulatedTempo) -> None:
    with pytest.raises(ModelError, match=r"step\.onnx: an emulated node cannot tell how long it takes"):
        Charges(BOARD, tempo, msgspec.structs.replace(CARD, graphs={})).charge_graph(graph)


def test_a_graph_that_is_called_outside_of_a_span_is_an_error(graph: OnnxGraph, tempo: EmulatedTempo) -> None:
    Charges(BOARD, tempo, CARD).charge_graph(graph)
    with pytest.raises(DeviceError, match="outside of a span"):
        graph.run(graph.blank())


@pytest.mark.parametrize(("codec", "bits"), [("packed", 0), ("entropy", CODE.size), ("auto", CODE.size)])
def test_a_code_owes_its_passage_on_the_cpu_and_its_bits_where_they_are_coded_one_by_one(
    codec: str, bits: int, tempo: EmulatedTempo, tmp_path: Path
) -> None:
    rates = [[0.1] * CODE.shape[0]] * CARD.timesteps
    book = CodecBook(CODE.shape, rates)
    Charges(BOARD, tempo, CARD).charge_codes(book, codec)
    with tempo.computing() as span:
        _, payload = book.encoder(codec)(CODE, 0)
    assert span.ns == BOARD.code_ns(CODE.size, len(payload), bits)
    tempo.end()
    with closing(ActivityReader(tmp_path / "activity")) as reader:
        assert reader.read().totals_ns[Activity.CPU] == span.ns


def test_what_is_read_owes_as_much_as_its_codec_asks(tempo: EmulatedTempo) -> None:
    book = CodecBook(CODE.shape, None)
    wire_id, payload = book.encoder("packed")(CODE, 0)
    Charges(BOARD, tempo, CARD).charge_codes(book, "packed")
    with tempo.computing() as span:
        assert np.array_equal(book.decode(wire_id, payload, 0), CODE)
    assert span.ns == BOARD.code_ns(CODE.size, len(payload), 0)


def test_a_code_owes_a_factor_of_what_a_typical_one_took(tempo: EmulatedTempo) -> None:
    book = CodecBook(CODE.shape, None)
    Charges(Slowdown(slowdown=3, reference="made up"), tempo, CARD).charge_codes(book, "packed")
    encode, took_ns = book.encoder("packed"), set()
    for _ in range(5):
        with tempo.computing() as span:
            encode(CODE, 0)
        took_ns.add(span.ns)
    assert len(took_ns) == 1


@pytest.fixture
def calls(graph: OnnxGraph, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What graphs are called with from now on."""
    called: list[object] = []
    step = OnnxGraph.step

    def counted(called_one: OnnxGraph, x: Any, state: Any) -> Any:
        called.append(x)
        return step(called_one, x, state)

    monkeypatch.setattr(OnnxGraph, "step", counted)
    return called


TRIED = CellConfig(
    mode="co_inference", timeout_ms=1000, codec="packed", schedule=AutoSchedule(exits=[0.0, 1.0], sizes=[1])
)


def test_an_emulated_node_runs_once_what_its_model_says_the_time_of(
    graph: OnnxGraph, tempo: EmulatedTempo, calls: list[object]
) -> None:
    emulates = msgspec.structs.replace(records.EMULATION, time=BOARD)
    kit = Kit(graph.path.parent, CARD, TRIED, records.profile(kind="emulated", emulates=emulates), tempo)
    kit.step_graphs(graph.path.name)
    assert kit.stages is not None
    assert kit.stages.calls == [Call(1, 1.03)]
    assert len(calls) == 1


def test_a_node_with_a_clock_takes_the_median_of_several_calls(graph: OnnxGraph, calls: list[object]) -> None:
    kit = Kit(graph.path.parent, CARD, TRIED, records.profile(), RealTempo())
    kit.step_graphs(graph.path.name)
    assert kit.stages is not None
    assert kit.stages.calls[0].ms > 0
    assert len(calls) > FEWEST
