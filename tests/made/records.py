"""Documents and rows of results as a campaign writes them, for tests: each with what it says if nothing else is asked.

Two nodes take part: `board`, a Jetson that plays the edge, and `server`, a host that plays the cloud.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from devices.base.power import Capability, Rail
from devices.power.emulated import EmulatedPower
from devices.power.ina import InaPower
from devices.power.meter import ScpiMeterPower
from devices.power.nvml import NvmlPower
from devices.power.spec import PowerSpec
from devices.profile import Emulation, Profile, Runtime
from devices.timemodel import Slowdown
from testbed.modes import facts_of
from testbed.record.documents import CellDocument, CodeRef, DatasetRef, LinkRef, Manifest, ScenarioDocument, Status
from testbed.record.noderecord import BoardFacts, Finished, HelloFacts, Loaded, NodeRecord, NodeRepeat, PathMeasured
from testbed.record.schema import SCHEMA_VERSION, RequestRow, TimestepRow
from testbed.runtime.artefact import ModelCard, OpCost, OpCounts

EMULATED_POWER = EmulatedPower(
    rail="VDD_IN", rate_hz=100, idle_mw=5000, cpu_busy_mw=6000, radio_mw=0, reference="made up for a test"
)
INA_POWER = InaPower(rate_hz=100)
NVML_POWER = NvmlPower(rate_hz=100)
METER_POWER = ScpiMeterPower(host="meter", rate_hz=100, gain=0.0, offset_mw=0.0, reference="made up for a test")
EMULATION = Emulation(board="Toy", processor="cpu", time=Slowdown(slowdown=2, reference="made up for a test"))


def profile(name: str = "board", kind: str = "jetson", power: Sequence[PowerSpec] = (), **changes: Any) -> Profile:
    """A node's profile; an emulated one is given what it emulates."""
    if kind == "emulated":
        changes = {"emulates": EMULATION, **changes}
    runtime = Runtime(provider="cpu")
    return Profile(name=name, kind=kind, reach="local", runtime=runtime, power=list(power), **changes)


def capability(source: str, *rails: Rail, averaging_ms: float | None = 0.0) -> Capability:
    """What a power source says of itself when it is probed."""
    return Capability(source=source, rails=list(rails), rate_hz_max=None, averaging_ms=averaging_ms, detail={})


def node_repeat(
    power: Iterable[Capability] = (), *, before: BoardFacts | None = None, after: BoardFacts | None = None
) -> NodeRepeat:
    """What a node says in one repeat, of a board that knows nothing of itself unless it is given."""
    facts = HelloFacts(pid=4711, python="3.11.7", versions={"testbed": "0.1.0"}, board=before or BoardFacts())
    return NodeRepeat(hello=facts, loaded=Loaded(power=list(power)), finished=Finished(facts=after or BoardFacts()))


def node(
    played: Profile | None = None, role: str = "edge", *, repeats: int = 1, power: Iterable[Capability] = ()
) -> NodeRecord:
    """A participant that says the same in each repeat."""
    played = played or profile()
    said = node_repeat(power)
    return NodeRecord(
        id=played.name, role=role, profile=played, repeats={str(repeat): said for repeat in range(repeats)}
    )


def op_cost(compute_pj: Sequence[float], memory_pj: Sequence[float]) -> OpCost:
    """Counts of which only the energies matter."""
    none = [0.0] * len(compute_pj)
    return OpCost(
        macs=none,
        acs=none,
        synops=none,
        memory_bytes=none,
        energy_compute_pj=list(compute_pj),
        energy_memory_pj=list(memory_pj),
    )


def op_counts(edge: OpCost, cloud: OpCost, full: OpCost) -> OpCounts:
    """Counts of a network's parts, counted by hand on 64 samples."""
    return OpCounts(
        edge=edge,
        cloud=cloud,
        full=full,
        samples=64,
        pj_per_mac=4.6,
        pj_per_ac=0.9,
        pj_per_memory_byte=25.0,
        source="counted by hand",
    )


def model(**changes: Any) -> ModelCard:
    """The card of a small network that is split, with a code of 16x4x4 and no spike rates."""
    card = ModelCard(
        name="toy",
        backbone="resnet18",
        width=8,
        dataset="digits",
        dataset_variant="tiny",
        timesteps=4,
        classes=[str(digit) for digit in range(10)],
        input_shape=[1, 32, 32],
        static_input=True,
        split="layer2",
        feature_shape=[64, 8, 8],
        code_shape=[16, 4, 4],
        bottleneck=True,
        compression=512.0,
        accuracy_per_timestep={"full": [0.9] * 4, "split": [0.9] * 4},
        trained={},
        hash="0123abcd",
    )
    return replace(card, **changes)


def config(**changes: Any) -> CellDocument:
    """The configuration of a cell of packed codes."""
    document = CellDocument(
        mode="co_inference",
        model="coded",
        codec="packed",
        exit=None,
        scenario=ScenarioDocument(kind="single_stream", requests=None, warmup=20, timeout_ms=5000),
        idle_s=2.0,
        seed=0,
        curve=True,
        samples=40,
        position=0,
        baseline=False,
    )
    return replace(document, **changes)


def manifest(nodes: Iterable[NodeRecord] | None = None, *, mode: str = "co_inference", **changes: Any) -> Manifest:
    """The manifest of a cell; `mode` decides which of the nodes take part, what is sent and with which codec."""
    there = [node(), node(profile("server", "host"), "cloud")] if nodes is None else nodes
    taking_part = [each for each in there if each.role in facts_of(mode).roles]
    codec = "packed" if facts_of(mode).needs_codec else None
    document = Manifest(
        schema=SCHEMA_VERSION,
        experiment="toy",
        cell="0123456789",
        label="toy",
        mode_facts=facts_of(mode),
        codec=codec,
        exit=None,
        repeats=1,
        config=config(mode=mode, codec=codec),
        dataset=DatasetRef(name="digits", variant="tiny", samples=40, hash="ab12"),
        model=model(),
        code=CodeRef(version="0.1.0", sha256="cd34", commit="abc123", python="3.11.7"),
        nodes={each.id: each for each in taking_part},
        link=LinkRef(curve=True),
        created="2025-03-04T10:00:00Z",
    )
    return replace(document, **changes)


def path_measured(**changes: Any) -> PathMeasured:
    """A path that is as its link asked for: 20 ms there and back, 8 Mbit/s each way."""
    path = PathMeasured(
        when="before",
        rtt_ms=20.0,
        rtt_ms_asked=20.0,
        rtt_ms_unsure=0.0,
        up_bytes_per_s=1e6,
        up_bytes_per_s_asked=1e6,
        down_bytes_per_s=1e6,
        down_bytes_per_s_asked=1e6,
        lossy=False,
        tries=1,
    )
    return replace(path, **changes)


def status(**changes: Any) -> Status:
    """A cell that is complete and valid."""
    ended = Status(schema=SCHEMA_VERSION, state="complete", valid=True, reasons=[], repeats_done=[0])
    return replace(ended, **changes)


def request(**changes: Any) -> RequestRow:
    """A request of the board that was answered right at its fourth timestep, in 10 ms."""
    row = RequestRow(
        request_id=0,
        node="board",
        sample_index=0,
        repeat=0,
        label=3,
        prediction=3,
        outcome="ok",
        exit_timestep=4,
        t_start_ns=0,
        t_end_ns=10_000_000,
        latency_ms=10.0,
        edge_compute_ms=4.0,
        encode_ms=1.0,
        network_ms=1.0,
        cloud_compute_ms=3.0,
        payload_up_bytes=128,
        payload_down_bytes=160,
        wire_up_bytes=448,
        wire_down_bytes=480,
    )
    return replace(row, **changes)


def timestep(**changes: Any) -> TimestepRow:
    """The first timestep of that request; its code and times are not recorded."""
    row = TimestepRow(
        request_id=0,
        node="board",
        repeat=0,
        timestep=0,
        logits=[0.0] * 10,
        confidence=0.5,
        code_spikes=None,
        code_bits=None,
        payload_bytes=32,
        t_send_ns=None,
        t_reply_ns=None,
        cloud_compute_ms=None,
    )
    return replace(row, **changes)
