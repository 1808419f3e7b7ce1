"""A worker whose answer cannot be sent says so at once, over a real control plane, and takes the next order."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.deploy.local import LocalWorker
from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.messages import WorkerStart
from testbed.orchestrator import ControlHub, Participant
from tests.made import records

ROOT = Path(__file__).parents[3]
RUN, SILENCE_S = "r1", 20.0
BOARD = Participant("board", "edge", records.profile("board"))


def answers(folder: Path, how: Sequence[str], aside: bool = False) -> list[Any]:
    """What a worker's orders are answered with; of one that fails, the error."""

    async def ask() -> list[Any]:
        async with ControlHub(RUN, [BOARD.id]) as hub:
            start = WorkerStart(
                control_endpoint=hub.endpoint,
                control_public=hub.keys.public,
                keys=hub.client_keys[BOARD.id],
                node=BOARD.id,
                silence_s=SILENCE_S,
                root=str(folder),
            )
            with (folder / "log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.testbed.worker.unsendable", "--node", BOARD.id, "--run", RUN),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT), "HOW": json.dumps(how)},
                )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(start) + b"\n")
            worker = hub.worker(BOARD, LocalWorker(process, folder / "log"), SILENCE_S)
            try:
                await worker.hello(60)
                return [await asyncio.wait_for(answer(worker), 60) for _ in how]
            finally:
                await worker.dismiss(10)

    async def answer(worker: Any) -> Any:
        try:
            return await worker.ask(messages.Finish(), "closing its record")
        except WorkerError as error:
            return str(error)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("large", r"CanShape of \d+ bytes is larger than a control message may be \(\d+\)$"),
        ("no text", r"CanShape cannot be sent: .*surrogates not allowed$"),
        ("large error", r"it x{9997}…$"),
        ("error of no text", r"caf\\udce9\.yaml: cannot be read$"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_fault_and_the_next_order_is_taken(tmp_path, how, said) -> None:
    first, second = answers(tmp_path, [how, "well"])
    assert re.match(f"edge board, closing its record: {said}", first)
    assert second == messages.Done()


def test_an_answer_as_large_as_a_message_may_be_arrives(tmp_path) -> None:
    (answer,) = answers(tmp_path, ["as large as may be"])
    assert isinstance(answer, messages.CanShape), answer
