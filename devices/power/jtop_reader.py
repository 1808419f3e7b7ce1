"""Writes each update of jtop's service as a JSON line: `python -m devices.power.jtop_reader INTERVAL_S`.

The only module that imports jetson-stats (AGPL), in a process of its own. `devices.power.jtop` reads what it writes.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

INSTALL = "sudo pip3 install 'jetson-stats>=4.3' && sudo systemctl restart jtop.service"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One update, power in mW by rail; or, in `error`, why there will be none."""

    error: str = ""
    version: str = ""
    interval_s: float = 0.0
    rails_mw: dict[str, float] = {}


def main(interval_s: float) -> int:
    """Run until the service is gone; the tether ends the process before."""
    try:
        import jtop
    except ImportError as error:
        _say(Message(error=f"{sys.executable} has no jetson-stats ({error}); install it on the node: {INSTALL}"))
        return 1
    try:
        with jtop.jtop(interval_s) as jetson:
            previous = None
            while jetson.ok():
                # A client that waits in vain is given the old data once more; the time of their reading tells.
                if jetson.uptime != previous:
                    previous = jetson.uptime
                    _say(
                        Message(version=jtop.__version__, interval_s=jetson.interval, rails_mw=_rails_mw(jetson.power))
                    )
    except Exception as error:  # whatever jetson-stats raises is for the reader of the pipe
        # Its messages have several lines, such as what to run.
        _say(Message(error=" ".join(str(error).split()) or type(error).__name__))
        return 1
    _say(Message(error="the service sends no more; look at: systemctl status jtop.service"))
    return 1


def _rails_mw(power: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Present power by rail. jtop moves the input rail, where there is one, from the rails to the total."""
    # Without a power monitor jtop leaves out the rails, their values, or all of it, by release.
    rails = {name: float(rail["power"]) for name, rail in power.get("rail", {}).items() if "power" in rail}
    total = power.get("tot", {})
    return {str(total["name"]): float(total["power"]), **rails} if {"name", "power"} <= total.keys() else rails


def _say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
