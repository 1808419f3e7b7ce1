"""What ssh_config says of one host, as `ssh -G` resolves it: lines that concern other hosts cannot stop this one."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import os
import pwd
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

ASK_S = 15.0
"""How long a `Match exec` may take."""
USER_FILES = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
WORLD_FILES = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
KEY_FILES = tuple(f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"))


@dataclass(frozen=True)
class Settings:
    """A host's settings by ssh_config's names in lower case; what may be said more than once is a list of all.

    Attributes:
        target: USER@HOST:PORT, as it was typed.
        said: each keyword's values, in order.
    """

    target: str
    said: Mapping[str, tuple[str, ...]]

    def get(self, keyword: str, default: str = "") -> str:
        """A keyword's value; the default where nothing or `none` is said."""
        value = (self.said.get(keyword) or ("",))[0]
        return default if value in ("", "none") else value

    def all(self, keyword: str) -> list[str]:
        """All values of a keyword, with `~`, %-tokens and ${variables} put in."""
        return [self.expand(value) for value in self.said.get(keyword, ()) if value != "none"]

    @property
    def host(self) -> str:
        """The name or address that is connected to."""
        return self.get("hostname", parts(self.target)["host"])

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.get("port", "22"))

    @property
    def user(self) -> str:
        """Who logs in."""
        return self.get("user") or getpass.getuser()

    @property
    def known_as(self) -> str:
        """The name that its host key is looked up by, without the port."""
        return self.get("hostkeyalias", self.host)

    @property
    def jumps(self) -> list[str]:
        """The hosts that are gone through first, in order."""
        names = [name.strip() for name in self.get("proxyjump").split(",")]
        jumps = [name.removeprefix("ssh://") for name in names if name not in ("", "none")]
        # Of several for all hosts, each is gone to by way of those before it.
        ways = [(parts(jump)["host"], parts(jump).get("port")) for jump in jumps]
        own = (parts(self.target)["host"], parts(self.target).get("port"))
        return jumps[: ways.index(own)] if own in ways else jumps

    @property
    def known_files(self) -> list[Path]:
        """The files of trusted host keys; `none` means none of them."""
        words = [*self.said.get("userknownhostsfile", ()), *self.said.get("globalknownhostsfile", ())]
        return [Path(self.expand(name)) for value in words for name in value.split() if name != "none"]

    def expand(self, value: str) -> str:
        """A value with its tokens replaced, as ssh_config(5) lists them; what is unknown stays as it is."""
        name, local = parts(self.target)["host"], socket.gethostname()
        tokens = {
            "%": "%",
            "d": str(Path.home()),
            "h": self.host,
            "i": str(os.getuid()),
            "j": self.get("proxyjump"),
            "k": self.known_as,
            "L": local.partition(".")[0],
            "l": local,
            "n": name,
            "p": str(self.port),
            "r": self.user,
            "u": getpass.getuser(),
            "H": self.known_as if self.port == 22 else f"[{self.known_as}]:{self.port}",
            "I": "HOSTNAME",
            "f": "NONE",
            "K": "NONE",
            "t": "NONE",
        }
        hashed = "".join(tokens[token] for token in "lhprj")
        tokens["C"] = hashlib.sha1(hashed.encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
        value = re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), value)
        value = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), value)
        return os.path.expanduser(value)  # noqa: PTH111  (a Path would lose what is no path)


def parts(target: str) -> dict[str, Any]:
    """USER@HOST:PORT, all but the host optional, as asyncssh's arguments."""
    found = re.fullmatch(r"(?:(.+)@)?(?:\[(.+)\]|([^@:]+)|([^@\[]*:[^@\[]*:[^@\[]*))(?::(\d+))?", target)
    if found is None:
        return {"host": target}
    user, bracketed, name, ipv6, port = found.groups()
    parts = {"host": bracketed or name or ipv6, "username": user, "port": port and int(port)}
    return {key: value for key, value in parts.items() if value}


async def resolve(target: str) -> Settings:
    """Ask OpenSSH what its configuration says of a host; asyncssh's own reading does where there is no OpenSSH.

    Raises:
        ValueError: ssh itself refuses its configuration, in its words.
    """
    ssh = shutil.which("ssh")
    return Settings(target, await (_by_openssh(ssh, target) if ssh else _by_asyncssh(target)))


async def _by_openssh(ssh: str, target: str, *more: str) -> dict[str, tuple[str, ...]]:
    given = parts(target)
    words = ["-G", "-T", *more]
    # ssh knows the home of the password database alone. This program's `~` is HOME, so that is where it looks.
    home, official = str(Path.home()), pwd.getpwuid(os.getuid()).pw_dir
    if home != official:
        config = Path(home, ".ssh", "config")
        words += ["-F", str(config) if os.access(config, os.R_OK) else "none"]
    words += [
        word for key, flag in (("username", "-l"), ("port", "-p")) if key in given for word in (flag, str(given[key]))
    ]
    asked = await asyncio.create_subprocess_exec(
        ssh,
        *words,
        "--",
        given["host"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, grumble = await asyncio.wait_for(asked.communicate(), ASK_S)
    except asyncio.TimeoutError:
        raise ValueError(
            f"`ssh -G {target}` is not done after {ASK_S:g} s; is there a Match exec that hangs?"
        ) from None
    finally:
        if asked.returncode is None:
            asked.kill()
    if asked.returncode != 0 and b"jumphost loop" in grumble and not more:
        # `Host *` with a ProxyJump means the jump host itself too, which is gone to without it.
        return await _by_openssh(ssh, target, "-o", "ProxyJump=none")
    if asked.returncode != 0:
        lines = os.fsdecode(grumble).strip().splitlines()
        # The last line only counts the mistakes that the others name.
        named = [line for line in lines if "terminating," not in line] or ["ssh -G fails without a word"]
        raise ValueError(named[0].strip())
    said: dict[str, tuple[str, ...]] = {}
    for line in output.splitlines():
        keyword, _, value = os.fsdecode(line).strip().partition(" ")
        said[keyword.lower()] = (*said.get(keyword.lower(), ()), value)
    if home != official:
        files = said.get("userknownhostsfile", ())
        said["userknownhostsfile"] = tuple(re.sub(rf"(^| ){re.escape(official)}/", r"\1~/", value) for value in files)
    return said


async def _by_asyncssh(target: str) -> dict[str, tuple[str, ...]]:
    options = await asyncssh.SSHClientConnectionOptions.construct(config=(), client_keys=None, **parts(target))
    assert isinstance(options, asyncssh.SSHClientConnectionOptions)  # noqa: S101  (it says less in its types)
    said: dict[str, tuple[str, ...]] = {
        "hostname": (options.host,),
        "port": (str(options.port),),
        "user": (options.username,),
        "userknownhostsfile": tuple(_words(options.config.get("UserKnownHostsFile", USER_FILES.split()))),
        "globalknownhostsfile": tuple(_words(options.config.get("GlobalKnownHostsFile", WORLD_FILES.split()))),
        "identityfile": tuple(_words(options.config.get("IdentityFile", KEY_FILES))),
    }
    for keyword in (
        "ProxyJump",
        "ProxyCommand",
        "HostKeyAlias",
        "IdentityAgent",
        "CertificateFile",
        "SetEnv",
        "SendEnv",
    ):
        said[keyword.lower()] = tuple(_words(options.config.get(keyword)))
    said["identitiesonly"] = ("yes",) if options.config.get("IdentitiesOnly") else ()
    return said


def _words(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(word) for word in value] if isinstance(value, (list, tuple)) else [str(value)]
