"""What NVML says of a GPU is read, told apart, compared with itself, and refused where it says nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devices.base.errors import DeviceError
from devices.base.power import Capability
from devices.power.client import PowerSampler
from devices.power.nvml import NvmlPower, NvmlSource
from devices.power.source import Sample, Surroundings
from devices.profile import Profile, Runtime
from tests.devices.lines import lines_of, wait_for_lines

FAKE = Path(__file__).parents[1] / "fakes" / "nvml"
S = 1_000_000_000


class Gpu:
    """A GPU whose driver shares its clock with the source; only `go` moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spec: NvmlPower) -> None:
        self._monkeypatch = monkeypatch
        self.now_ns = 1000 * S
        self._set()
        self.source = NvmlSource(spec, Surroundings(Path("none")), lambda: self.now_ns)

    def probe(self) -> Capability:
        return self.source.probe()

    def go(self, seconds: float, rate_hz: float = 20) -> list[Sample]:
        samples = []
        for _ in range(round(seconds * rate_hz)):
            self.now_ns += round(S / rate_hz)
            self._set()
            samples += self.source.read()
        return samples

    def _set(self) -> None:
        self._monkeypatch.setenv("FAKE_NVML_S", repr(self.now_ns / 1e9))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gpu]]:
    made = []

    def make(mode: str, **spec: int | str | float) -> Gpu:
        monkeypatch.setenv("FAKE_NVML", mode)
        monkeypatch.syspath_prepend(str(FAKE))
        # A module of its own for each test, since it counts.
        monkeypatch.delitem(sys.modules, "pynvml", raising=False)
        made.append(Gpu(monkeypatch, NvmlPower(rate_hz=20, **spec)))
        return made[-1]

    yield make
    for one in made:
        one.source.close()
    sys.modules.pop("pynvml", None)


def test_the_card_is_the_module_and_every_other_reading_of_it_a_part(gpu: Callable[..., Gpu]) -> None:
    capability = gpu("good").probe()
    assert {rail.name: rail.scope for rail in capability.rails} == {
        "GPU0": "module",
        "GPU0_AVERAGE": "rail",
        "GPU0_INSTANT": "rail",
        "GPU0_COUNTER": "rail",
    }
    assert capability.averaging_ms == 1000
    assert capability.detail["uuid"] == "GPU-4f7c"
    assert capability.detail["driver"] == "570.86.15"


def test_an_old_gpu_gives_its_power_alone(gpu: Callable[..., Gpu]) -> None:
    capability = gpu("old").probe()
    assert [rail.name for rail in capability.rails] == ["GPU0"]
    assert capability.averaging_ms is None


def test_a_gpu_may_be_named_by_its_uuid(gpu: Callable[..., Gpu]) -> None:
    assert gpu("good", gpu="GPU-4f7c").probe().rails[0].name == "GPU0"
    with pytest.raises(DeviceError, match=r"GPU GPU-0000 is not there: NVML says Not Found; see `nvidia-smi -L`"):
        gpu("good", gpu="GPU-0000").probe()


def test_readings_follow_the_power_and_the_counter_its_mean(gpu: Callable[..., Gpu]) -> None:
    one = gpu("good")
    one.probe()
    samples = one.go(4)
    fake = sys.modules["pynvml"]
    instant = [sample for sample in samples if sample.rail == "GPU0_INSTANT"]
    assert len(instant) == 80
    for sample in instant:
        assert sample.mw == pytest.approx(fake.power_mw(sample.t_ns / 1e9), abs=1)
    # The mean over the second before is stamped in its middle.
    usage = [sample for sample in samples if sample.rail == "GPU0"]
    assert [sample.t_ns + S // 2 for sample in usage] == [sample.t_ns for sample in instant]
    counted = [sample for sample in samples if sample.rail == "GPU0_COUNTER"]
    assert sum(sample.mw for sample in counted) / len(counted) == pytest.approx(120_000, rel=0.02)


def test_a_counter_that_agrees_with_the_power_is_recorded_and_not_flagged(gpu: Callable[..., Gpu]) -> None:
    one = gpu("good")
    one.probe()
    one.go(8)
    check = one.source.self_check()
    assert check.warnings == []
    assert check.detail["divergence"] == pytest.approx(0, abs=0.02)
    assert check.detail["counted_mw"] == pytest.approx(120_000, rel=0.02)


def test_a_counter_that_lags_is_flagged_with_number_and_limit(gpu: Callable[..., Gpu]) -> None:
    one = gpu("lagging")
    one.probe()
    one.go(8)
    check = one.source.self_check()
    assert check.detail["divergence"] == pytest.approx(-0.2, abs=0.02)
    [warning] = check.warnings
    assert warning.startswith("GPU 0 (NVIDIA L40S): the energy counter gives 9")
    assert "apart (limit 5%)" in warning


def test_a_counter_that_stands_still_is_flagged_and_gives_no_sample(gpu: Callable[..., Gpu]) -> None:
    one = gpu("stuck")
    one.probe()
    assert not [sample for sample in one.go(8) if sample.rail == "GPU0_COUNTER"]
    [warning] = one.source.self_check().warnings
    assert re.search(r"the energy counter moved for 0\.0 s of \d\.\d s", warning)


def test_a_short_run_says_nothing_of_the_counter(gpu: Callable[..., Gpu]) -> None:
    one = gpu("lagging")
    one.probe()
    one.go(2)
    check = one.source.self_check()
    assert check.warnings == []
    assert "divergence" not in check.detail


def test_a_jetson_whose_nvml_starts_and_then_refuses_is_an_error(gpu: Callable[..., Gpu]) -> None:
    with pytest.raises(DeviceError, match=r"GPU 0 .* does not tell its power: NVML says Not Supported; on a Jetson"):
        gpu("jetson").probe()


def test_a_machine_without_a_driver_is_an_error(gpu: Callable[..., Gpu]) -> None:
    with pytest.raises(DeviceError, match=r"NVML does not start: .*Library Not Found; is NVIDIA's driver loaded"):
        gpu("no-driver").probe()


def test_a_python_without_the_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(DeviceError, match="pip install nvidia-ml-py"):
        NvmlSource(NvmlPower(rate_hz=10), Surroundings(Path("none"))).probe()


def test_an_older_binding_gives_the_power_without_what_it_lacks(gpu: Callable[..., Gpu]) -> None:
    one = gpu("good")
    import pynvml

    for name in (
        "nvmlDeviceGetArchitecture",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetPowerManagementLimitConstraints",
    ):
        delattr(pynvml, name)
    capability = one.probe()
    assert [rail.name for rail in capability.rails] == ["GPU0"]
    assert {sample.rail for sample in one.go(1)} == {"GPU0"}


def test_an_older_binding_wants_a_uuid_in_bytes(gpu: Callable[..., Gpu], monkeypatch: pytest.MonkeyPatch) -> None:
    one = gpu("good", gpu="GPU-4f7c")
    import pynvml

    def by_uuid(uuid: bytes) -> str:
        if isinstance(uuid, str):
            raise TypeError("bytes or integer address expected instead of str instance")
        return "handle" if uuid == b"GPU-4f7c" else ""

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", by_uuid)
    assert one.probe().rails[0].name == "GPU0"


def test_another_package_of_that_name_is_told_from_nvidias(gpu: Callable[..., Gpu]) -> None:
    one = gpu("good")
    import pynvml

    del pynvml.nvmlDeviceGetPowerUsage
    with pytest.raises(
        DeviceError, match=r"is not nvidia-ml-py \(it has no nvmlDeviceGetPowerUsage\); on the node: pip"
    ):
        one.probe()


def test_a_mig_instance_is_said_to_be_a_part_of_a_gpu(gpu: Callable[..., Gpu]) -> None:
    with pytest.raises(DeviceError, match=r"GPU MIG-3f0c: that is a MIG instance, .*; name the GPU that it is on"):
        gpu("good", gpu="MIG-3f0c").probe()


def test_a_gpu_that_reads_0_mw_is_an_error(gpu: Callable[..., Gpu]) -> None:
    with pytest.raises(DeviceError, match="gives its power as 0 mW"):
        gpu("zero").probe()


def test_a_reading_of_0_mw_is_left_out_and_counted(gpu: Callable[..., Gpu]) -> None:
    one = gpu("flaky")
    one.probe()
    samples = [sample for sample in one.go(5) if sample.rail == "GPU0"]
    assert len(samples) == 80
    assert min(sample.mw for sample in samples) >= 60_000
    assert one.source.self_check().warnings[0] == "GPU 0 (NVIDIA L40S): 20 readings of 0 mW were left out"


def test_a_gpu_that_is_lost_is_an_error(gpu: Callable[..., Gpu]) -> None:
    one = gpu("lost")
    one.probe()
    with pytest.raises(DeviceError, match="no longer tells its power: NVML says GPU is lost"):
        one.go(2)


def test_the_sampler_reports_what_the_gpu_found_in_its_readings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_NVML", "flaky")
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}:{FAKE.parents[2]}")
    profile = Profile(
        name="gpu",
        kind="nvidia_gpu",
        reach="local",
        runtime=Runtime(provider="cuda"),
        power=[NvmlPower(rate_hz=50)],
    )
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(profile, "cloud", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 100)
        report = sampler.stop()
    [source] = report.sources
    assert source.samples == len(lines_of(out))
    assert source.check.detail["zero_readings"] >= 5
    assert "readings of 0 mW were left out" in source.check.warnings[0]
    assert {line["rail"] for line in lines_of(out)} == {"GPU0", "GPU0_AVERAGE", "GPU0_INSTANT", "GPU0_COUNTER"}
