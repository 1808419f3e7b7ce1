"""The keys that a login offers, as `ssh` chooses them: those of ssh_config's files and the agent's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncssh

from testbed.deploy.sshconfig import Settings

_UNUSABLE = (OSError, ValueError, asyncssh.Error)  # not there, not ours to read, no OpenSSH key, or locked


class Offered(NamedTuple):
    """Keys in the order in which they are tried, and the key files that were passed over."""

    keys: list[asyncssh.SSHKeyPair]
    left_out: list[str]


@contextlib.asynccontextmanager
async def offered(settings: Settings) -> AsyncIterator[Offered]:
    """The keys for a host; the agent is spoken to until the end of the context.

    A key file that is not there or cannot be read is passed over. A file that is locked, or a public one, stands for
    the agent's key. `IdentitiesOnly` leaves out the other keys of the agent.
    """
    files = settings.all("identityfile")
    certificates = [path for path in settings.all("certificatefile") if _reads_certificate(path)]
    here: list[asyncssh.SSHKeyPair] = []
    named, left_out = set(), []
    for path in files:
        public = _public(path)
        if public is not None:
            named.add(public)
        try:
            found = list(asyncssh.load_keypairs(path, certlist=certificates, ignore_encrypted=True))
        except _UNUSABLE:
            found = []
        if not found and public is None and os.path.exists(path):  # noqa: PTH110
            left_out.append(path)
        here += found
    async with contextlib.AsyncExitStack() as stack:
        held: list[asyncssh.SSHKeyPair] = []
        if agent_path := agent(settings):
            with contextlib.suppress(*_UNUSABLE):
                client = await stack.enter_async_context(asyncssh.connect_agent(agent_path))
                held = list(await client.get_keys())
        mine = {pair.key_public_data for pair in here}
        first = [pair for pair in held if pair.key_public_data in named - mine]
        others = [pair for pair in held if pair.key_public_data not in named | mine]
        only = settings.get("identitiesonly") in ("yes", "true")
        yield Offered([*here, *first] + ([] if only else others), left_out)


def agent(settings: Settings) -> str:
    """The agent's socket; empty where there is none."""
    named = settings.said.get("identityagent", ("",))[0] if settings.said.get("identityagent") else ""
    if named == "none":
        return ""
    if named in ("", "SSH_AUTH_SOCK"):
        return os.environ.get("SSH_AUTH_SOCK", "")
    if named.startswith("$") and not named.startswith("${"):
        return os.environ.get(named[1:], "")
    return settings.expand(named)


def _public(path: str) -> bytes | None:
    for name in (f"{path}.pub", path):
        with contextlib.suppress(*_UNUSABLE):
            return asyncssh.read_public_key(name).public_data
    return None


def _reads_certificate(path: str) -> bool:
    try:
        asyncssh.read_certificate(path)
    except _UNUSABLE:
        return False
    return True
