from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base.errors import TestbedError
from devices.base.plugins import plugins, with_plugins
from tests.devices.base.installed import install

GROUP = "testbed.things"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("plugins_")]:
        del sys.modules[name]


def test_the_objects_of_all_packages_are_found_by_name(site: Path) -> None:
    install(site, "one", {GROUP: "b = plugins_one:B\na = plugins_one:A"}, {"plugins_one.py": "A, B = 1, 2"})
    install(site, "two", {GROUP: "c = plugins_two:C", "other.group": "d = nowhere:D"}, {"plugins_two.py": "C = 3"})
    assert list(plugins(GROUP).items()) == [("a", 1), ("b", 2), ("c", 3)]


def test_no_package_adds_nothing() -> None:
    assert plugins(GROUP) == {}
    assert with_plugins(GROUP, {"own": 1}) == {"own": 1}


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("raise RuntimeError('no bus')", "RuntimeError: no bus"),
        ("", "AttributeError: "),
        ("import no_such_module", "ModuleNotFoundError: "),
    ],
)
def test_a_broken_plug_in_is_one_line_that_names_its_distribution(site: Path, module: str, error: str) -> None:
    install(site, "lab-things", {GROUP: "bad = plugins_bad:THING"}, {"plugins_bad.py": module}, version="0.3")
    with pytest.raises(TestbedError) as caught:
        plugins(GROUP)
    text = str(caught.value)
    assert "\n" not in text
    assert f"the plug-in 'bad' of {GROUP} (lab-things 0.3, plugins_bad:THING) cannot be loaded: {error}" in text
    assert text.endswith("mend that package or uninstall it")


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    install(site, "one", {GROUP: "same = plugins_one:A"}, {"plugins_one.py": "A = 1"})
    install(site, "two", {GROUP: "same = plugins_two:A"}, {"plugins_two.py": "A = 1"})
    with pytest.raises(TestbedError, match=r"one 1\.0 and two 1\.0 both add 'same' to testbed\.things"):
        plugins(GROUP)


def test_a_package_that_is_on_the_path_twice_counts_once(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("", "again"):
        install(tmp_path / place, "one", {GROUP: "a = plugins_one:A"}, {"plugins_one.py": "A = 1"})
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    assert plugins(GROUP) == {"a": 1}


def test_a_plug_in_may_not_take_a_name_of_the_testbeds_own(site: Path) -> None:
    install(site, "one", {GROUP: "a = plugins_one:A"}, {"plugins_one.py": "A = 1"})
    assert with_plugins(GROUP, {"b": 2}) == {"b": 2, "a": 1}
    with pytest.raises(TestbedError, match=r"'a' of testbed\.things may not be named so: the testbed's own is"):
        with_plugins(GROUP, {"a": 0})
