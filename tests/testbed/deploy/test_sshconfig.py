"""What ssh_config, known_hosts and key files say, as `ssh` itself reads them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.deploy.knownhosts import known_hosts, parse
from testbed.deploy.sshconfig import Settings, parts, resolve
from testbed.deploy.sshkeys import agent, offered
from tests.sshd import keygen

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here: apt-get install openssh-client")

CONFIG = """
Match originalhost other exec="exit 1"
  User nobody
Host other # a trailing comment
  IdentityFile ~/none # another
Host edge
  HostName 10.0.0.7
  Port 2222
  User me
  RequestTTY force
  ProxyJump you@gate:2200,second
  IdentityFile %d/keys/%h-%r
Host *
  IdentityAgent $LAB_AGENT
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/.ssh of somebody with one key, `id`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / ".ssh"
    folder.mkdir()
    keygen(folder / "id")
    return folder


def write(ssh: Path, config: str | bytes) -> None:
    (ssh / "config").write_bytes(config if isinstance(config, bytes) else config.encode())


def keys(settings: Settings) -> tuple[int, list[str]]:
    async def count() -> tuple[int, list[str]]:
        async with offered(settings) as (found, left_out):
            return len(found), left_out

    return asyncio.run(count())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("orin", {"host": "orin"}),
        ("me@orin:2222", {"username": "me", "host": "orin", "port": 2222}),
        ("me@lab@orin", {"username": "me@lab", "host": "orin"}),
        ("fe80::1", {"host": "fe80::1"}),
        ("me@[fe80::1]:22", {"username": "me", "host": "fe80::1", "port": 22}),
        ("10.0.0.7:22", {"host": "10.0.0.7", "port": 22}),
    ],
)
def test_user_host_and_port_are_told_apart(target, expected) -> None:
    assert parts(target) == expected


def test_lines_that_concern_other_hosts_stop_nobody(ssh, monkeypatch) -> None:
    monkeypatch.setenv("LAB_AGENT", "/run/lab-agent")
    write(ssh, CONFIG)
    edge = asyncio.run(resolve("edge"))
    assert (edge.host, edge.port, edge.user) == ("10.0.0.7", 2222, "me")
    assert edge.jumps == ["you@gate:2200", "second"]
    assert edge.all("identityfile") == [f"{ssh.parent}/keys/10.0.0.7-me"]
    assert agent(edge) == "/run/lab-agent"


def test_a_configuration_that_is_not_utf8_is_read(ssh) -> None:
    write(ssh, b"# Ger\xe4te\nHost edge\n  HostName 10.0.0.7\n")
    assert asyncio.run(resolve("edge")).host == "10.0.0.7"


def test_what_is_typed_comes_before_what_is_configured(ssh) -> None:
    write(ssh, "Host edge\n  User me\n  Port 2222\n")
    found = asyncio.run(resolve("you@edge:22"))
    assert (found.user, found.port) == ("you", 22)


def test_a_jump_host_for_all_hosts_is_not_its_own(ssh) -> None:
    write(ssh, "Host *\n  ProxyJump gate\n")
    assert asyncio.run(resolve("edge")).jumps == ["gate"]
    assert asyncio.run(resolve("gate")).jumps == []
    write(ssh, "Host *\n  ProxyJump gate,me@inner\n")
    assert asyncio.run(resolve("gate")).jumps == []
    assert asyncio.run(resolve("gate:2222")).jumps == ["gate", "me@inner"]


def test_a_configuration_that_ssh_refuses_is_refused_in_its_words(ssh) -> None:
    write(ssh, "Host edge\n  Prot 22\n")
    with pytest.raises(ValueError, match=r"config.*line 2: Bad configuration option: prot"):
        asyncio.run(resolve("edge"))


def test_without_openssh_the_configuration_is_read_all_the_same(ssh, monkeypatch) -> None:
    write(ssh, "Host edge\n  HostName 10.0.0.7\n  ProxyJump gate\n  IdentityFile ~/none\n  IdentitiesOnly yes\n")
    monkeypatch.setenv("PATH", "")
    found = asyncio.run(resolve("edge"))
    assert (found.host, found.jumps, found.get("identitiesonly")) == ("10.0.0.7", ["gate"], "yes")
    assert found.known_files[0] == ssh / "known_hosts"


def test_key_files_that_are_missing_or_no_openssh_keys_are_passed_over(ssh) -> None:
    (ssh / "putty").write_text("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n")
    names = [f"{ssh}/no_such_key", f"{ssh}/putty", f"{ssh}/id"]
    assert keys(Settings("edge", {"identityfile": tuple(names)})) == (1, [f"{ssh}/putty"])
    assert keys(Settings("edge", {"identityfile": tuple(names[:2])})) == (0, [f"{ssh}/putty"])


def test_identities_only_leaves_out_what_else_the_agent_holds(ssh) -> None:
    keygen(ssh / "other")
    socket = ssh / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()  # it listens
        for name in ("id", "other"):
            subprocess.run(
                ["ssh-add", "-q", str(ssh / name)], env={"SSH_AUTH_SOCK": str(socket)}, check=True, timeout=10
            )
        (ssh / "id").unlink()  # its public half names the agent's
        said = {"identityfile": (f"{ssh}/id",), "identityagent": (str(socket),)}
        assert keys(Settings("edge", said)) == (2, [])
        assert keys(Settings("edge", {**said, "identitiesonly": ("yes",)})) == (1, [])
        assert keys(Settings("edge", {**said, "identityagent": ("none",)})) == (0, [])
    finally:
        process.kill()
        process.communicate()


def public(ssh: Path) -> bytes:
    return b" ".join((ssh / "id.pub").read_bytes().split()[:2])


@pytest.mark.parametrize(
    "change",
    [
        lambda line: b"# M\xfcnchen lab\n" + line,
        lambda line: line.rstrip() + b" J\xf6rg\n",
        lambda line: line + b"10.0.0.9\n",
        lambda line: line + b"10.0.0.9 ssh-ed25519 AAAAC3Nz",
        lambda line: b"@nonsense x y z\n|1|cut|off ssh-rsa x\n" + line,
    ],
)
def test_a_line_that_cannot_be_read_hides_no_other(ssh, change) -> None:
    content = change(b"10.0.0.7 " + public(ssh) + b"\n")
    known = parse([("known_hosts", content)])
    assert known.trusts_a_key_of(Settings("10.0.0.7", {}))
    assert not known.trusts_a_key_of(Settings("10.0.0.9", {}))


def test_lines_that_were_left_out_are_named(ssh) -> None:
    known = parse([("known_hosts", b"10.0.0.9\n10.0.0.7 " + public(ssh) + b"\n@revoked * ssh-ed25519 cut\n")])
    assert known.left_out == ("known_hosts:1", "known_hosts:3")


def test_a_revoked_key_stays_revoked_whatever_its_comment(ssh) -> None:
    known = parse([("known_hosts", b"@revoked * " + public(ssh) + b" J\xf6rg\n")])
    assert len(known.keys.match("10.0.0.7", "", None)[2]) == 1


def test_keys_that_a_command_prints_are_trusted(ssh) -> None:
    command = f'/bin/sh -c \'echo "$1 $(cut -d" " -f1,2 {ssh}/id.pub)"\' - %H'
    write(ssh, f"Host *\n  UserKnownHostsFile none\n  KnownHostsCommand {command}\n")
    settings = asyncio.run(resolve("10.0.0.7"))
    known = asyncio.run(known_hosts(settings))
    assert known.trusts_a_key_of(settings)
    assert "KnownHostsCommand" in known.where


def test_no_file_of_known_hosts_means_no_trust(ssh) -> None:
    (ssh / "known_hosts").write_bytes(b"* " + public(ssh) + b"\n")
    write(ssh, "Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n")
    settings = asyncio.run(resolve("edge"))
    assert not asyncio.run(known_hosts(settings)).trusts_a_key_of(settings)
