"""Whatever the link does in the middle of requests, each that was begun ends in one row, and the link is used again.

The edge's and the cloud's work are the real ones, in this process, with a relay between them; the mode is one that
needs no model. A time-out is long where nothing waits for it, and else longer than a busy machine stalls.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devices.profile import load_profile
from testbed.errors import LinkError, WorkerError
from testbed.link.connectionmeter import ConnectionMeter
from testbed.link.keys import new_keypair
from testbed.link.messages import CellConfig, ExitConfig, Load, Measure
from testbed.modes import registry
from testbed.record.late import LateRow
from testbed.record.log import read_rows
from testbed.record.noderecord import Measured
from testbed.record.schema import EventRow, NetworkRow, RequestRow, TimestepRow
from testbed.runtime.artefact import ModelCard, write_card
from testbed.runtime.bundle import write_bundle
from testbed.worker import fallback, loop
from testbed.worker.cloud import CloudWork
from testbed.worker.edge import EdgeWork
from testbed.worker.loop import MAX_LOST_IN_A_ROW
from tests.calm import Stalls, in_a_calm_moment
from tests.devices.base.installed import install
from tests.fakes import counting
from tests.fakes.relay import Relay

HOST = Path(__file__).parents[3] / "devices" / "host.yaml"
TIMESTEPS, TIMEOUT_MS, BRIEF_MS = 4, 10_000, 800
CLASSES = ["zero", "one", "two"]
CARD = ModelCard(
    name="counting",
    backbone="none",
    width=1,
    dataset="bytes",
    dataset_variant="",
    timesteps=TIMESTEPS,
    classes=CLASSES,
    input_shape=[1, 1, 1],
    static_input=True,
    bottleneck=False,
    accuracy_per_timestep={"full": [1.0] * TIMESTEPS},
    trained={},
)


class Lab:
    """An edge and a cloud with a relay between them; `before` and `answering` say what happens when."""

    def __init__(
        self,
        folder: Path,
        exit_rule: ExitConfig | None = None,
        timeout_ms: int = TIMEOUT_MS,
        deadline_ms: int | None = None,
        fallback: str | None = None,
        window: int = 1,
    ) -> None:
        self.prepare(folder)
        self._config = CellConfig(
            mode="counting",
            timeout_ms=timeout_ms,
            exit=exit_rule,
            deadline_ms=deadline_ms,
            fallback=fallback,
            window=window,
        )
        self.faults: list[str] = []
        self.cloud = CloudWork(self.load("cloud", None), "bench-cloud", threading.Event(), self.faults.append)
        self.relay = Relay(int(str(self.cloud.loaded.data_endpoint).rpartition(":")[2]))
        self.edge = EdgeWork(self.load("edge", self.relay.endpoint), "bench-edge", threading.Event())

    def prepare(self, folder: Path) -> None:
        """Make a model and samples, and keys."""
        artefact = folder / "model"
        artefact.mkdir()
        (artefact / "weights").write_bytes(b"none")
        self._artefact, self._hash = artefact, write_card(artefact, CARD).hash
        labels = np.arange(100) % len(CLASSES)
        inputs = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
        names = {"dataset": "bytes", "variant": "", "split": "test", "seed": 0, "classes": CLASSES}
        self._bundle = folder / "bundle"
        self._bundle_hash = write_bundle(self._bundle, inputs, labels, **names).hash
        self._folder = folder
        self._config = CellConfig(mode="counting", timeout_ms=TIMEOUT_MS)
        self._server, self._client = new_keypair(), new_keypair()

    def load(self, role: str, endpoint: str | None, **changes: object) -> Load:
        edge = role == "edge"
        load = Load(
            profile=load_profile(HOST),
            role=role,
            repeat=0,
            config=self._config,
            artefact=str(self._artefact),
            artefact_hash=self._hash,
            bundle=str(self._bundle) if edge else None,
            bundle_hash=self._bundle_hash if edge else None,
            out_dir=str(self._folder / role),
            data_endpoint=endpoint,
            data_keys=self._client if edge else self._server,
            data_server_public=self._server.public if edge else None,
            allowed_clients=[] if edge else [self._client.public],
        )
        return msgspec.structs.replace(load, **changes)

    def measure(self, requests: int, first: int = 0) -> list[RequestRow]:
        """Run as many requests, of which each must have left one row; returns all rows."""
        done = self.edge.measure(self.order(requests, first), lambda done: None)
        rows = self.rows()
        assert done == Measured(requests=requests, whole=True)
        assert [row.request_id for row in rows] == list(range(first + requests))
        return rows

    @staticmethod
    def order(requests: int, first: int = 0) -> Measure:
        return Measure(samples=list(range(first, first + requests)), first_request_id=first)

    def node_folder(self, role: str) -> Path:
        return self._folder / role

    def rows(self) -> list[RequestRow]:
        return list(read_rows(self._folder / "edge" / "requests.jsonl", RequestRow))

    def timesteps(self, request: int) -> list[int]:
        rows = read_rows(self._folder / "edge" / "timesteps.jsonl", TimestepRow)
        return [row.timestep for row in rows if row.request_id == request]

    def network(self) -> list[NetworkRow]:
        return list(read_rows(self._folder / "edge" / "network.jsonl", NetworkRow))

    def events(self, role: str) -> list[EventRow]:
        path = self._folder / role / "events.jsonl"
        return list(read_rows(path, EventRow)) if path.exists() else []

    def close(self) -> None:
        self.relay.close()
        self.edge.finish()
        self.cloud.finish()


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site = tmp_path / "site"
    points = "counting = tests.fakes.counting:COUNTING\nalone = tests.fakes.counting:ALONE"
    install(site, "counting", {"testbed.modes": points}, {})
    monkeypatch.syspath_prepend(site)
    registry.modes.cache_clear()
    yield
    counting.before.clear()
    counting.answering.clear()
    counting.alone.clear()
    registry.modes.cache_clear()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path, timeout_ms=BRIEF_MS)
    yield lab
    lab.close()


def assert_consistent(row: RequestRow) -> None:
    ok = row.outcome == "ok"
    assert (row.reason is None) == ok
    assert row.prediction == (row.label if ok else None)
    assert row.exit_timestep == (TIMESTEPS if ok else None)
    assert row.answered_by == ("cloud" if ok else None)
    assert row.t_start_ns < row.t_end_ns


def outcomes(rows: list[RequestRow]) -> str:
    """A letter for each request: o(k), t(imeout) or e(rror)."""
    for row in rows:
        assert_consistent(row)
    return "".join(row.outcome[0] for row in rows)


def test_a_link_that_holds_answers_every_request_through_a_mode_from_another_package(lab: Lab) -> None:
    rows = lab.measure(10)
    assert outcomes(rows) == "o" * 10
    assert lab.relay.accepted == 1
    assert all((row.wire_up_bytes or 0) > TIMESTEPS * 16 for row in rows)
    assert {(row.frames_up, row.frames_down) for row in rows} == {(TIMESTEPS, TIMESTEPS)}


@pytest.mark.parametrize("timestep", range(TIMESTEPS))
def test_a_connection_cut_in_a_request_costs_that_request_alone_and_no_waiting(lab: Lab, timestep: int) -> None:
    counting.answering[3, timestep].append(lab.relay.cut)
    rows = lab.measure(6)
    assert outcomes(rows) == "oooeoo"
    assert "the data connection was lost" in str(rows[3].reason)
    assert rows[3].latency_ms < TIMEOUT_MS
    assert lab.timesteps(3) == list(range(timestep))
    assert lab.relay.accepted == 2
    failed = [event.detail for event in lab.events("edge") if event.event == "request_failed"]
    assert failed == [{"request": 3, "message": rows[3].reason}]


def test_the_traffic_of_a_lost_connection_is_unknown_and_that_of_the_next_is_known(lab: Lab) -> None:
    counting.answering[1, 2].append(lab.relay.cut)
    rows = lab.measure(4)
    assert rows[0].wire_up_bytes
    assert rows[3].wire_up_bytes
    # libzmq may close the socket before or after it is read for the last time in the request that lost it.
    assert [row.wire_up_bytes for row in rows[1:3]].count(None) <= 1
    lab.edge.finish()
    sent = [row.tx_bytes for row in lab.network() if row.interface == "data"]
    assert sent == sorted(sent)
    assert sent[-1] - sent[0] >= rows[0].wire_up_bytes + rows[3].wire_up_bytes


def test_a_connection_cut_between_two_requests_is_made_anew_and_nothing_is_lost(lab: Lab) -> None:
    lab.measure(3)
    lab.relay.cut()
    lab.relay.wait_for(connections=2)
    assert outcomes(lab.measure(3, first=3)) == "oooooo"


def test_a_stalled_link_is_a_timeout_at_the_deadline_and_late_answers_reach_nobody(brief: Lab) -> None:
    counting.before[2, 1].append(brief.relay.stall)
    counting.before[4, 0].append(brief.relay.heal)
    with Stalls() as stalls:
        rows = brief.measure(7)
    assert outcomes(rows) == "oottooo"
    for row in rows[2:4]:
        assert BRIEF_MS <= row.latency_ms < 1.5 * BRIEF_MS + stalls.longest_ms
        assert f"within {BRIEF_MS} ms" in str(row.reason)
    assert brief.timesteps(2) == [0]
    assert brief.timesteps(3) == []


def test_a_link_that_stalls_for_less_than_the_deadline_makes_a_request_late_and_not_lost(lab: Lab) -> None:
    def stall() -> None:
        lab.relay.stall()
        threading.Timer(0.1, lab.relay.heal).start()

    counting.before[1, 2].append(stall)
    rows = lab.measure(3)
    assert outcomes(rows) == "ooo"
    assert 100 <= rows[1].latency_ms < TIMEOUT_MS


def test_a_black_hole_that_kills_the_connection_for_good_is_left_by_a_new_one(brief: Lab) -> None:
    counting.before[2, 3].append(brief.relay.black_hole)
    counting.before[4, 0].append(brief.relay.heal)
    rows = brief.measure(7)
    # The fifth request may still wait on a connection that was begun in the hole.
    assert outcomes(rows) in ("oottooo", "ootttoo")
    assert "no reply" in str(rows[2].reason)
    assert "no data connection" in str(rows[3].reason)
    assert brief.relay.accepted >= 3


def test_a_cloud_that_is_not_reachable_for_a_while_is_found_again(brief: Lab) -> None:
    counting.before[2, 0].append(brief.relay.refuse)
    counting.before[4, 0].append(brief.relay.heal)
    rows = brief.measure(6)
    assert outcomes(rows) in ("oottoo", "ooetoo")  # the loss is noticed before or after the frame is sent
    assert "data connection" in str(rows[3].reason)


def test_a_link_too_slow_for_its_deadline_fails_request_after_request_in_time(brief: Lab) -> None:
    counting.before[1, 0].append(lambda: brief.relay.slow(100))
    counting.before[3, 0].append(brief.relay.heal)
    with Stalls() as stalls:
        rows = brief.measure(6)
    assert outcomes(rows)[:3] == "ott"
    assert outcomes(rows)[-1] == "o"
    for row in rows:
        assert row.latency_ms < 1.5 * BRIEF_MS + stalls.longest_ms


def test_the_exchanges_of_a_request_share_one_deadline(brief: Lab) -> None:
    pause = threading.Event()
    for timestep in range(TIMESTEPS):
        counting.answering[1, timestep].append(lambda: pause.wait(0.4 * BRIEF_MS / 1000))
    rows = brief.measure(3)
    assert outcomes(rows)[:2] == "ot"  # each exchange would have met a deadline of its own
    assert brief.timesteps(1) in ([], [0], [0, 1])


def test_a_request_that_computes_past_its_deadline_is_told_so_and_sends_no_more(brief: Lab) -> None:
    pause = threading.Event()
    counting.before[1, 2].append(lambda: pause.wait(1.2 * BRIEF_MS / 1000))
    rows = brief.measure(3)
    assert outcomes(rows) == "oto"
    assert f"the {BRIEF_MS} ms for it are over" in str(rows[1].reason)


def test_a_cloud_that_fails_refuses_that_frame_records_it_and_says_so_at_the_end(lab: Lab, capsys) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of a bug")

    counting.answering[1, 2].append(fail)
    rows = lab.measure(3)
    assert outcomes(rows) == "oeo"
    assert "the cloud refused timestep 2: of a bug" in str(rows[1].reason)
    names = [event.event for event in lab.events("cloud")]
    assert names == ["data_plane_failed", "frame_refused"]
    assert lab.faults == ["the cloud's data plane failed in answering a frame: ZeroDivisionError: of a bug"]
    with pytest.raises(WorkerError, match=r"failed in answering a frame: ZeroDivisionError: of a bug"):
        lab.cloud.finish()
    assert "Traceback" in capsys.readouterr().err


def test_an_edge_that_fails_leaves_the_row_of_that_request_and_raises(lab: Lab) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of a bug")

    counting.before[2, 1].append(fail)
    with pytest.raises(ZeroDivisionError):
        lab.edge.measure(lab.order(5), lambda done: None)
    assert outcomes(lab.rows()) == "ooe"
    assert lab.rows()[2].reason == "ZeroDivisionError: of a bug"


def test_what_fails_after_the_answer_does_not_lose_the_row(lab: Lab, monkeypatch) -> None:
    def fail(meter: ConnectionMeter) -> None:
        raise OSError("too many open files")

    lab.measure(2)
    monkeypatch.setattr(ConnectionMeter, "read", fail)
    with pytest.raises(OSError, match="too many open files"):
        lab.edge.measure(lab.order(3, first=2), lambda done: None)
    assert outcomes(lab.rows()) == "ooo"
    assert lab.rows()[2].wire_up_bytes is None


def test_an_early_exit_whose_farewell_meets_a_cut_connection_stays_ok(tmp_path: Path) -> None:
    sure = ExitConfig(policy="max_softmax", accumulate="sum", thresholds=[0.5] * (TIMESTEPS - 1))
    lab = Lab(tmp_path, exit_rule=sure)
    try:
        counting.answering[3, 0].append(lambda: threading.Timer(0.02, lab.relay.cut).start())
        rows = lab.measure(8)
        exits = [row.exit_timestep for row in rows if row.outcome == "ok"]
        assert set(exits) == {1}
        assert (rows[0].frames_up, rows[0].frames_down) == (2, 1)  # with END
        assert Counter(row.outcome for row in rows)["ok"] >= 7
    finally:
        lab.close()


def test_what_the_cloud_did_for_ended_requests_is_recorded_also_that_of_the_last_one(tmp_path: Path) -> None:
    sure = ExitConfig(policy="max_softmax", accumulate="sum", thresholds=[0.5] * (TIMESTEPS - 1))
    lab = Lab(tmp_path, exit_rule=sure, window=TIMESTEPS)
    try:
        held = threading.Event()
        # The last request's cloud answers once all is sent, so that three answers come after it has ended.
        counting.before[7, TIMESTEPS - 1].append(held.set)
        counting.answering[7, 0].append(lambda: held.wait(TIMEOUT_MS / 1000))
        rows = lab.measure(8)
        assert outcomes_with_exit(rows) == [(row.request_id, 1) for row in rows]
        late = list(read_rows(lab.node_folder("edge") / "late.jsonl", LateRow))
        dropped = lab.cloud._serving.dropped  # noqa: SLF001
        assert rows[7].wasted_timesteps == 3
        assert rows[7].wasted_up_bytes == 3
        assert len([row for row in late if row.request_id == 7]) + dropped >= 3
        assert sum(row.wasted_timesteps or 0 for row in rows) == len(late) + dropped
    finally:
        lab.close()


def outcomes_with_exit(rows: list[RequestRow]) -> list[tuple[int, int | None]]:
    """Each answered request, and its exit."""
    return [(row.request_id, row.exit_timestep) for row in rows if row.outcome == "ok"]


def test_a_connection_cut_under_a_window_costs_that_request_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, window=TIMESTEPS)
    try:
        counting.answering[3, 1].append(lab.relay.cut)
        rows = lab.measure(6)
        assert outcomes(rows) == "oooeoo"
        assert "the data connection was lost while an answer was waited for" in str(rows[3].reason)
        assert rows[3].latency_ms < TIMEOUT_MS
    finally:
        lab.close()


def test_a_link_that_stays_away_ends_the_repeat_early_with_its_reason(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "MAX_LOST_IN_A_ROW", 3)
    lab = Lab(tmp_path, timeout_ms=BRIEF_MS)
    try:
        counting.before[2, 0].append(lab.relay.refuse)
        with pytest.raises(WorkerError, match=r"3 of 5 requests were lost"):
            lab.edge.measure(lab.order(100), lambda done: None)
        rows = lab.rows()
        assert len(rows) == 5
        assert outcomes(rows).startswith("oo")
        assert "o" not in outcomes(rows)[2:]
    finally:
        lab.close()


def test_what_is_late_is_given_up_at_its_deadline_and_a_link_that_lives_is_kept(tmp_path: Path) -> None:
    lab = Lab(tmp_path, deadline_ms=BRIEF_MS)
    try:
        given_up = threading.Event()
        counting.answering[2, 1].append(lambda: given_up.wait(TIMEOUT_MS / 1000))
        counting.before[3, 0].append(given_up.set)
        rows = lab.measure(5)
        assert outcomes(rows) == "ootoo"
        said = f"given up at its deadline of {BRIEF_MS} ms with 1 of 4 timesteps answered: "
        assert str(rows[2].reason).startswith(said)
        assert BRIEF_MS <= rows[2].latency_ms < TIMEOUT_MS
        assert lab.relay.accepted == 1
    finally:
        lab.close()


def test_a_link_that_says_nothing_for_as_long_as_a_timeout_is_made_anew_and_the_repeat_goes_on(tmp_path: Path) -> None:
    lab = Lab(tmp_path, timeout_ms=250, deadline_ms=10)
    try:
        lab.edge.warm_up([0, 1, 2])
        counting.before[2, 0].append(lab.relay.black_hole)
        counting.before[2 + 2 * MAX_LOST_IN_A_ROW, 0].append(lab.relay.heal)
        rows = lab.measure(100)
        lost = [row for row in rows if row.outcome == "timeout"]
        assert len(lost) >= 2 * MAX_LOST_IN_A_ROW
        assert lab.relay.accepted >= 2
        # A busy machine may be late for a deadline of 10 ms also afterwards.
        assert any(row.outcome == "ok" for row in rows[2 + 2 * MAX_LOST_IN_A_ROW :])
    finally:
        lab.close()


@pytest.fixture
def standby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab whose edge can answer alone, and takes 5 ms for it; it looks for its cloud after 50 ms, 100 ms, …"""
    monkeypatch.setattr(fallback, "FIRST_PAUSE_S", 0.05)
    lab = Lab(tmp_path, timeout_ms=BRIEF_MS, fallback="alone")
    pause = threading.Event()
    for request in range(1000):
        counting.alone[request, 0].append(lambda: pause.wait(0.005))
    yield lab
    lab.close()


def answered_by(rows: list[RequestRow]) -> str:
    """A letter for each request, of who answered it."""
    assert {row.outcome for row in rows} == {"ok"}
    assert all(row.prediction == row.label and row.exit_timestep == TIMESTEPS for row in rows)
    return "".join(str(row.answered_by)[0] for row in rows)


MISHAPS = ("cut", "stall", "black_hole", "refuse")


@pytest.mark.parametrize("mishap", MISHAPS)
def test_an_edge_that_can_answers_alone_until_its_cloud_is_back(standby: Lab, mishap: str) -> None:
    counting.answering[2, 1].append(getattr(standby.relay, mishap))
    counting.alone[30, 0].append(standby.relay.heal)
    rows = standby.measure(95)
    by = answered_by(rows)
    assert by.startswith("cce")
    assert by.endswith("c")
    assert "ce" not in by[3:], by
    assert by.count("e") >= (1 if mishap == "cut" else 28)  # its pause may go by while the machine stalls
    assert standby.timesteps(2) == list(range(TIMESTEPS))
    assert rows[2].payload_up_bytes == 2
    assert max(row.latency_ms for row in rows[3:]) < BRIEF_MS  # none waits for what is lost
    events = [event for event in standby.events("edge") if event.event.startswith(("cloud_", "probe_"))]
    assert (events[0].event, events[0].detail["request"]) == ("cloud_lost", 2)
    assert events[-1].event == "cloud_back"
    assert [event.event for event in events].count("cloud_back") == 1
    assert standby.relay.accepted >= 2  # a connection with a queue or a late answer is not used again
    # Everything that was not answered alone has its own session on the cloud again, in which no timestep is missing.
    assert standby.timesteps(94) == list(range(TIMESTEPS))


def test_a_frame_that_the_cloud_refuses_is_answered_by_the_edge(standby: Lab) -> None:
    def fail() -> None:
        raise LinkError("of a code that it cannot read")

    counting.answering[2, 2].append(fail)
    rows = standby.measure(60)
    assert answered_by(rows).startswith("cce")
    assert answered_by(rows).endswith("c")
    lost = next(event for event in standby.events("edge") if event.event == "cloud_lost")
    assert "the cloud refused timestep 2: of a code" in lost.detail["message"]


@pytest.mark.parametrize(("seed", "window"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, TIMESTEPS), (5, TIMESTEPS)])
def test_after_any_mishaps_each_request_has_one_row_and_the_last_are_ok(tmp_path: Path, seed: int, window: int) -> None:
    rng = random.Random(seed)
    lab = Lab(tmp_path, timeout_ms=100, window=window)
    try:
        mishaps: list[Callable[[], object]] = [
            lab.relay.cut,
            lab.relay.stall,
            lab.relay.black_hole,
            lab.relay.refuse,
            lambda: lab.relay.slow(rng.uniform(200, 20_000)),
        ]
        for request in range(0, 40, 4):
            happens = rng.choice((counting.before, counting.answering))
            happens[request, rng.randrange(TIMESTEPS)].append(rng.choice(mishaps))
            counting.before[request + rng.randint(1, 2), 0].append(lab.relay.heal)
        with Stalls() as stalls:
            rows = lab.measure(45)
        for row in rows:
            assert row.latency_ms < 200 + stalls.longest_ms
        assert "o" in outcomes(rows)
        firsts = itertools.count(45, 3)

        def is_as_before() -> None:
            assert outcomes(lab.measure(3, first=next(firsts)))[-3:] == "ooo"

        in_a_calm_moment(is_as_before)
    finally:
        lab.close()


def test_a_recorder_of_the_network_that_ends_ends_the_repeat(lab: Lab) -> None:
    for work in (lab.edge, lab.cloud):
        work._network.stop()  # noqa: SLF001
        work._network.fault = "wlan0 is gone"  # noqa: SLF001
    message = "the network is not recorded any more: wlan0 is gone"
    with pytest.raises(WorkerError, match=f"bench-edge: {message}"):
        lab.edge.measure(lab.order(5), lambda done: None)
    with pytest.raises(WorkerError, match=f"bench-edge: {message}"):
        lab.edge.finish()
    with pytest.raises(WorkerError, match=f"bench-cloud: {message}"):
        lab.cloud.finish()
    for work in (lab.edge, lab.cloud):
        work._network.fault = None  # noqa: SLF001
