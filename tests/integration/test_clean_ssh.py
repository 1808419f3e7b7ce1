"""What is kept on nodes behind real sshd: told while it is sent, removed when asked for, and by itself when unused."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from testbed.steward.kept import UNUSED_DAYS
from tests.integration.test_ssh import bench, nodes

__all__ = ["bench", "nodes"]  # fixtures

pytestmark = pytest.mark.timeout(300)


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * 86400,) * 2)


def lost_run(node: Path, run: str, content: bytes = b"") -> Path:
    folder = node / "runs" / run / "bench-edge"
    folder.mkdir(parents=True)
    (folder / "requests.jsonl").write_bytes(content)
    return folder


def test_a_first_deployment_tells_each_step_and_its_bytes_and_a_second_has_none(bench, lab) -> None:
    told: list[tuple[str, int, int]] = []
    source = lab.folder / "source"
    source.mkdir()
    for name in "ab":
        (source / name).write_bytes(name.encode() * 400_000)

    async def deploy() -> None:
        told.clear()
        deployer = bench.deployer("edge")
        try:
            await deployer.open(lambda *step: told.append(step))
            await deployer.push(source, "digest", lambda *step: told.append(step))
        finally:
            await deployer.close()

    asyncio.run(deploy())
    steps = list(dict.fromkeys(what for what, _, _ in told))
    assert steps == ["connecting", "sending the testbed", "making an environment", "sending model and samples"]
    sent = [(done, of) for what, done, of in told if what == steps[-1]]
    assert sent == sorted(sent)
    assert (sent[0], sent[-1]) == ((0, 800_000), (800_000, 800_000))
    assert len(sent) >= 4
    asyncio.run(deploy())
    assert told == [("connecting", 0, 0)]


def test_what_no_campaign_used_for_long_goes_at_the_next_contact_which_says_so(bench, lab, caplog) -> None:
    node = lab.folder / "node-edge"
    bench.open("edge")
    (environment,) = (node / "environments").iterdir()
    (code,) = (node / "code").iterdir()
    older = node / "code" / "older"
    older.mkdir()
    old, recent = lost_run(node, "old", b"rows"), lost_run(node, "recent", b"rows")
    for path in (environment, code, older, old.parent):
        age(path, UNUSED_DAYS + 1)

    with caplog.at_level(logging.INFO, "testbed"):
        bench.open("edge")

    assert environment.exists()  # this campaign uses them
    assert code.exists()
    assert not older.exists()
    assert not old.parent.exists()
    assert recent.exists()
    assert f"bench-edge: removed from {node} what is unused for {UNUSED_DAYS} days" in caplog.text
    assert "runs 0.0 MB (1)" in caplog.text


def test_clean_leaves_nothing_but_what_was_recorded_and_that_only_if_it_is_not_asked_for(bench, lab) -> None:
    node, board = lab.folder / "node-edge", lab.folder / "board"
    bench.open("edge")
    device = bench.device(bench.nodes.edge, root=str(board))
    lost_run(node, "empty")
    record = lost_run(node, "lost", bytes(2_000_000))
    journal = board / "var/lib/neucodex-testbed/1.journal"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"type":"journal","owner":"run 7","boot_id":null,"t_unix":0}\n')

    done = lab.run("clean", device)

    assert done.code == 0, done.text
    removed, kept, changed = done.out.splitlines()
    assert removed.startswith("bench-edge: removed ")
    assert f"MB from {node}: code 1." in removed
    assert kept.startswith(f"bench-edge: kept {record}: 2.0 MB that a lost run recorded and nobody fetched")
    assert changed.startswith(f"bench-edge: a setting is left changed, see {journal} (run 7); testbed check puts it")
    assert journal.exists()
    said = [line.split(" ", 2)[2] for line in done.err.splitlines()]  # after its day and its time
    assert said == [f"{device}: connecting", f"{device}: removing"]
    assert {path.name for path in node.iterdir()} == {"neucodex.lease", "runs"}

    done = lab.run("clean", device, "--runs")

    assert f"removed 2.0 MB from {node}: runs 2.0 MB (1)" in done.out
    assert [path.name for path in node.iterdir()] == ["neucodex.lease"]
    bench.wait_until_nothing_is_left()
    bench.open("edge")


def test_clean_of_a_node_in_use_refuses_and_goes_on_with_the_next(bench, lab) -> None:
    edge, cloud = bench.device(bench.nodes.edge), bench.device(bench.nodes.cloud)
    bench.open("cloud")

    async def meanwhile():
        user = bench.deployer("edge")
        await user.open()
        try:
            return await asyncio.to_thread(lab.run, "clean", edge, cloud)
        finally:
            await user.close()

    done = asyncio.run(meanwhile())

    assert done.code == 1
    assert "testbed: bench-edge: in use by somebody@here (experiment other, since 20" in done.err
    assert done.err.splitlines()[-1] == "testbed: not cleaned: bench-edge"
    assert "bench-cloud: removed " in done.out
    assert list((lab.folder / "node-edge" / "environments").iterdir())
