from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.base.power import Rail
from devices.links.load import load_link
from devices.power.emulated import EmulatedPower
from devices.profile import Emulation, Profile, Runtime
from devices.timemodel import Slowdown
from testbed.errors import LinkError
from testbed.link import messages
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import CONTROL_SCHEMA, CellConfig, ExitConfig, Message
from testbed.link.shaping.shaper import Disturbance
from testbed.record import noderecord
from tests.made import records

PROFILE = Profile(
    name="toy",
    kind="emulated",
    reach="local",
    runtime=Runtime(provider="cpu", threads=2),
    emulates=Emulation(board="Toy", processor="cpu", time=Slowdown(slowdown=2, reference="made up for a test")),
    power=[
        EmulatedPower(rail="VDD_IN", rate_hz=100, idle_mw=1, cpu_busy_mw=9, radio_mw=3, reference="made up for a test")
    ],
)
INA = records.capability("ina", Rail(name="VDD_IN", scope="module", gain=0.01), averaging_ms=6.6)
LOAD = messages.Load(
    profile=PROFILE,
    role="edge",
    repeat=2,
    config=CellConfig(
        mode="co_inference",
        codec="packed",
        exit=ExitConfig(policy="entropy", accumulate="mean", thresholds=[0.99, 0.9]),
        timeout_ms=500,
    ),
    artefact="models/toy",
    artefact_hash="ab",
    bundle="bundles/toy",
    bundle_hash="cd",
    out_dir="out",
    outputs="cache/outputs",
    data_endpoint="tcp://127.0.0.1:5555",
    data_keys=new_keypair(),
    data_server_public=new_keypair().public,
    allowed_clients=[new_keypair().public],
    link=load_link("lte-drive"),
    shaping="user",
)
PATH = records.path_measured(
    when="after", down_bytes_per_s=None, down_bytes_per_s_asked=None, lossy=True, tries=2, rates_unsure=0.1
)
BODIES: list[messages.Body] = [
    messages.AskShaping(link=load_link("wifi"), peers=["10.9.0.2", "server"], role="edge", will_delay=True),
    messages.CanShape(reasons=["no module"], address="10.9.0.1"),
    LOAD,
    msgspec.structs.replace(LOAD, shaping="tc", because=["no"], peers=["10.9.0.1"], capture=True),
    messages.CoolDown(as_warm_as={"cpu": 41.5}, within_c=2.0, at_most_s=60.0),
    messages.CooledDown(detail=noderecord.Cooling(waited_s=3.0, temperature_c={"cpu": 42.0}, as_warm_as={"cpu": 41.5})),
    messages.ComputeAhead(samples=[3, 1], chunks=[[1, 3], [4]]),
    messages.Follow(window=4, chunks=[1, 3]),
    messages.WarmUp(samples=[3, 1]),
    messages.BeginLink(),
    messages.Disturb(disturbance=Disturbance(rate=0.5)),
    messages.CheckPath(when="before"),
    messages.Idle(seconds=0.5, phase="idle_before"),
    messages.Measure(samples=[0, 5], first_request_id=10),
    messages.BeginLink(),
    messages.Disturb(disturbance=Disturbance(down=True, rate=0.5, delay_ms=3)),
    messages.CheckPath(when="before"),
    messages.PathChecked(detail=PATH),
    messages.Finish(),
    messages.Cancel(),
    messages.Complete(),
    messages.ClockPing(t1_ns=1),
    messages.Bye(),
    messages.Hello(node="toy", facts=records.node_repeat().hello),
    messages.Loaded(data_endpoint="tcp://127.0.0.1:5555", detail=records.node_repeat([INA]).loaded),
    messages.PathChecked(detail=records.path_measured(up_bytes_per_s=None, up_bytes_per_s_asked=None)),
    messages.Measured(detail=noderecord.Measured(requests=3, whole=True)),
    messages.Finished(detail=noderecord.Finished(facts=noderecord.BoardFacts(others={"b": [1]}), settings=["a"])),
    messages.Done(),
    messages.Progress(done=1, total=2),
    messages.Heartbeat(t_ns=5),
    messages.ClockPong(t1_ns=1, t2_ns=2, t3_ns=3, wall_offset_ns=4),
    messages.Fault(message="no", kind="ModelError"),
]


def wire(**changes: object) -> bytes:
    """A Heartbeat as a peer might send it, with the envelope's fields changed."""
    document = msgspec.to_builtins(Message(run="r1", seq=1, body=messages.Heartbeat(t_ns=5)))
    return msgspec.msgpack.encode(document | changes)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_every_message_comes_back_as_it_went(body: messages.Body):
    message = Message(run="r1", seq=9, body=body)
    assert messages.decode(messages.encode(message), "r1") == message


def test_every_kind_of_message_is_tried_above():
    kinds = messages.ToWorker.__args__ + messages.FromWorker.__args__
    assert {type(body) for body in BODIES} == set(kinds)


def test_another_schema_is_named_before_anything_else_is_looked_at():
    newer = wire(schema=CONTROL_SCHEMA + 1, body={"type": "NotYetInvented"}, extra=True)
    with pytest.raises(LinkError, match=rf"version {CONTROL_SCHEMA + 1} .* this is {CONTROL_SCHEMA}; deploy"):
        messages.decode(newer, "r1")


def test_a_message_of_another_run_is_refused():
    with pytest.raises(LinkError, match="'r1' came to run 'r2'"):
        messages.decode(wire(), "r2")


@pytest.mark.parametrize(
    "changes",
    [
        {"body": {"type": "NotYetInvented"}},
        {"body": {"type": "Heartbeat", "t_ns": "five"}},
        {"body": {"type": "Heartbeat", "t_ns": 5, "more": 1}},
        {"body": {"type": "Measure", "samples": [-1], "first_request_id": 0}},
        {"seq": -1},
        {"run": None},
    ],
)
def test_a_message_that_is_not_of_the_schema_is_refused(changes: dict[str, object]):
    with pytest.raises(LinkError, match="not a control message"):
        messages.decode(wire(**changes), "r1")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes):
    with pytest.raises(LinkError):
        messages.decode(data, "r1")


@given(st.data())
def test_a_corrupted_message_never_crashes(data):
    damaged = bytearray(messages.encode(Message(run="r1", seq=1, body=LOAD)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(LinkError):
        messages.decode(bytes(damaged), "r1")


def test_nesting_without_end_is_refused():
    deep = wire(body=None)[:-1] + b"\x91" * 100_000
    with pytest.raises(LinkError, match="not a control message"):
        messages.decode(deep, "r1")


def test_messages_that_are_too_large_are_neither_sent_nor_read():
    large = messages.Fault(message="x" * messages.MAX_CONTROL_BYTES, kind="k")
    with pytest.raises(LinkError, match=r"Fault of .* larger than"):
        messages.encode(Message(run="r1", seq=1, body=large))
    with pytest.raises(LinkError, match="at most"):
        messages.decode(bytes(messages.MAX_CONTROL_BYTES + 1), "r1")


def test_what_msgpack_cannot_carry_is_a_link_error():
    told = messages.Finished(detail=noderecord.Finished(facts=noderecord.BoardFacts(others={"a": object()})))
    with pytest.raises(LinkError, match="Finished cannot be sent"):
        messages.encode(Message(run="r1", seq=1, body=told))


def test_secrets_stay_out_of_every_repr():
    keys = new_keypair()
    load = msgspec.structs.replace(LOAD, data_keys=keys)
    shown = repr(Message(run="r1", seq=1, body=load)) + str(keys) + str(keys.__rich_repr__())
    assert keys.public in shown
    assert keys.secret not in shown


def test_key_pairs_are_new_each_time_and_fit_libzmq():
    first, second = new_keypair(), new_keypair()
    assert len({first.public, first.secret, second.public, second.secret}) == 4
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"public": first.public[:-1], "secret": first.secret}, KeyPair)
