"""SSH connections as `ssh` itself would make them: its configuration, agent, keys and jump hosts; strict host keys."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs

from testbed.deploy.knownhosts import KnownHosts, known_hosts
from testbed.deploy.sshconfig import Settings, resolve
from testbed.deploy.sshkeys import offered
from testbed.errors import LoginError

CONNECT_S = 15.0
"""How long a login may take, where ssh_config has no ConnectTimeout."""
KEEPALIVE_S = 5
KEEPALIVES = 3
"""A connection over which nothing comes back for KEEPALIVE_S · KEEPALIVES seconds is lost."""
JUMPS = 8
"""Jump hosts that need jump hosts of their own, so deep; more is a circle."""
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
ALGORITHMS = {
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
}


async def connect(node: str, host: str) -> asyncssh.SSHClientConnection:
    """Log in to a host, through its jump hosts if it has any. No password is ever asked for.

    Raises:
        LoginError: one line that says what was seen and what to do.
    """
    return await _reach(node, host, None, JUMPS)


async def _reach(
    node: str, target: str, tunnel: asyncssh.SSHClientConnection | None, deep: int
) -> asyncssh.SSHClientConnection:
    try:
        settings = await resolve(target)
    except (asyncssh.Error, OSError, ValueError) as error:
        raise LoginError(f"{node}: the SSH configuration for {target} cannot be used: {error}") from error
    if deep == 0:
        raise LoginError(f"{node}: the jump hosts of {target} lead in a circle; correct ProxyJump in ~/.ssh/config")
    made = tunnel
    try:
        for jump in settings.jumps if tunnel is None else []:
            made = await _reach(node, jump, made, deep - 1)
        return await _one(node, settings, made)
    except BaseException:
        if made is not None and tunnel is None:
            made.close()
        raise


async def _one(
    node: str, settings: Settings, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    target, known = settings.target, await known_hosts(settings)
    asked = f"{settings.user}@{settings.host}" + ("" if settings.port == 22 else f":{settings.port}")
    within_s = _seconds(settings.get("connecttimeout"))
    left_out: list[str] = []
    try:
        async with offered(settings) as (keys, left_out):
            connection = await asyncio.wait_for(
                asyncssh.connect(
                    settings.host,
                    settings.port,
                    config=[],  # ssh has read it
                    tunnel=tunnel,  # None too: the jumps were made above
                    username=settings.user,
                    known_hosts=known.keys,
                    client_keys=keys or None,
                    agent_path=None,  # its keys are among these
                    keepalive_interval=KEEPALIVE_S,
                    keepalive_count_max=KEEPALIVES,
                    **_options(settings),
                ),
                within_s,
            )
    except asyncssh.HostKeyNotVerifiable as error:
        raise LoginError(f"{node}: {_untrusted(settings, known)}") from error
    except asyncssh.PermissionDenied as error:
        unread = f" (no OpenSSH key, so passed over: {', '.join(left_out)})" if left_out else ""
        raise LoginError(
            f"{node}: {asked} refuses the login ({error.reason}){unread}; `ssh {target}` must work without a password: "
            f"ssh-copy-id {target}, or name the key as IdentityFile in ~/.ssh/config, or load it with ssh-add"
        ) from error
    except socket.gaierror as error:
        raise LoginError(
            f"{node}: no host is named {settings.host}; correct `reach:` in the profile, or give it a HostName in "
            "~/.ssh/config"
        ) from error
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise LoginError(
            f"{node}: {asked} does not answer within {within_s:g} s; is it on, and on this network?"
        ) from error
    except (OSError, ValueError, asyncssh.Error) as error:
        raise LoginError(f"{node}: {asked} cannot be reached: {error}; try `ssh {target}`") from error
    if tunnel is not None:
        connection.set_tunnel(tunnel)
    return connection


def _options(settings: Settings) -> dict[str, Any]:
    """What else ssh_config says of a host, in asyncssh's words. No terminal, no agent or X11 on the node."""
    options: dict[str, Any] = {"gss_auth": settings.get("gssapiauthentication") == "yes", "gss_kex": False}
    if alias := settings.get("hostkeyalias"):
        options["host_key_alias"] = alias
    if command := settings.get("proxycommand"):
        options["proxy_command"] = ["/bin/sh", "-c", f"exec {settings.expand(command)}"]
    if family := FAMILIES.get(settings.get("addressfamily")):
        options["family"] = family
    if address := settings.get("bindaddress"):
        options["local_addr"] = (address, 0)
    if provider := settings.get("pkcs11provider"):
        options["pkcs11_provider"] = provider
    if settings.get("compression") == "yes":
        options["compression_algs"] = "zlib@openssh.com,zlib,none"
    if variables := settings.all("setenv"):
        options["env"] = variables
    if variables := settings.all("sendenv"):
        options["send_env"] = variables
    for keyword, (name, supported) in ALGORITHMS.items():
        there = {algorithm.decode() for algorithm in supported()}
        if wanted := [algorithm for algorithm in settings.get(keyword).split(",") if algorithm in there]:
            options[name] = wanted
    return options


def _seconds(said: str) -> float:
    return float(said) if said.isdecimal() and int(said) > 0 else CONNECT_S


def _untrusted(settings: Settings, known: KnownHosts) -> str:
    name = settings.known_as if settings.port == 22 else f"[{settings.known_as}]:{settings.port}"
    where, target = ", ".join(known.where) or "any known_hosts file", settings.target
    if known.trusts_a_key_of(settings):
        return (
            f"{name} shows another host key than {where} says: either the node was installed anew, or something else "
            f"answers in its place. If it was: ssh-keygen -R '{name}', then accept the new key with `ssh {target}` once"
        )
    unread = f" (lines that cannot be read: {', '.join(known.left_out[:5])})" if known.left_out else ""
    return (
        f"the host key of {name} is not in {where}{unread}; compare its fingerprint with the node's own (there: "
        f"ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and accept it with `ssh {target}` once"
    )
