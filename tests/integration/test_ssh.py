"""Campaigns on nodes behind real sshd: deployed from nothing, measured, and nothing left behind, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from devices.profile import load_profile
from testbed.deploy.client import StewardClient
from testbed.deploy.deployer import Claim
from testbed.deploy.ssh import SshDeployer
from testbed.errors import ConnectionLost, DeployError
from testbed.record.reader import read_campaign
from testbed.steward.inbox import SILENCE_S
from tests.sshd import Lan, Node, lan, marked, missing

pytestmark = pytest.mark.timeout(300)

ROOT = os.geteuid() == 0
ROOT_FOLDER = Path(__file__).parents[2]
QUICKSTART = ROOT_FOLDER / "experiments" / "quickstart.yaml"
RECIPE = ROOT_FOLDER / "experiments" / "train" / "digits-resnet18.yaml"
ANN = ROOT_FOLDER / "experiments" / "train" / "digits-resnet18-ann.yaml"
PLUGINS = ("lab_codec.py", "lab_policy.py", "lab_power.py")
"""Of docs/extending.md."""

MODELS = {"plain": {"recipe": str(RECIPE), "variant": "plain"}}
SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed", "exit": {"threshold": 0.9}}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    if lacks := missing(namespaces=ROOT):
        if os.environ.get("CI") == "true":
            pytest.fail(lacks)
        pytest.skip(lacks)
    with lan(tmp_path_factory.mktemp("lan"), namespaces=ROOT) as found:
        yield found


@pytest.fixture
def bench(lab, nodes: Lan, monkeypatch) -> Iterator[Bench]:
    nodes.write_config()
    monkeypatch.setenv("HOME", str(nodes.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    lab.environment |= {"HOME": str(nodes.home)}
    lab.environment.pop("SSH_AUTH_SOCK", None)
    yield Bench(lab, nodes)
    nodes.write_config()


class Bench:
    """A lab whose edge and cloud are nodes behind sshd."""

    def __init__(self, lab, nodes: Lan) -> None:
        self.lab, self.nodes = lab, nodes
        self.slowdown = 30.0

    def device(self, node: Node, **changes) -> Path:
        like, slow = ("emulated-orin-nano", self.slowdown) if node.name == "edge" else ("host", None)
        keys = {
            "reach": {"ssh": node.name},
            "python": sys.executable,
            "address": node.address,
            "folder": str(self.lab.folder / f"node-{node.name}"),
        }
        return self.lab.device(f"bench-{node.name}", like, slow, **keys | changes)

    def experiment(self, *cells, edge=(), cloud=(), **keys) -> Path:
        devices = {
            "edge": self.device(self.nodes.edge, **dict(edge)),
            "cloud": self.device(self.nodes.cloud, **dict(cloud)),
        }
        return self.lab.experiment(*(cells or (SPLIT,)), **devices, models=MODELS, **keys)

    def start(self, experiment: Path, *words: str):
        return self.lab.start("run", experiment, "--results", self.lab.results, "--no-report", *words)

    def run(self, experiment: Path, *words: str):
        return self.lab.run("run", experiment, "--results", self.lab.results, "--no-report", *words)

    def deployer(self, name: str, **changes) -> SshDeployer:
        """One node, reached from this process on behalf of another campaign."""
        profile = load_profile(self.device(getattr(self.nodes, name), **changes))
        return SshDeployer(profile, Claim("somebody@here", "other", f"other-{os.getpid()}"))

    def open(self, name: str, **changes) -> None:
        """Reach one node, and let go of it."""

        async def reach() -> None:
            deployer = self.deployer(name, **changes)
            try:
                await deployer.open()
            finally:
                await deployer.close()

        asyncio.run(reach())

    def workers(self, name: str) -> list[int]:
        commands = marked(getattr(self.nodes, name).mark)
        return [pid for pid, command in commands.items() if f"testbed.worker --node bench-{name} " in command]

    def measured(self, name: str) -> bool:
        """Whether a worker has recorded some requests."""
        logs = (self.lab.folder / f"node-{name}" / "runs").glob("*/bench-edge/requests.jsonl")
        return any(log.read_bytes().count(b"\n") >= 3 for log in logs)

    def wait_until_nothing_is_left(self, seconds: float = 8) -> None:
        self.lab.wait_for("no process is left on a node", lambda: not self.nodes.left(), seconds)


def test_campaign_over_ssh_is_deployed_from_nothing_with_its_plug_ins_and_answers_as_a_local_one(bench, lab) -> None:
    bench.slowdown = 60.0
    page = (ROOT_FOLDER / "docs" / "extending.md").read_text()
    plugins = {name: re.search(rf"# {name}\n(.*?)```", page, re.DOTALL)[1] for name in PLUGINS}
    for name, text in plugins.items():
        (lab.folder / name).write_text(text)
    cell = SPLIT | {"codec": "bytes", "exit": {"policy": "duel", "threshold": 0.9}}
    wave = [{"source": "wave", "mean_mw": 4000, "rate_hz": 25}]
    experiment = bench.experiment(cell, cloud={"power": wave}, repeats=2, plugins=list(plugins))

    done = bench.run(experiment)

    assert done.code == 0, done.text
    (remote,) = lab.cells()
    assert remote.complete
    assert remote.status.repeats_done == [0, 1]
    bench.wait_until_nothing_is_left()
    for node in ("edge", "cloud"):
        assert not list((lab.folder / f"node-{node}" / "runs").iterdir())
    assert list((lab.folder / "node-edge" / "outputs").iterdir())  # the cloud is no emulated node
    assert not list((lab.folder / "node-cloud" / "outputs").iterdir())
    assert set(zip(remote.power["node"], remote.power["source"], strict=True)) == {
        ("bench-edge", "emulated"),
        ("bench-cloud", "wave"),
    }
    answers = ["sample_index", "prediction", "exit_timestep"]
    # The first pass: what is over too soon for its power to be told is asked again.
    remotely = remote.requests.query("repeat == 0")[answers].head(20).to_numpy().tolist()

    experiment = lab.experiment(cell, models=MODELS, plugins=list(plugins))
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")

    assert done.code == 0, done.text
    (local,) = lab.cells()
    assert local.requests[answers].head(20).to_numpy().tolist() == remotely


def test_cells_of_the_quickstart_run_across_two_nodes(bench, lab) -> None:
    bench.slowdown = 6.0  # the shipped board is too fast for a host that runs tests beside
    edge, cloud = bench.device(bench.nodes.edge), bench.device(bench.nodes.cloud)
    # On the path as it is: links are tried elsewhere, and this path is as fast as its busy host lets it be.
    changes = ["repeats=1", "scenario.requests=60", "link=none"]
    changes += [f"models.coded.recipe={RECIPE}", f"models.ann.recipe={ANN}"]  # the first is exported already
    words = [word for change in changes for word in ("--set", change)]

    done = lab.run("run", QUICKSTART, "--edge", edge, "--cloud", cloud, "--results", lab.results, *words)

    assert done.code == 0, done.text
    campaign = lab.results / "quickstart"
    cells = read_campaign(campaign, pytest.fail)
    assert len(cells) == len(yaml.safe_load(QUICKSTART.read_text())["cells"])
    for cell in cells:
        assert cell.complete
        assert set(cell.power["node"]) == {"bench-edge"}
        assert (cell.requests["outcome"] == "ok").all()
    assert (campaign / "report.html").exists()
    bench.wait_until_nothing_is_left()


def test_cut_connection_fails_its_repeat_alone_and_what_was_recorded_comes_back(bench, lab) -> None:
    running = bench.start(bench.experiment(repeats=2))
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))

    for pid in bench.nodes.edge.sessions():
        os.kill(pid, signal.SIGKILL)

    done = running.outcome()
    assert done.code == 1, done.text
    (cell,) = lab.cells()
    (reason,) = cell.status.reasons
    assert reason.startswith("repeat 0: edge bench-edge, measuring: bench-edge: the SSH connection was lost"), reason
    assert cell.status.repeats_done == [1]
    assert lab.recorded(cell.folder, "raw/repeat-00/*/bench-edge/requests.jsonl") >= 3
    bench.wait_until_nothing_is_left()


@pytest.mark.skipif(not ROOT, reason="needs a cable of its own, and so a network namespace")
def test_cut_cable_ends_the_worker_within_its_limit_and_the_steward_within_his(bench, lab) -> None:
    # The request that runs ends first, so its limit counts as well.
    limits = ("--set", "deadlines.silence_s=1.5", "--set", "scenario.timeout_ms=2000")
    running = bench.start(bench.experiment(), *limits)
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))

    bench.nodes.edge.link("down")  # no FIN ever arrives
    try:
        lab.wait_for("the edge's worker is gone", lambda: not bench.workers("edge"), 1.5 + 2 + 3)
        done = running.outcome()
        assert done.code == 1, done.text
        (cell,) = lab.cells()
        assert "bench-edge, measuring: silent for" in cell.status.reasons[0]
        bench.wait_until_nothing_is_left(SILENCE_S + 8)
    finally:
        bench.nodes.edge.link("up")
    # What the campaign that is over could not fetch is still there, and the next contact finds the node free.
    assert list((lab.folder / "node-edge" / "runs").glob("*/bench-edge/requests.jsonl"))
    bench.open("edge")


def test_killed_orchestrator_leaves_nothing_on_its_nodes_and_no_lease(bench, lab) -> None:
    running = bench.start(bench.experiment())
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))

    running.signal(signal.SIGKILL)

    bench.wait_until_nothing_is_left()
    for name in ("edge", "cloud"):
        bench.open(name)


@pytest.mark.parametrize(
    ("number", "seen"), [(signal.SIGKILL, "was ended by signal 9"), (signal.SIGSTOP, "silent for")]
)
def test_killed_or_stopped_worker_fails_its_cell_and_is_not_left(bench, lab, number, seen) -> None:
    running = bench.start(bench.experiment(), "--set", "deadlines.silence_s=1.5")
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))
    (victim,) = bench.workers("edge")

    os.kill(victim, number)

    done = running.outcome()
    assert done.code == 1, done.text
    (cell,) = lab.cells()
    assert seen in cell.status.reasons[0]
    assert len(cell.requests) >= 3
    bench.wait_until_nothing_is_left()


def test_killed_steward_takes_a_stopped_worker_with_it(bench, lab) -> None:
    running = bench.start(bench.experiment())
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))
    (worker,) = bench.workers("edge")
    os.kill(worker, signal.SIGSTOP)
    (steward,) = (pid for pid, command in marked(bench.nodes.edge.mark).items() if "testbed.steward" in command)

    os.kill(steward, signal.SIGKILL)

    assert running.outcome().code == 1
    bench.wait_until_nothing_is_left()


def test_second_campaign_is_told_who_holds_the_node(bench, lab) -> None:
    running = bench.start(bench.experiment(scenario={"requests": 400, "warmup": 1}))
    lab.wait_for("the edge measures", lambda: bench.measured("edge"))

    with pytest.raises(DeployError) as refused:
        bench.open("edge")

    user = f"{getpass.getuser()}@{socket.gethostname()}"
    assert f"bench-edge: in use by {user} (experiment lab, since 20" in str(refused.value)
    assert "ends at 20" in str(refused.value)
    assert running.process.poll() is None
    running.signal(signal.SIGINT)
    running.outcome()
    bench.open("edge")
    bench.wait_until_nothing_is_left()


def test_stale_worker_of_an_older_run_is_ended_at_the_next_contact_and_nobody_else(bench, lab) -> None:
    command = [sys.executable, "-m", "testbed.worker", "--node", "bench-edge", "--run"]
    keys = {"stdin": subprocess.PIPE, "cwd": ROOT_FOLDER, "env": lab.environment}
    stale, others = (subprocess.Popen([*command, run], **keys) for run in ("older", "somebody-elses"))
    try:
        stale.send_signal(signal.SIGSTOP)
        (lab.folder / "node-edge" / "runs" / "older" / "bench-edge").mkdir(parents=True)

        bench.open("edge")

        assert stale.wait(5) == -signal.SIGKILL
        assert others.poll() is None
    finally:
        for process in (stale, others):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("changed", [False, True])
def test_host_key_that_is_not_trusted_is_refused_with_what_to_do(bench, changed) -> None:
    edge, known = bench.nodes.edge, bench.nodes.home / ".ssh" / "known_hosts"
    known.write_text(f"{edge.known_as} {bench.nodes.cloud.public_key}\n" if changed else "")
    config = bench.nodes.home / ".ssh" / "config"
    # ssh itself would be told by these to trust anything.
    config.write_text(f"StrictHostKeyChecking no\n{config.read_text()}")

    with pytest.raises(DeployError) as refused:
        bench.open("edge")

    assert str(refused.value).startswith(
        f"bench-edge: {edge.known_as} shows another host key than" if changed else "bench-edge: the host key of"
    )
    assert "with `ssh edge` once" in str(refused.value)
    assert ("ssh-keygen -R" in str(refused.value)) == changed
    config.write_text(f"UserKnownHostsFile none\n{config.read_text()}")
    with pytest.raises(DeployError, match="the host key of"):
        bench.open("edge")
    assert not bench.nodes.left()


def test_jump_host_is_gone_through_and_its_key_checked_too(bench) -> None:
    # By way of the edge, as an address that is not in the configuration but for its jump.
    cloud = bench.nodes.cloud
    known = bench.nodes.home / ".ssh" / "known_hosts"
    log = bench.nodes.edge.folder / "sshd.log"
    before = log.read_text().count("Accepted publickey")
    bench.nodes.write_config("Match originalhost cloud\n  ProxyJump edge\n")
    bench.open("cloud")
    assert log.read_text().count("Accepted publickey") == before + 1
    known.write_text(f"{cloud.known_as} {cloud.public_key}\n")
    with pytest.raises(DeployError, match="the host key of"):
        bench.open("cloud")


def test_key_that_only_an_agent_holds_is_used(bench, lab, monkeypatch) -> None:
    socket_path = lab.folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        lab.wait_for("the agent listens", socket_path.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
        config = bench.nodes.home / ".ssh" / "config"
        config.write_text(re.sub(".*IdentityFile.*\n", "", config.read_text()))
        with pytest.raises(DeployError, match="refuses the login"):
            bench.open("edge")
        subprocess.run(["ssh-add", "-q", str(bench.nodes.home / ".ssh" / "id")], check=True)

        bench.open("edge")
    finally:
        agent.kill()
        agent.wait()


def test_login_that_is_refused_says_which_and_what_to_do(bench) -> None:
    keys = bench.nodes.edge.folder / "authorized_keys"
    kept = keys.read_text()
    keys.write_text("")
    try:
        with pytest.raises(DeployError, match=r"bench-edge: .*@.* refuses the login .*ssh-copy-id edge"):
            bench.open("edge")
    finally:
        keys.write_text(kept)


def test_node_that_is_not_there_is_named(bench) -> None:
    bench.nodes.write_config("Host edge\n  HostName 127.0.0.1\n  Port 1\n")
    with pytest.raises(DeployError, match=r"bench-edge: .*@127.0.0.1:1 cannot be reached"):
        bench.open("edge")


def test_node_without_a_python_that_will_do_is_told_so(bench, lab) -> None:
    with pytest.raises(DeployError, match=r"bench-edge: python3\.99 does not start there \(.*not found\)"):
        bench.open("edge", python="python3.99")
    old = lab.folder / "python3.8"
    old.write_text("#!/bin/sh\necho Welcome to the lab\necho neucodex 3.8\nexit 9\n")
    old.chmod(0o755)
    with pytest.raises(DeployError, match=r"is Python 3\.8; a node needs 3\.10 or newer"):
        bench.open("edge", python=str(old))


@pytest.mark.skipif(not ROOT, reason="needs a small file system of its own")
@pytest.mark.parametrize(
    ("options", "seen"), [("size=200k", "has room for"), ("size=20m,nr_inodes=20", "No space left on device")]
)
def test_full_disk_is_an_error_that_names_the_node_and_leaves_nothing_half(bench, lab, options, seen) -> None:
    edge = bench.nodes.edge
    seen_there = edge.mount(lab.folder / "small", options)
    try:
        with pytest.raises(DeployError, match=f"bench-edge: .*{seen}.*room"):
            bench.open("edge", folder=str(lab.folder / "small"))
        bench.wait_until_nothing_is_left()
        assert not list(seen_there.glob("**/*.part"))
        assert not list((seen_there / "code").iterdir())
    finally:
        edge.unmount(lab.folder / "small")


@pytest.mark.skipif(not ROOT, reason="needs a small file system of its own")
def test_disk_that_fills_up_during_a_run_fails_its_cell_and_keeps_what_was_measured(bench, lab) -> None:
    edge, small = bench.nodes.edge, lab.folder / "small"
    seen_there = edge.mount(small, "size=30m")
    try:
        running = bench.start(bench.experiment(edge={"folder": str(small)}))
        lab.wait_for(
            "the edge measures",
            lambda: any(
                log.read_bytes().count(b"\n") >= 3 for log in seen_there.glob("runs/*/bench-edge/requests.jsonl")
            ),
        )
        with (seen_there / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:  # until it is full
                filler.write(bytes(1 << 12))

        done = running.outcome()

        assert done.code == 1, done.text
        (cell,) = lab.cells()
        (reason,) = cell.status.reasons
        assert re.search(r"bench-edge, measuring: .*(is the disk full\?|No space left)", reason), reason
        assert len(cell.requests) >= 3
        bench.wait_until_nothing_is_left()
    finally:
        edge.unmount(small)


def test_interrupted_transfer_does_not_count_and_nothing_is_sent_twice(bench, lab, monkeypatch) -> None:
    node, source = lab.folder / "node-edge", lab.folder / "source"
    source.mkdir()
    content = {name: name * 1000 for name in "abc"}
    for name, text in content.items():
        (source / name).write_text(text)
    bench.open("edge")  # what the testbed itself needs is there then
    asking, sent, cut = StewardClient.ask, [], [True]

    async def ask(self, do, data=None, **what):
        if do == "put":
            sent.append(what["sha256"])
            if len(sent) == 2 and cut.pop():  # the first file is through, this one never gets to its end
                for pid in bench.nodes.edge.sessions():
                    os.kill(pid, signal.SIGKILL)
        return await asking(self, do, data, **what)

    monkeypatch.setattr(StewardClient, "ask", ask)

    async def push() -> str:
        deployer = bench.deployer("edge")
        await deployer.open()
        try:
            return await deployer.push(source, "a-digest")
        finally:
            await deployer.close()

    with pytest.raises(ConnectionLost):
        asyncio.run(push())
    assert not list((node / "folders").iterdir())
    folder = Path(asyncio.run(push()))

    assert {file.name: file.read_text() for file in folder.iterdir()} == content
    assert len(sent) == 4
    assert len(set(sent)) == 3  # the second was begun twice
    asyncio.run(push())
    assert len(sent) == 4
