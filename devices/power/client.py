"""The worker's side of the sampler process."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from devices.base.errors import DeviceError
from devices.base.power import Capability
from devices.power.sampler import SamplerConfig, SamplerReport
from devices.profile import Profile
from devices.radios import Radio


class PowerSampler:
    """A running sampler process. It ends with this one, however this one ends; Ctrl-C does not reach it."""

    def __init__(self, process: subprocess.Popen[bytes], node: str) -> None:
        self._process = process
        self._node = node
        self._buffer = b""
        self._report: SamplerReport | None = None
        self.capabilities: list[Capability] = []

    @classmethod
    def start(
        cls,
        profile: Profile,
        node: str,
        out: Path,
        activity_path: Path,
        timeout_s: float = 20.0,
        radio: Radio | None = None,
    ) -> PowerSampler:
        """Start sampling every power source of a profile; samples are appended to `out` as JSON lines.

        `radio` is what the activity file tells the energy of, for the record.

        Raises:
            DeviceError: a source cannot be read, or the process was not ready in time.
        """
        config = SamplerConfig(profile=profile, node=node, out=str(out), activity=str(activity_path), radio=radio)
        process = subprocess.Popen(
            [sys.executable, "-m", "devices.power.sampler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        sampler = cls(process, node)
        try:
            assert process.stdin is not None  # noqa: S101  (asked for above)
            # If it is gone already, its answer says why.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(config) + b"\n")
            ready = sampler._answer(timeout_s).get("ready")
            sampler.capabilities = msgspec.convert(ready, list[Capability])
        except BaseException:
            sampler.close()
            raise
        return sampler

    @property
    def pid(self) -> int:
        """The sampler's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still samples; once False, `stop` says why."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = 10.0) -> SamplerReport:
        """End the sampling; every sample is on disk when this returns.

        Raises:
            DeviceError: the sampler had failed or does not end, so the samples have a gap.
        """
        if self._report is None:
            try:
                if self._process.stdin:
                    self._process.stdin.close()
                self._report = msgspec.convert(self._answer(timeout_s), SamplerReport)
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise DeviceError(f"{self._node}: the power sampler did not end within {timeout_s:g} s") from error
            finally:
                self.close()
        return self._report

    def close(self) -> None:
        """End the process at once, for when its samples no longer matter; more than once does no harm."""
        if self.alive:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def __enter__(self) -> PowerSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        """The process's next line; an error that it reports is raised."""
        assert self._process.stdout is not None  # noqa: S101  (asked for in start)
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise DeviceError(f"{self._node}: the power sampler did not answer within {timeout_s:g} s")
            data = os.read(fd, 65536)
            if not data:
                code = self._process.wait()
                raise DeviceError(f"{self._node}: the power sampler ended without a word (exit code {code})")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = msgspec.json.decode(line)
        if "error" in answer:
            raise DeviceError(f"{self._node}: power sampling failed: {answer['error']}")
        return answer
