"""An external meter that answers SCPI over TCP, and the example for meters that speak otherwise.

Another meter is another file as this one: a spec, a class with `probe`, `read` and `close`
(`devices.power.source.PowerSource`), and one line in `devices.power.sources.OWN`, or an entry point of another package.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability, MeasuredScope, Rail
from devices.power.plausible import SOCKET_MW
from devices.power.source import Sample, Surroundings
from devices.power.spec import Milliseconds, Milliwatts, PowerSpec, Share, Text

NO_READING = 9.9e37
"""SCPI-99, volume 1, 7.2.1.4 and 7.2.1.5: 9.9E37 is infinity, 9.91E37 is "not a number"."""

_MAX_ANSWER_BYTES = 4096


class ScpiMeterPower(PowerSpec, frozen=True, kw_only=True, tag="scpi"):
    """A power meter or bench supply that answers SCPI over a TCP socket.

    `query` asks for one power, in `unit`; `setup` are commands sent once before. `scope` says what stands behind the
    meter. `gain` (relative), `offset_mw` and `lsb_mw` bound the error of a reading and `averaging_ms` is the time it is
    a mean over: all from the instrument's data sheet, which `reference` names.
    """

    host: Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5025
    query: Text = "MEAS:POW?"
    setup: list[Text] = msgspec.field(default_factory=list)
    unit: Literal["W", "mW"] = "W"
    rail: Text = "METER"
    scope: MeasuredScope = "wall"
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=5)] = 1.0
    gain: Share
    offset_mw: Milliwatts
    lsb_mw: Milliwatts = 0.0
    averaging_ms: Milliseconds | None = None
    reference: Text


class ScpiMeterSource:
    """Asks a meter for its power, one query for each sample, and stamps the middle between question and answer.

    An answer that does not come in time, or is no number, is an error: after it, which answer belongs to which
    question is no longer known.
    """

    Spec = ScpiMeterPower

    def __init__(
        self, spec: ScpiMeterPower, surroundings: Surroundings, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        del surroundings
        self._spec = spec
        self._clock = clock
        self._where = f"the meter at {spec.host}:{spec.port}"
        self._socket: socket.socket | None = None
        self._lag_ns = round((spec.averaging_ms or 0) * 1e6 / 2)
        self._mw_per_unit = {"W": 1000.0, "mW": 1.0}[spec.unit]

    def probe(self) -> Capability:
        """Connect, ask who answers, set the meter up, and take a first reading.

        Raises:
            DeviceError: it is not reached, does not answer in time, or answers no number.
        """
        self.close()
        spec = self._spec
        try:
            self._socket = socket.create_connection((spec.host, spec.port), spec.timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise DeviceError(
                f"{self._where} is not reached: {error.strerror or error}; is it on, does it allow remote control?"
            ) from error
        identity = self._ask("*IDN?")
        for command in spec.setup:
            self._send(command)
        start_ns = self._clock()
        self.read()
        read_ns = max(1, self._clock() - start_ns)
        rail = Rail(
            name=spec.rail,
            scope=spec.scope,
            gain=spec.gain,
            offset_mw=spec.offset_mw,
            lsb_mw=spec.lsb_mw,
            max_mw=SOCKET_MW,
        )
        return Capability(
            source="scpi",
            rails=[rail],
            rate_hz_max=round(1e9 / read_ns, 1),
            averaging_ms=spec.averaging_ms,
            detail={"identity": identity, "query": spec.query, "reference": spec.reference},
        )

    def read(self) -> list[Sample]:
        """The power now.

        Raises:
            DeviceError: not probed, no answer in time, no number, or the meter hung up.
        """
        before_ns = self._clock()
        answer = self._ask(self._spec.query)
        after_ns = self._clock()
        try:
            power = float(answer)
        except ValueError as error:
            raise DeviceError(
                f"{self._where} answered {answer[:40]!r} to {self._spec.query}, which is no number; correct `query:`"
            ) from error
        if not math.isfinite(power) or abs(power) >= NO_READING:
            raise DeviceError(f"{self._where} has no reading (it answered {answer}); is its range right, is it wired?")
        return [Sample((before_ns + after_ns) // 2 - self._lag_ns, self._spec.rail, power * self._mw_per_unit)]

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, command: str) -> None:
        if self._socket is None:
            raise DeviceError(f"{self._where} was read before it was probed")
        try:
            self._socket.sendall(command.encode() + b"\n")
        except OSError as error:
            raise DeviceError(f"{self._where} does not take {command}: {error.strerror or error}") from error

    def _ask(self, query: str) -> str:
        """One line in answer to a query, within the time-out for all of it."""
        self._send(query)
        assert self._socket is not None  # noqa: S101  (_send checked)
        give_up = time.monotonic() + self._spec.timeout_s
        answer = b""
        try:
            while not answer.endswith(b"\n"):
                left_s = give_up - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                self._socket.settimeout(left_s)
                data = self._socket.recv(_MAX_ANSWER_BYTES)
                if not data:
                    raise DeviceError(f"{self._where} hung up when asked {query}")
                answer += data
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise DeviceError(f"{self._where} answered {query} with over {_MAX_ANSWER_BYTES} bytes and no end")
        except TimeoutError as error:
            raise DeviceError(
                f"{self._where} did not answer {query} within {self._spec.timeout_s:g} s (so far: {answer[:40]!r})"
            ) from error
        except OSError as error:
            raise DeviceError(f"{self._where} was lost when asked {query}: {error.strerror or error}") from error
        finally:
            if self._socket is not None:
                self._socket.settimeout(self._spec.timeout_s)
        return answer.decode(errors="replace").strip()
