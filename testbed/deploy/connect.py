"""SSH connections as `ssh` itself would make them: its configuration, agent, keys and jump hosts; strict host keys."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import Any

import asyncssh

from testbed.errors import DeployError

CONNECT_S = 15.0
KEEPALIVE_S = 5
KEEPALIVES = 3
"""A connection over which nothing comes back for KEEPALIVE_S · KEEPALIVES seconds is lost."""


async def connect(node: str, host: str) -> asyncssh.SSHClientConnection:
    """Log in to a host, through its jump hosts if it has any. No password is ever asked for.

    Raises:
        DeployError: one line that says what was seen and what to do.
    """
    try:
        options = await _options(host)
        jumps = [jump.strip() for jump in str(options.tunnel or "").split(",") if jump.strip() not in ("", "none")]
    except (asyncssh.Error, OSError, ValueError) as error:
        raise DeployError(f"{node}: the SSH configuration for {host} cannot be used: {error}") from error
    tunnel: asyncssh.SSHClientConnection | None = None
    try:
        for jump in jumps:
            tunnel = await _one(node, jump, tunnel)
        return await _one(node, host, tunnel)
    except BaseException:
        if tunnel is not None:
            tunnel.close()
        raise


async def _one(node: str, target: str, tunnel: asyncssh.SSHClientConnection | None) -> asyncssh.SSHClientConnection:
    options = await _options(target)
    known = _known_hosts(options)
    asked = f"{options.username}@{options.host}" + ("" if options.port == 22 else f":{options.port}")
    try:
        connection = await asyncio.wait_for(
            asyncssh.connect(
                tunnel=tunnel,  # None too: the jumps were made above
                known_hosts=known or b"",
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVES,
                **_parts(target),
            ),
            CONNECT_S,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise DeployError(f"{node}: {_untrusted(target, options, known)}") from error
    except asyncssh.PermissionDenied as error:
        raise DeployError(
            f"{node}: {asked} refuses the login ({error.reason}); `ssh {target}` must work without a password: "
            f"ssh-copy-id {target}, or name the key as IdentityFile in ~/.ssh/config, or load it with ssh-add"
        ) from error
    except socket.gaierror as error:
        raise DeployError(
            f"{node}: no host is named {options.host}; correct `reach:` in the profile, or give it a HostName in "
            "~/.ssh/config"
        ) from error
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise DeployError(
            f"{node}: {asked} does not answer within {CONNECT_S:g} s; is it on, and on this network?"
        ) from error
    except (OSError, asyncssh.Error) as error:
        raise DeployError(f"{node}: {asked} cannot be reached: {error}; try `ssh {target}`") from error
    if tunnel is not None:
        connection.set_tunnel(tunnel)
    return connection


def _parts(target: str) -> dict[str, Any]:
    """USER@HOST:PORT, all but the host optional, as asyncssh's arguments."""
    found = re.fullmatch(r"(?:(.+)@)?(?:\[(.+)\]|([^@:]+)|([^@\[]*:[^@\[]*:[^@\[]*))(?::(\d+))?", target)
    if found is None:
        return {"host": target}
    user, bracketed, name, ipv6, port = found.groups()
    parts = {"host": bracketed or name or ipv6, "username": user, "port": port and int(port)}
    return {key: value for key, value in parts.items() if value}


async def _options(target: str) -> asyncssh.SSHClientConnectionOptions:
    options = await asyncssh.SSHClientConnectionOptions.construct(config=(), **_parts(target))
    assert isinstance(options, asyncssh.SSHClientConnectionOptions)  # noqa: S101  (it says less in its types)
    return options


def _known_hosts(options: asyncssh.SSHClientConnectionOptions) -> list[str]:
    """The files that hold trusted keys, as ssh_config names them; none of them, and nothing is trusted.

    asyncssh by itself would trust every key where ssh_config says `UserKnownHostsFile none`.
    """
    user: Any = options.config.get("UserKnownHostsFile", ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"])
    world: Any = options.config.get("GlobalKnownHostsFile", ["/etc/ssh/ssh_known_hosts"])
    found = [str(Path(str(name)).expanduser()) for name in (*user, *world)]
    return [name for name in found if os.access(name, os.R_OK)]


def _untrusted(target: str, options: asyncssh.SSHClientConnectionOptions, known: list[str]) -> str:
    host = options.host_key_alias or options.host
    name = host if options.port == 22 else f"[{host}]:{options.port}"
    port = None if options.port == 22 else options.port
    trusted = asyncssh.match_known_hosts(known or b"", host, "", port)[0]
    where = ", ".join(known) or "any known_hosts file"
    if trusted:
        return (
            f"{name} shows another host key than {where} says: either the node was installed anew, or something else "
            f"answers in its place. If it was: ssh-keygen -R '{name}', then accept the new key with `ssh {target}` once"
        )
    return (
        f"the host key of {name} is not in {where}; compare its fingerprint with the node's own (there: ssh-keygen -lf "
        f"/etc/ssh/ssh_host_ed25519_key.pub), and accept it with `ssh {target}` once"
    )
