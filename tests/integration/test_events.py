"""Frames of events through real workers: every mode's logits are SpikingJelly's, one frame a timestep."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional

from devices.profile import load_profile
from testbed.deploy.local import LocalDeployer
from testbed.errors import WorkerError
from testbed.experiment import Deadlines
from testbed.link import frames as wire
from testbed.link.client import DataClient
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.kinds import Kind
from testbed.link.messages import CellConfig, ExitConfig, Load
from testbed.orchestrator import Attempt, Orchestrator, taking_part
from testbed.orchestrator.participants import participants
from testbed.record.layout import AttemptFolder
from testbed.record.log import read_rows
from testbed.record.noderecord import Role
from testbed.record.schema import RequestRow, TimestepRow
from testbed.runtime.artefact import ModelCard, write_card
from testbed.runtime.bundle import BundleCard, write_bundle
from testbed.snn.backbones import resnet18
from testbed.snn.deployable import deployable
from testbed.snn.export import export_network
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.worker.cloud import CloudWork

pytestmark = pytest.mark.timeout(300)

HOST = Path(__file__).parents[2] / "devices" / "host.yaml"
T, SIDE, SAMPLES = 3, 8, 4
CLASSES = ["left", "right", "up"]


@dataclass(frozen=True)
class EventModel:
    """An artefact and a bundle of event frames on disk, and the logits [N, T, K] that SpikingJelly gives them."""

    artefact: Path
    card: ModelCard
    bundle: Path
    bundle_card: BundleCard
    split: NDArray[np.float32]
    full: NDArray[np.float32]


def events(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).poisson(0.5, (count, T, 2, SIDE, SIDE)).astype(np.uint8)


def logits_of(network: Network, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.no_grad():
        logits = network(torch.from_numpy(frames), T)
    functional.reset_net(network)
    return np.asarray(logits.transpose(0, 1))


def warm(network: Network) -> Network:
    """Let the batch norms see data, so that neurons fire at every depth."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 0.4)
    for seed in range(5):
        logits_of(network, events(8, seed))
    return network.eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EventModel:
    folder = tmp_path_factory.mktemp("events")
    torch.manual_seed(0)
    normalize = Normalize(torch.full((2,), 0.5 / 255), torch.full((2,), 0.7 / 255))
    uncut = warm(Network(normalize, resnet18(4, 2, len(CLASSES), Neuron(), "membrane")))
    full, cut = deployable(uncut), deployable(warm(uncut.cut("stage1", Bottleneck(4, 2, 2, Neuron()))))
    frames = events(SAMPLES, 100)
    export_network(cut, full, T, torch.from_numpy(frames[:1]), folder / "model")
    card = ModelCard(
        name="blinks/coded",
        backbone="resnet18",
        width=4,
        dataset="blinks",
        dataset_variant="made",
        timesteps=T,
        classes=CLASSES,
        input_shape=[2, SIDE, SIDE],
        static_input=False,
        split="stage1",
        feature_shape=[4, SIDE, SIDE],
        code_shape=[2, SIDE // 2, SIDE // 2],
        bottleneck=True,
        accuracy_per_timestep={},
        trained={},
    )
    bundle_card = write_bundle(
        folder / "bundle",
        frames,
        np.zeros(SAMPLES, dtype=np.int64),
        dataset="blinks",
        variant="made",
        split="test",
        seed=0,
        classes=CLASSES,
    )
    return EventModel(
        folder / "model",
        write_card(folder / "model", card),
        folder / "bundle",
        bundle_card,
        split=logits_of(cut, frames),
        full=logits_of(full, frames),
    )


def measure(model: EventModel, folder: Path, config: CellConfig) -> tuple[list[RequestRow], NDArray[np.float32]]:
    """Run every sample once; the requests, and the logits [N, T, K] that the edge recorded."""
    host = load_profile(HOST)
    roles: tuple[Role, ...] = ("edge", "cloud")
    nodes = participants((role, msgspec.structs.replace(host, name=f"events-{role}")) for role in roles)
    attempt = Attempt(
        folder=AttemptFolder(folder / "attempt"),
        logs=folder / "logs",
        repeat=0,
        config=config,
        participants=taking_part(nodes, config.mode),
        artefact=model.artefact,
        artefact_hash=model.card.hash,
        bundle=model.bundle,
        bundle_hash=model.bundle_card.hash,
        samples=range(SAMPLES),
        warmup=[0],
        idle_s=0.0,
        curve=True,
        deadlines=Deadlines(),
    )
    deployers = {node.id: LocalDeployer(node.profile) for node in nodes}
    assert asyncio.run(Orchestrator("events", lambda name, done, total: None, deployers).attempt(attempt))
    requests = list(read_rows(attempt.folder.rows("events-edge", "requests"), RequestRow))
    steps = list(read_rows(attempt.folder.rows("events-edge", "timesteps"), TimestepRow))
    logits = np.array([step.logits for step in steps], dtype=np.float32).reshape(len(requests), -1, len(CLASSES))
    return requests, logits


NEVER = ExitConfig(policy="max_softmax", accumulate="mean", thresholds=[1.0] * (T - 1))
ALWAYS = ExitConfig(policy="max_softmax", accumulate="mean", thresholds=[0.0] * (T - 1))


@pytest.mark.parametrize(
    ("mode", "codec", "rule"),
    [
        ("co_inference", "packed", None),
        ("cloud_only", None, None),
        ("edge_only", None, None),
        ("edge_only", None, NEVER),
    ],
    ids=["co_inference", "cloud_only", "edge_only", "edge_only-by-steps"],
)
def test_logits_of_event_frames_equal_spikingjelly(model, mode, codec, rule, tmp_path):
    config = CellConfig(mode=mode, codec=codec, exit=rule, timeout_ms=5000)
    requests, logits = measure(model, tmp_path, config)
    assert [request.outcome for request in requests] == ["ok"] * SAMPLES
    assert {request.exit_timestep for request in requests} == {T}
    expected = model.split if mode == "co_inference" else model.full
    assert expected.std(axis=(0, 1)).min() > 0, "the samples or the frames make no difference"
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    sent = {"co_inference": T * 2 * (SIDE // 2) ** 2 // 8, "cloud_only": T * 2 * SIDE**2, "edge_only": 0}
    assert {request.payload_up_bytes for request in requests} == {sent[mode]}


def test_an_exit_leaves_the_frames_that_follow_alone(model, tmp_path):
    config = CellConfig(mode="co_inference", codec="packed", exit=ALWAYS, timeout_ms=5000)
    requests, logits = measure(model, tmp_path, config)
    assert {request.exit_timestep for request in requests} == {1}
    np.testing.assert_allclose(logits[:, 0], model.split[:, 0], atol=1e-5)


def test_a_bundle_of_stills_is_refused_by_a_model_of_events(model, tmp_path):
    stills = events(2, 0)[:, 0]
    card = write_bundle(
        tmp_path / "stills",
        stills,
        np.zeros(2, dtype=np.int64),
        dataset="stills",
        variant="made",
        split="test",
        seed=0,
        classes=CLASSES,
    )
    wrong = EventModel(model.artefact, model.card, tmp_path / "stills", card, model.split, model.full)
    with pytest.raises(WorkerError, match=r"inputs of shape \[2, 8, 8\] do not fit the model's \[3, 2, 8, 8\]"):
        measure(wrong, tmp_path, CellConfig(mode="edge_only", timeout_ms=5000))


@pytest.mark.parametrize("length", [2 * SIDE**2, T * 2 * SIDE**2 - 1])
def test_an_input_that_lacks_a_frame_is_refused_and_the_next_one_is_answered(model, length, tmp_path):
    load = Load(
        profile=load_profile(HOST),
        role="cloud",
        repeat=0,
        config=CellConfig(mode="cloud_only", timeout_ms=5000),
        artefact=str(model.artefact),
        artefact_hash=model.card.hash,
        bundle=None,
        bundle_hash=None,
        out_dir=str(tmp_path),
    )
    cloud = CloudWork(load, "events-cloud", threading.Event(), pytest.fail)
    sample = events(SAMPLES, 100)[0].tobytes()
    try:
        soon = Deadline(5000)
        with DataClient(cloud.loaded.data_endpoint or "", None, None) as edge:
            edge.connect(soon)
            short = wire.unpack(edge.request(wire.pack(Frame(Kind.INPUT, 1, payload=sample[:length])), soon), 1 << 16)
            whole = wire.unpack(edge.request(wire.pack(Frame(Kind.INPUT, 2, payload=sample)), soon), 1 << 16)
    finally:
        cloud.finish()
    assert (short.kind, whole.kind) == (Kind.REFUSED, Kind.RESULT)
    assert f"{length} bytes" in wire.unpack_reason(short.payload)
    np.testing.assert_allclose(wire.unpack_result(whole.payload, len(CLASSES))[1], model.full[0], atol=1e-5)
