"""What a node needs before a worker can run on it: files by their hash, and an interpreter with all packages."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from testbed.deploy import wheels
from testbed.deploy.client import StewardClient
from testbed.errors import DeployError
from testbed.runtime.digest import document_digest, file_digest

KEY_DIGITS = 16


async def send(
    steward: StewardClient,
    facts: Mapping[str, Any],
    files: Mapping[str, Path],
    lacking: Collection[str],
    room_bytes: int = 0,
) -> None:
    """Send those files (hash → path) that a node lacks.

    Args:
        steward: the node's.
        facts: what the steward said when the node was opened.
        files: hash → path here.
        lacking: hashes of those that are not there.
        room_bytes: what is made of them there, beside the files themselves.

    Raises:
        DeployError: there is no room for them, or they did not arrive as they are.
    """
    needed = sum(files[sha256].stat().st_size for sha256 in lacking) + room_bytes
    if needed > facts["free_bytes"]:
        what = "will be taken up" if room_bytes else "are to be sent"
        raise DeployError(
            f"{steward.node}: {needed / 1e6:.1f} MB {what}, but {facts['root']} has room for "
            f"{facts['free_bytes'] / 1e6:.1f} MB; make room there, or name another `folder:` in the profile"
        )
    for sha256 in lacking:
        await steward.ask("put", files[sha256], sha256=sha256)


async def interpreter(steward: StewardClient, facts: Mapping[str, Any], needed: Sequence[Requirement]) -> str:
    """The interpreter that workers run with: one that sees the node's own packages, and what they lack.

    Args:
        steward: the node's.
        facts: what the steward said when the node was opened.
        needed: the packages that a worker on this node imports.

    Raises:
        DeployError: none could be made; with what to type on the node to do it by hand.
    """
    python, node = wheels.describe(facts), steward.node
    wanted = wheels.lacking(needed, facts["packages"], python)
    found: list[Path] = []
    if wanted:
        stop = threading.Event()
        try:
            found = await asyncio.to_thread(wheels.download, wanted, python, wheels.cache_folder(), stop)
        except DeployError as error:
            raise DeployError(
                f"{node}: it lacks {', '.join(map(str, wanted))}, and no wheels can be had for it: {error}. On the "
                f"node: {wheels.install_command(python, wanted)}"
            ) from error
        finally:
            stop.set()  # the thread goes on where this was cancelled, and the program would wait for it
    hashes = {wheel.name: await asyncio.to_thread(file_digest, wheel) for wheel in found}
    key = document_digest([python.executable, python.version, hashes])[:KEY_DIGITS]
    if key not in facts["environments"]:
        files = {hashes[wheel.name]: wheel for wheel in found}
        sizes = {sha256: file.stat().st_size for sha256, file in files.items()}
        room_bytes = sum(wheels.unpacked_bytes(wheel) for wheel in found)
        await send(steward, facts, files, await steward.ask("files", files=sizes), room_bytes)
    try:
        commands = _commands(found, wanted, needed)
        return str(await steward.ask("environment", key=key, wheels=hashes, commands=commands))
    except DeployError as error:
        if re.search(r"No module named '?(venv|ensurepip)", str(error)):
            raise DeployError(
                f"{error}; {python.executable} comes without venv. On the node: sudo apt install python3-venv"
            ) from error
        raise DeployError(
            f"{error}; no environment for the workers could be made from {python.executable}. By hand, on the "
            f"node: {wheels.install_command(python, wanted or needed)}"
        ) from error


def _commands(found: Sequence[Path], wanted: Sequence[Requirement], needed: Sequence[Requirement]) -> list[list[str]]:
    """What Python is to do in a new environment: install what is lacking, then see that all can be imported."""
    commands = [["-c", "import " + ", ".join(wheels.probes(needed).values())]]
    if found:
        pip = next(wheel.name for wheel in found if wheel.name.startswith("pip-"))
        # Isolated: a pip.conf on the node (`user = true`, say) would put the packages elsewhere. Python compiles what
        # it imports, so compiling all takes time and room for nothing.
        words = ["install", "--isolated", "--no-compile", "--quiet", "--no-index", "--no-warn-script-location"]
        words.append("--disable-pip-version-check")
        commands.insert(0, [f"{{wheels}}/{pip}/pip", *words, "--find-links", "{wheels}", *map(str, wanted)])
    return commands
