"""`testbed check`: whether nodes can measure what their profiles promise, and what to do where they cannot."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from devices.base.errors import DeviceError
from devices.profile import Profile, load_profile
from testbed.deploy.deployer import Claim, Deployer, Step, unwatched
from testbed.deploy.reach import deployer
from testbed.errors import DeployError, LoginError, TestbedError
from testbed.experiment.spec import Deadlines
from testbed.link.clock import estimate
from testbed.link.messages import WorkerStart
from testbed.orchestrator import ControlHub, Worker
from testbed.orchestrator.participants import participants
from testbed.probe import probe
from testbed.worker.check.answer import CheckAnswer, CheckLine, CheckOrder

MODULE = "testbed.worker.check"
DEADLINE_S = 300.0
"""TensorRT takes a minute or more to build an engine on a small board."""
DEADLINES = Deadlines()
"""As long as a run waits by default: a node that is too slow here is too slow there."""
GOODBYE_S = 5.0
BOUND_WARNING_NS = 5_000_000
"""Of a clock offset: half a round trip, so more than this is a slow path to the node, or a busy node."""


class NodeCheck(msgspec.Struct, frozen=True):
    """One node and everything that was looked at."""

    node: str
    lines: list[CheckLine]

    @property
    def failed(self) -> bool:
        """Whether a run could not measure what the profile promises."""
        return any(line.state == "failed" for line in self.lines)


def check(
    paths: Sequence[Path], on_node: Callable[[str], None] = lambda node: None, step: Step = unwatched
) -> Iterator[NodeCheck]:
    """Check one profile after the other; they may be the same machine.

    Args:
        paths: profiles, devices/*.yaml.
        on_node: told which node is looked at next.
        step: told what is being done on that node.
    """
    for path in paths:
        on_node(str(path))
        try:
            profile = load_profile(path)
        except DeviceError as error:
            fix = "correct the line that is named"
            yield NodeCheck(str(path), [CheckLine(state="failed", what="profile", seen=str(error), fix=fix)])
            continue
        yield NodeCheck(profile.name, asyncio.run(_check_node(profile, step)))


async def _check_node(profile: Profile, step: Step) -> list[CheckLine]:
    node = deployer(profile, Claim.of("testbed check"))
    start = time.monotonic()
    try:
        await node.open(step)
        step("", 0, 0)
        answer = await _ask(node, profile)
        how = "this machine" if profile.reach == "local" else f"ssh {profile.reach.ssh}"
        reach = CheckLine(state="ok", what="reach", seen=f"{how}; looked at in {time.monotonic() - start:.1f} s")
        return [reach, await _worker(node, profile), *answer.lines]
    except TestbedError as error:
        return [CheckLine(state="failed", what="reach", seen=str(error), fix=_remedy(profile, error))]
    finally:
        await node.close()


async def _ask(node: Deployer, profile: Profile) -> CheckAnswer:
    order = msgspec.json.encode(CheckOrder(profile=profile, probe=probe())) + b"\n"
    output = await node.run_module(MODULE, order, DEADLINE_S)
    try:
        # The last line: a library may have printed something before it.
        return msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=CheckAnswer)
    except msgspec.MsgspecError as error:
        raise DeployError(f"{profile.name}: {MODULE} printed no answer: {error}") from error


async def _worker(node: Deployer, profile: Profile) -> CheckLine:
    """Start a worker as a run does, and measure the offset of its clock."""
    run = f"check-{uuid.uuid4().hex[:8]}"
    (played,) = participants([("edge", profile)])
    with TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        async with ControlHub(run, [played.id]) as hub:
            started = time.monotonic()
            worker: Worker | None = None
            try:
                start = WorkerStart(
                    control_endpoint=hub.endpoint,
                    control_public=hub.keys.public,
                    keys=hub.client_keys[played.id],
                    node=played.id,
                    silence_s=DEADLINES.silence_s,
                    root=profile.root,
                )
                process = await node.start(run, start, Path(folder) / "worker.log")
                worker = hub.worker(played, process, DEADLINES.silence_s)
                await worker.hello(DEADLINES.start_s)
                ready_s = time.monotonic() - started
                exchanges, _ = await worker.exchange_clocks()
                offset = estimate(exchanges)
            except TestbedError as error:
                return CheckLine(state="failed", what="worker", seen=str(error), fix=_remedy(profile, error))
            finally:
                if worker is not None:
                    await worker.dismiss(GOODBYE_S)
                    with contextlib.suppress(TestbedError):  # it recorded nothing; this clears its folder on the node
                        await node.fetch(run, played.id, Path(folder))
    seen = (
        f"answers {ready_s:.1f} s after its start; its clock is ahead of this machine's by "
        f"{offset.offset_ns / 1e6:.2f} ± {offset.bound_ns / 1e6:.2f} ms"
    )
    if offset.bound_ns > BOUND_WARNING_NS:
        fix = "one-way delays will be that unsure; is the network or the node busy?"
        return CheckLine(state="warning", what="worker", seen=seen, fix=fix)
    return CheckLine(state="ok", what="worker", seen=seen)


def _remedy(profile: Profile, error: TestbedError) -> str:
    """What to do that the error does not say itself."""
    python, said = profile.python, str(error)
    if "left changed by" in said:
        return "put it back by hand, then check again"
    lacks = re.search(r"No module named '?(\w+)", said)
    if lacks and lacks[1] in sys.stdlib_module_names - {"venv", "ensurepip"}:
        return f"that Python lacks a part of itself, {lacks[1]}: name another as `python:` in the profile"
    if profile.reach != "local":
        unsaid = isinstance(error, LoginError) and "`ssh " not in said
        return f"does `ssh {profile.reach.ssh} true` work without a question? See docs/hardware.md" if unsaid else ""
    if python and lacks:
        packages = "numpy pyzmq msgspec PyYAML onnxruntime"
        return f"leave out `python:`, for this machine's own has them all, or: {python} -m pip install {packages}"
    started = "cannot start" not in said and f"{MODULE} failed" not in said
    return f"is `python: {python}` in the profile a Python >= 3.10?" if python and not started else ""
