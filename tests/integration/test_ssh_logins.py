"""Logins as the field has them: real sshd, and login shells that print, refuse or are of another kind."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator

import pytest

from testbed.deploy.client import StewardClient
from testbed.deploy.connect import connect
from testbed.errors import DeployError
from tests.sshd import Lan, lan, missing

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    if lacks := missing(namespaces=False):
        pytest.skip(lacks)
    with lan(tmp_path_factory.mktemp("lan"), namespaces=False) as found:
        yield found


@pytest.fixture
def login(nodes: Lan, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    nodes.write_config()
    monkeypatch.setenv("HOME", str(nodes.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield Login(nodes)
    (nodes.edge.folder / "shell").unlink(missing_ok=True)


class Login:
    """The way to the edge: as whom, and through which shell."""

    def __init__(self, nodes: Lan) -> None:
        self.nodes, self.ssh = nodes, nodes.home / ".ssh"
        self.key = (nodes.home / ".ssh" / "id.pub").read_text()

    def through(self, script: str) -> None:
        """Each command of this login goes through a script, which finds it in $SSH_ORIGINAL_COMMAND."""
        shell = self.nodes.edge.folder / "shell"
        shell.write_text(f"#!/bin/sh\n{script}\n")
        shell.chmod(0o755)
        self.keys(f'command="{shell}" {self.key}')

    def keys(self, text: str) -> None:
        (self.nodes.edge.folder / "authorized_keys").write_text(text)

    def ask(self, host: str = "edge", python: str = sys.executable) -> None:
        """Log in, start a steward, hear it answer."""

        async def go() -> None:
            connection = await connect("board", host)
            try:
                steward = await StewardClient.start(connection, "board", python, "x.board")
                await asyncio.wait_for(steward.ask("beat"), 20)
                steward.close()
            finally:
                connection.close()
                await connection.wait_closed()

        try:
            asyncio.run(asyncio.wait_for(go(), 60))
        finally:
            self.keys(self.key)


RUN = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'


@pytest.mark.parametrize(
    "extra",
    [
        "Host *\n  RequestTTY force\n",
        "Host *\n  IdentityFile ~/no_such_key\n",
        "Host elsewhere # a comment\n  IdentityFile ~/x # another\n",
        'Match originalhost elsewhere exec="exit 0"\n  Port 1\n',
        "Host *\n  ForwardAgent yes\n  IdentityAgent $NO_SUCH_VARIABLE\n  RemoteCommand tmux\n",
        "Host *\n  SetEnv LAB=1\n  Compression yes\n  ConnectTimeout 9\n  Ciphers aes128-ctr\n",
    ],
)
def test_lines_of_ssh_config_that_ssh_takes_are_taken(login, extra) -> None:
    login.nodes.write_config(extra)
    login.ask()


def test_a_proxy_command_is_gone_through(login) -> None:
    pipe = f'{sys.executable} -c "{PIPE}" %h %p'
    login.nodes.write_config(f"Host edge\n  ProxyCommand {pipe}\n")
    login.ask()


PIPE = (
    "import os,socket,sys,threading;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
    "threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b'')],daemon=True).start();"
    "[os.write(1,d) for d in iter(lambda:s.recv(65536),b'')]"
)


@pytest.mark.parametrize(
    "prints",
    [
        r"printf '\033]0;lab-orin\007'",
        "printf 'Welcome: '",
        "echo neucodex WORD",
        "i=0; while [ $i -lt 400 ]; do echo a line of the banner; i=$((i+1)); done",
    ],
)
def test_what_a_login_script_prints_is_passed_over(login, prints) -> None:
    login.through(f"{prints}\n{RUN}")
    login.ask()


def test_a_login_without_a_shell_is_not_a_missing_python(login) -> None:
    login.through("echo This account is currently not available.\nexit 1")
    with pytest.raises(
        DeployError, match=r"^board: the login there ends before .*not available.*a shell that runs"
    ) as seen:
        login.ask()
    assert "install Python" not in str(seen.value)


def test_a_python_that_is_not_there_is_named(login) -> None:
    with pytest.raises(DeployError, match=r"^board: python3\.99 does not start there .*install Python 3\.10"):
        login.ask(python="python3.99")


@pytest.mark.parametrize("shell", ["dash", "bash", "zsh", "tcsh", "fish"])
def test_each_login_shell_starts_a_steward(login, shell) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} here")
    login.through(f'exec {path} -c "$SSH_ORIGINAL_COMMAND"')
    login.ask()


def test_an_unknown_host_key_names_the_lines_that_could_not_be_read(login) -> None:
    (login.ssh / "known_hosts").write_bytes(b"127.0.0.1 cut\n")
    with pytest.raises(DeployError, match=r"the host key of .* is not in .*lines that cannot be read: .*known_hosts:1"):
        login.ask()


def test_jump_hosts_in_a_circle_end(login) -> None:
    login.nodes.write_config("Host edge\n  ProxyJump cloud\nHost cloud\n  ProxyJump edge\n")
    with pytest.raises(DeployError, match="lead in a circle"):
        login.ask()
