"""An interrupt in each phase of a repeat, with workers in this process that wait wherever they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from testbed.deploy.deployer import Step, unwatched
from testbed.errors import DeployError
from testbed.experiment import Deadlines
from testbed.link import messages
from testbed.link.messages import Body, CellConfig, Message, WorkerStart
from testbed.orchestrator import Attempt, Orchestrator
from testbed.orchestrator.participants import participants
from testbed.record import documents, noderecord
from testbed.record.layout import AttemptFolder
from testbed.record.reader import read_document
from tests.made import records

RUN = "r1"
SAMPLES = [0, 1, 2]
NOT_BEGUN = "without this repeat, which has not begun"
AFTER_REQUEST = "after the running request"
FINISHED_FIRST = "with this repeat, all of which is measured"


class Board:
    """A node and its worker. It dwells in one phase until it is released, or cancelled where a worker heeds that.

    Cancelled while measuring, it has measured `at_request` requests when the running one has ended.
    """

    log = Path("/nonexistent")

    def __init__(self, dwells: str = "", at_request: int = 1) -> None:
        self.dwells, self.at_request = dwells, at_request
        self.there, self.released, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.cleaned_up = False
        self.heard: list[str] = []
        self._serving: asyncio.Task[None] | None = None

    async def dwell(self, phase: str) -> None:
        if phase == self.dwells:
            self.there.set()
            heeds = self.cancelled if phase in ("WarmUp", "idle_before", "Measure") else asyncio.Event()
            waits = [asyncio.ensure_future(event.wait()) for event in (self.released, heeds)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.cleaned_up = True
                for wait in waits:
                    wait.cancel()

    # A deployer.
    async def open(self, step: Step = unwatched) -> None:
        await self.dwell("open")

    async def push(self, folder: Path, digest: str, step: Step = unwatched) -> str:
        await self.dwell("push")
        return str(folder)

    def node_folder(self, run: str, attempt: Path, node: str) -> str:
        return str(attempt / node)

    def outputs_folder(self) -> str:
        return "outputs"

    async def start(self, run: str, start: WorkerStart, log: Path) -> Board:
        await self.dwell("start")
        self._serving = asyncio.ensure_future(self._serve(start))
        return self

    async def fetch(self, run: str, node: str, attempt: Path) -> None:
        (attempt / node).mkdir(parents=True)

    # A process.
    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def stop(self, grace_s: float) -> None:
        if self._serving is not None:
            self._serving.cancel()
        if not self.ended.done():
            self.ended.set_result(0)

    # A worker.
    async def _serve(self, start: WorkerStart) -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.identity = start.node.encode()
            socket.curve_publickey, socket.curve_secretkey = start.keys.public.encode(), start.keys.secret.encode()
            socket.curve_serverkey = start.control_public.encode()
            socket.connect(start.control_endpoint)

            async def say(body: Body, seq: int = 0) -> None:
                await socket.send(messages.encode(Message(run=RUN, seq=seq, body=body)))

            async def carry_out(message: Message) -> None:
                await say(await self._answer(message.body), message.seq)

            await self.dwell("hello")
            await say(messages.Hello(node=start.node, facts=records.node_repeat().hello))
            orders: list[asyncio.Task[None]] = []
            try:
                while not isinstance((message := messages.decode(await socket.recv(), RUN)).body, messages.Bye):
                    if isinstance(message.body, messages.Cancel):
                        self.cancelled.set()
                    elif isinstance(message.body, messages.Complete):
                        self.cancelled.clear()
                    elif not isinstance(message.body, messages.Heartbeat):
                        orders.append(asyncio.ensure_future(carry_out(message)))
            finally:
                for order in orders:
                    order.cancel()
        self.ended.set_result(0)

    async def _answer(self, body: Body) -> Body:
        name = body.phase if isinstance(body, messages.Idle) else type(body).__name__
        if name != "ClockPing":
            self.heard.append(name)
        await self.dwell(name)
        if name == "idle_after" and self.cancelled.is_set():
            return messages.Fault(message="did not rest", kind="WorkerError")
        if isinstance(body, messages.Load):
            power = [records.capability("ina") for _ in body.profile.power]
            return messages.Loaded(data_endpoint=None, detail=noderecord.Loaded(power=power))
        if isinstance(body, messages.ClockPing):
            return messages.ClockPong(t1_ns=body.t1_ns, t2_ns=body.t1_ns, t3_ns=body.t1_ns, wall_offset_ns=0)
        if isinstance(body, messages.Measure):
            done = self.at_request if self.cancelled.is_set() else len(body.samples)
            return messages.Measured(detail=noderecord.Measured(requests=done, whole=done == len(body.samples)))
        if isinstance(body, messages.CoolDown):
            cooling = noderecord.Cooling(waited_s=1.0, temperature_c={"cpu": 40.0}, as_warm_as=body.as_warm_as)
            return messages.CooledDown(detail=cooling)
        if isinstance(body, messages.Finish):
            return messages.Finished(detail=records.node_repeat().finished)
        return messages.Done()


def attempt_in(folder: Path) -> Attempt:
    return Attempt(
        folder=AttemptFolder(folder / "attempt-000"),
        logs=folder / "logs",
        repeat=0,
        config=CellConfig(mode="edge_only", timeout_ms=1000),
        participants=participants([("edge", records.profile("board", "host"))]),
        artefact=folder,
        artefact_hash="a",
        bundle=folder,
        bundle_hash="b",
        samples=SAMPLES,
        warmup=[0],
        idle_s=0.1,
        curve=True,
        deadlines=Deadlines(),
    )


def play(
    folder: Path, dwells: str, then: Callable[[Orchestrator, Board], Any], at_request: int = 1
) -> tuple[Any, Board, Any]:
    """Begin an attempt; once its board dwells in a phase, do something; what that and the attempt returned."""

    async def scenario() -> tuple[Any, Board, Any]:
        board = Board(dwells, at_request)
        orchestrator = Orchestrator(RUN, lambda name, done, total: None, {"board": board})
        running = asyncio.ensure_future(orchestrator.attempt(attempt_in(folder)))
        await asyncio.wait({running, asyncio.ensure_future(board.there.wait())}, return_when=asyncio.FIRST_COMPLETED)
        said = then(orchestrator, board)
        return said, board, await running

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def interrupt(orchestrator: Orchestrator, _: Board) -> str:
    return orchestrator.cancel()


@pytest.mark.parametrize("phase", ["open", "start", "hello", "push", "Load"])
def test_before_the_first_request_an_interrupt_drops_the_attempt_at_once(tmp_path: Path, phase: str) -> None:
    how, board, whole = play(tmp_path, phase, interrupt)
    assert (how, whole) == (NOT_BEGUN, False)
    assert board.cleaned_up
    assert "Measure" not in board.heard
    assert phase in ("open", "start") or board.ended.done()
    assert not (tmp_path / "attempt-000" / "attempt.json").exists()


@pytest.mark.parametrize("phase", ["WarmUp", "idle_before"])
def test_in_warm_up_and_rest_an_interrupt_is_heeded_before_anything_is_measured(tmp_path: Path, phase: str) -> None:
    how, board, whole = play(tmp_path, phase, interrupt)
    assert (how, whole) == (AFTER_REQUEST, False)
    assert board.cancelled.is_set()
    assert board.heard[-1] == phase
    assert not (tmp_path / "attempt-000" / "attempt.json").exists()


def test_an_interrupted_measurement_is_not_a_whole_repeat_and_its_record_is_closed(tmp_path: Path) -> None:
    how, board, whole = play(tmp_path, "Measure", interrupt)
    assert (how, whole) == (AFTER_REQUEST, False)
    assert board.heard[-2:] == ["Measure", "Finish"]
    assert not (tmp_path / "attempt-000" / "attempt.json").exists()


def test_a_repeat_interrupted_at_its_last_request_is_finished_in_full(tmp_path: Path) -> None:
    how, board, whole = play(tmp_path, "Measure", interrupt, at_request=len(SAMPLES))
    assert (how, whole) == (AFTER_REQUEST, True)
    assert board.heard[-3:] == ["Measure", "idle_after", "Finish"]
    assert (tmp_path / "attempt-000" / "attempt.json").exists()


@pytest.mark.parametrize("phase", ["idle_after", "Finish"])
def test_a_repeat_whose_requests_are_all_measured_is_not_thrown_away(tmp_path: Path, phase: str) -> None:
    def interrupt_and_release(orchestrator: Orchestrator, board: Board) -> str:
        how = orchestrator.cancel()
        board.released.set()
        return how

    how, board, whole = play(tmp_path, phase, interrupt_and_release)
    assert (how, whole) == (FINISHED_FIRST, True)
    assert not board.cancelled.is_set()
    assert (tmp_path / "attempt-000" / "attempt.json").exists()


PHASES = ["open", "start", "hello", "push", "Load", "WarmUp", "idle_before", "Measure", "idle_after", "Finish"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_interrupt_stops_now_in_every_phase(tmp_path: Path, phase: str) -> None:
    async def scenario() -> Board:
        board = Board(phase)
        orchestrator = Orchestrator(RUN, lambda name, done, total: None, {"board": board})
        running = asyncio.ensure_future(orchestrator.attempt(attempt_in(tmp_path)))
        await board.there.wait()
        running.cancel()  # as a campaign does at its second interrupt
        with pytest.raises(asyncio.CancelledError):
            await running
        return board

    board = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert phase in ("open", "start") or board.ended.done()
    assert not (tmp_path / "attempt-000" / "attempt.json").exists()


class Lost(Board):
    """A node whose connection breaks in being let go of."""

    async def open(self, step: Step = unwatched) -> None:
        try:
            await super().open(step)
        except asyncio.CancelledError:
            raise DeployError("board: the connection was lost") from None


def test_a_node_that_fails_in_being_let_go_of_is_no_failure(tmp_path: Path) -> None:
    async def scenario() -> bool:
        board = Lost("open")
        orchestrator = Orchestrator(RUN, lambda name, done, total: None, {"board": board})
        running = asyncio.ensure_future(orchestrator.attempt(attempt_in(tmp_path)))
        await board.there.wait()
        orchestrator.cancel()
        return await running

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) is False


def metered(attempt: Attempt, **cooldown: Any) -> Attempt:
    asked = documents.CooldownDocument(within_c=2.0, at_most_s=60.0)
    board = records.profile("board", "host", [records.INA_POWER])
    return replace(attempt, participants=participants([("edge", board)]), cooldown=asked, **cooldown)


def play_metered(folder: Path, dwells: str, **cooldown: Any) -> Board:
    async def scenario() -> Board:
        board = Board(dwells)
        orchestrator = Orchestrator(RUN, lambda name, done, total: None, {"board": board})
        running = asyncio.ensure_future(orchestrator.attempt(metered(attempt_in(folder), **cooldown)))
        await asyncio.wait({running, asyncio.ensure_future(board.there.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            orchestrator.cancel()
        await running
        return board

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_an_interrupt_while_a_board_cools_down_drops_the_attempt_at_once(tmp_path: Path) -> None:
    board = play_metered(tmp_path, "CoolDown")
    assert board.heard == ["Load", "CoolDown"]
    assert not (tmp_path / "attempt-000" / "attempt.json").exists()


def test_a_measured_board_cools_down_before_its_warm_up_to_what_it_was_and_that_is_on_record(tmp_path: Path) -> None:
    assert play_metered(tmp_path, "", as_warm_as={"board": {"cpu": 39.0}}).heard[:3] == ["Load", "CoolDown", "WarmUp"]
    told = read_document(tmp_path / "attempt-000" / "attempt.json", documents.AttemptRecord).nodes["board"].cooling
    assert told == noderecord.Cooling(waited_s=1.0, temperature_c={"cpu": 40.0}, as_warm_as={"cpu": 39.0})


def test_without_an_interrupt_a_repeat_is_measured_whole(tmp_path: Path) -> None:
    how, board, whole = play(tmp_path, "", lambda orchestrator, board: None)
    assert (how, whole) == (None, True)
    assert board.heard == ["Load", "WarmUp", "idle_before", "Measure", "idle_after", "Finish"]
