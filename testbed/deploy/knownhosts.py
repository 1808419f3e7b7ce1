"""Trusted host keys, read line by line as `ssh` reads them: what cannot be read is passed over and named."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import asyncssh

from testbed.deploy.sshconfig import Settings

COMMAND_S = 15.0
"""How long a KnownHostsCommand may take."""


@dataclass(frozen=True)
class KnownHosts:
    """Trusted host keys.

    Attributes:
        keys: for asyncssh. With none in it, nothing is trusted.
        where: what was read, for errors.
        left_out: FILE:LINE of each line that cannot be read.
    """

    keys: asyncssh.SSHKnownHosts
    where: tuple[str, ...]
    left_out: tuple[str, ...]

    def trusts_a_key_of(self, settings: Settings) -> bool:
        """Whether there is any key for this host."""
        port = None if settings.port == 22 else settings.port
        return bool(asyncssh.match_known_hosts(self.keys, settings.known_as, "", port)[0])


async def known_hosts(settings: Settings) -> KnownHosts:
    """Read what ssh_config names: files, and what its KnownHostsCommand prints."""
    sources: list[tuple[str, bytes]] = []
    for path in settings.known_files:
        with contextlib.suppress(OSError):
            sources.append((str(path), path.read_bytes()))
    if command := settings.get("knownhostscommand"):
        sources.append(("KnownHostsCommand", await _printed_by(settings, command)))
    return parse(sources)


def parse(sources: Sequence[tuple[str, bytes]]) -> KnownHosts:
    """Read files, given as (name, content)."""
    good, left_out = [], []
    for name, content in sources:
        for number, line in enumerate(content.split(b"\n"), start=1):
            words = line.split()
            if not words or words[0].startswith(b"#"):
                continue
            # The comment behind the key says nothing, and need not be text.
            kept = b" ".join(words[: 4 if words[0].startswith(b"@") else 3]).decode(errors="replace")
            try:
                asyncssh.import_public_key(" ".join(kept.split()[-2:]))
                asyncssh.import_known_hosts(kept)
            except (ValueError, LookupError):
                left_out.append(f"{name}:{number}")
            else:
                good.append(kept)
    return KnownHosts(asyncssh.import_known_hosts("\n".join(good)), tuple(name for name, _ in sources), tuple(left_out))


async def _printed_by(settings: Settings, command: str) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            *[settings.expand(word) for word in shlex.split(command)],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        return b""
    try:
        return (await asyncio.wait_for(process.communicate(), COMMAND_S))[0]
    except asyncio.TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
