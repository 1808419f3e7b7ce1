"""What a node is sent: the packages that it lacks, and no others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from devices.profile import Runtime, load_profile
from testbed.deploy import wheels
from testbed.errors import DeployError

ROOT = Path(__file__).parents[3]
ORIN = wheels.Python("/usr/bin/python3", "3.10.12", "aarch64", ("glibc", "2.35"))
SERVER = wheels.Python("/usr/bin/python3", "3.13.1", "x86_64", ("glibc", "2.41"))
WHOLE: dict[str, str | None] = {
    "numpy": "2.2.0",
    "zmq": "27.0",
    "msgspec": "0.20.0",
    "yaml": "6.0",
    "onnxruntime": "1.23",
}


NEEDED = wheels.requirements()


def lacking(python: wheels.Python, **changes: str | None) -> list[str]:
    return [str(requirement) for requirement in wheels.lacking(NEEDED, WHOLE | changes, python)]


def test_node_that_has_all_is_sent_nothing() -> None:
    assert lacking(ORIN) == []


def test_only_what_is_missing_or_too_old_is_sent() -> None:
    assert lacking(SERVER, msgspec=None, yaml="5.4.1") == ["msgspec>=0.19", "PyYAML>=6"]


def test_node_with_a_gpu_to_be_metered_is_sent_its_binding_too() -> None:
    profile = load_profile(ROOT / "devices" / "nvidia-gpu.yaml")
    needed = wheels.requirements(wheels.extras(profile))

    (wanted,) = wheels.lacking(needed, WHOLE, SERVER)

    assert str(wanted).startswith("nvidia-ml-py>=")
    assert wheels.probes(needed)["nvidia-ml-py"] == "pynvml"
    assert wheels.lacking(needed, WHOLE | {"pynvml": "12.560.30"}, SERVER) == []
    orin = load_profile(ROOT / "devices" / "jetson-orin-nano.yaml")
    assert wheels.extras(orin) == ()
    assert wheels.extras(orin, tc=True) == ("tc",)
    assert wheels.extras(profile, tc=True) == ("nvml", "tc")


def test_vendors_own_build_is_used_as_it_is() -> None:
    assert lacking(ORIN, onnxruntime="1.23.0+nv24.08", numpy="2.0.0rc1") == []
    assert lacking(ORIN, onnxruntime="") == []  # it is there, and does not say which it is


def test_beside_a_runtime_that_stays_numpy_is_of_the_version_that_any_build_takes() -> None:
    assert lacking(ORIN, numpy="1.21.5") == ["numpy<2,>=1.26"]
    assert lacking(ORIN, numpy="1.21.5", onnxruntime=None) == ["numpy>=1.26", "onnxruntime>=1.18"]
    assert lacking(SERVER, numpy=None) == ["numpy>=1.26"]  # there is no numpy 1 for this Python


def test_a_requirement_without_a_version_is_narrowed_too() -> None:
    """`"numpy,<2"` would be no requirement."""
    (wanted,) = wheels.lacking([Requirement("numpy"), Requirement("onnxruntime")], {"onnxruntime": "1.23"}, ORIN)
    assert str(wanted) == "numpy<2"


def test_what_to_type_on_the_node_is_a_whole_command() -> None:
    wanted = wheels.lacking(NEEDED, WHOLE | {"zmq": None, "msgspec": None}, ORIN)

    assert wheels.install_command(ORIN, wanted) == "/usr/bin/python3 -m pip install 'pyzmq>=26' 'msgspec>=0.19'"


def test_a_python_that_belongs_to_the_distribution_is_not_to_be_installed_into() -> None:
    """Debian 12 and Ubuntu 24.04, JetPack 7 among them, refuse pip there (PEP 668)."""
    managed = dataclasses.replace(ORIN, managed=True)
    wanted = wheels.lacking(NEEDED, WHOLE | {"msgspec": None}, managed)
    assert wheels.install_command(managed, wanted) == (
        "/usr/bin/python3 -m venv --system-site-packages ~/neucodex-python && ~/neucodex-python/bin/pip install "
        "'msgspec>=0.19'; then `python: ~/neucodex-python/bin/python` in the profile"
    )


def test_wheels_are_for_the_nodes_c_library_and_none_that_is_newer() -> None:
    assert ORIN.platforms()[0] == "manylinux_2_35_aarch64"
    assert ORIN.platforms()[-1] == "manylinux_2_17_aarch64"
    with pytest.raises(DeployError, match="C library"):
        wheels.Python("/usr/bin/python3", "3.12.0", "x86_64", ("", "")).platforms()


def test_pytorch_is_never_sent_and_numpy_beside_a_nodes_own_is_one_that_it_takes() -> None:
    assert "torch" not in wheels.MODULES
    assert lacking(ORIN, torch="2.3.0a0+6ddf5cf85e.nv24.4") == []
    assert lacking(ORIN, torch="2.3.0a0+6ddf5cf85e.nv24.4", onnxruntime=None, numpy=None) == [
        "numpy<2,>=1.26",
        "onnxruntime>=1.18",
    ]


def test_a_node_whose_profile_wants_pytorch_has_it_or_lacks_it() -> None:
    profile = load_profile(ROOT / "devices" / "host.yaml")
    wanting = msgspec.structs.replace(profile, runtime=Runtime(provider="torch", device="cuda"))
    assert wheels.without_torch(wanting, {"torch": None})
    assert not wheels.without_torch(wanting, {"torch": ""})  # it is there, and does not say which it is
    assert not wheels.without_torch(profile, {"torch": None})
