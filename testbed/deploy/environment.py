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
from testbed.deploy.deployer import Step, unwatched
from testbed.deploy.download import cache_folder, download, folder_of, unpacked_bytes
from testbed.errors import DeployError, FolderError
from testbed.runtime.digest import document_digest, file_digest

KEY_DIGITS = 16


async def send(
    steward: StewardClient,
    facts: Mapping[str, Any],
    files: Mapping[str, Path],
    lacking: Collection[str],
    room_bytes: int = 0,
    *,
    step: Step = unwatched,
    doing: str = "sending",
) -> None:
    """Send those files (hash → path) that a node lacks.

    Args:
        steward: the node's.
        facts: what the steward said when the node was opened.
        files: hash → path here.
        lacking: hashes of those that are not there.
        room_bytes: what is made of them there, beside the files themselves.
        step: told of every piece that is sent.
        doing: what it is told.

    Raises:
        DeployError: there is no room for them, or they did not arrive as they are.
    """
    total = sum(files[sha256].stat().st_size for sha256 in lacking)
    needed, done = total + room_bytes, 0
    if needed > facts["free_bytes"]:
        what = "will be taken up" if room_bytes else "are to be sent"
        raise FolderError(
            f"{steward.node}: {needed / 1e6:.1f} MB {what}, but {facts['root']} has room for "
            f"{facts['free_bytes'] / 1e6:.1f} MB; make room there, or name another `folder:` in the profile"
        )

    def sent(size: int) -> None:
        nonlocal done
        done += size
        step(doing, done, total)

    for sha256 in lacking:
        step(doing, done, total)
        await steward.ask("put", files[sha256], sha256=sha256, sent=sent)


async def interpreter(
    steward: StewardClient, facts: Mapping[str, Any], needed: Sequence[Requirement], step: Step = unwatched
) -> str:
    """The interpreter that workers run with: one that sees the node's own packages, and what they lack.

    Args:
        steward: the node's.
        facts: what the steward said when the node was opened.
        needed: the packages that a worker on this node imports.
        step: told what is being done.

    Raises:
        DeployError: none could be made; with what to type on the node to do it by hand.
    """
    python, node = wheels.describe(facts), steward.node
    wanted = wheels.lacking(needed, facts["packages"], python)
    found: list[Path] = []
    if wanted:
        stop = threading.Event()
        try:
            if not folder_of(wanted, python, cache_folder()).exists():
                step(f"downloading packages for Python {python.short} on {python.machine}", 0, 0)
            found = await asyncio.to_thread(download, wanted, python, cache_folder(), stop)
        except DeployError as error:
            raise DeployError(
                f"{node}: it lacks {', '.join(map(str, wanted))}, and no wheels can be had for it: {error}. Or on the "
                f"node: {wheels.install_command(python, wanted)}"
            ) from error
        finally:
            stop.set()  # the thread goes on where this was cancelled, and the program would wait for it
    if found and facts["noexec"]:
        raise FolderError(
            f"{node}: {facts['root']} is on a file system that is mounted noexec, so no package in it can be loaded; "
            "name another `folder:` in the profile"
        )
    hashes = {wheel.name: await asyncio.to_thread(file_digest, wheel) for wheel in found}
    key = document_digest([python.executable, python.version, hashes])[:KEY_DIGITS]
    if key not in facts["environments"]:
        files = {hashes[wheel.name]: wheel for wheel in found}
        sizes = {sha256: file.stat().st_size for sha256, file in files.items()}
        room_bytes = sum(unpacked_bytes(wheel) for wheel in found)
        lacking = await steward.ask("files", files=sizes)
        await send(steward, facts, files, lacking, room_bytes, step=step, doing="sending packages")
        step("installing packages" if found else "making an environment", 0, 0)
    try:
        commands = _commands(found, wanted, needed)
        return str(await steward.ask("environment", key=key, wheels=hashes, commands=commands))
    except FolderError:
        raise
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
