from __future__ import annotations

from collections.abc import Callable

import pytest

from devices.power.emulated import EmulatedPower
from devices.profile import Emulation, Profile, Runtime
from devices.timemodel import Slowdown


@pytest.fixture
def power() -> EmulatedPower:
    return EmulatedPower(
        rail="VDD_IN", rate_hz=100, idle_mw=1000, cpu_busy_mw=9000, radio_mw=3000, reference="made up for a test"
    )


@pytest.fixture
def make_profile() -> Callable[..., Profile]:
    def make(*power: EmulatedPower) -> Profile:
        return Profile(
            name="toy",
            kind="emulated",
            reach="local",
            runtime=Runtime(provider="cpu"),
            emulates=Emulation(board="Toy", processor="cpu", time=Slowdown(slowdown=2, reference="made up for a test")),
            power=list(power),
        )

    return make
