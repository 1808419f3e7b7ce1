"""Power as NVIDIA's `tegrastats` prints it."""

from __future__ import annotations

from devices.errors import DeviceError
from devices.power.child import Line, LineChild
from devices.power.printed import printed_check, printed_rails
from devices.power.rails import board_text
from devices.power.source import Capability, Rail, Sample, SelfCheck, Surroundings
from devices.profile import TegrastatsPower
from devices.tegrastats import Reading, parse


class TegrastatsSource:
    """The first value of each rail on every line: the present power. The second is a mean since tegrastats started."""

    def __init__(self, spec: TegrastatsPower, surroundings: Surroundings) -> None:
        self._spec = spec
        self._root = surroundings.root
        self._child: LineChild | None = None
        self._rails: list[Rail] = []
        self._waited = 0

    def probe(self) -> Capability:
        """Start tegrastats and read its first line.

        Raises:
            DeviceError: it cannot be started, prints nothing, no line of its own or no power, or nobody knows which
                rails make up the whole node.
        """
        self.close()
        interval_ms = round(1000 / self._spec.rate_hz)
        command = [*self._spec.command, "--interval", str(interval_ms)]
        self._child = LineChild(command, "tegrastats", interval_ms / 1000)
        power_mw = _reading(self._child.first()).power_mw
        if not power_mw:
            raise DeviceError(
                "tegrastats prints no power here; some L4T releases print it to root alone: let it run as root "
                "(`command: [sudo, -n, tegrastats]`) or use `source: ina`"
            )
        model = self._spec.board or board_text(self._root)
        self._rails = printed_rails(power_mw, model, self._spec.rails)
        return Capability(
            source="tegrastats",
            rails=self._rails,
            rate_hz_max=None,
            averaging_ms=None,
            detail={
                "board": model,
                "command": command,
                "interval_ms": interval_ms,
                "stamp": "arrival of the line; the sensor was read before it was printed",
                "averaging": "tegrastats prints the driver's reading; over how long the sensor averages is not known",
            },
        )

    def read(self) -> list[Sample]:
        """A sample for each rail of each line that arrived since the previous read.

        Raises:
            DeviceError: not probed, or tegrastats ended, stalled, printed no line of its own or lost a rail.
        """
        if self._child is None:
            raise DeviceError("the tegrastats power source was read before it was probed")
        return [sample for line in self._child.take() for sample in self._samples(line)]

    def self_check(self) -> SelfCheck:
        """Lines left out because they had waited, and whether the sensor's limits on this board are known."""
        return printed_check("tegrastats", self._rails, self._waited)

    def close(self) -> None:
        """End tegrastats."""
        if self._child:
            self._child.close()
            self._child = None

    def _samples(self, line: Line) -> list[Sample]:
        power_mw = _reading(line.text).power_mw
        if missing := [rail.name for rail in self._rails if rail.name not in power_mw]:
            raise DeviceError(f"tegrastats no longer prints {', '.join(missing)}: {_quote(line.text)}")
        if line.t_ns is None:
            self._waited += 1
            return []
        return [Sample(line.t_ns, rail.name, power_mw[rail.name]) for rail in self._rails]


def _reading(text: str) -> Reading:
    reading = parse(text)
    if reading is None:
        raise DeviceError(f"tegrastats printed what is no line of its own: {_quote(text)}")
    return reading


def _quote(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")
