"""Plug-ins from files: what they add, and one line with its place for whatever is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base import plugins
from devices.base.errors import TestbedError
from devices.power import sources
from testbed.link.codec import CodecError, codec_names
from testbed.modes import mode_names
from testbed.record.exits import policies
from tests.devices.base.installed import install

CODECS = "testbed.codecs"
CODEC = """
class Plain:
    name, wire_id = "plain", 70

    def encode(self, code):
        return code.tobytes()

    def decode(self, payload, shape):
        return payload

    def payload_bytes(self, shape):
        return None

"""


@pytest.fixture(autouse=True)
def _none_before_and_after() -> Iterator[None]:
    plugins.use_files([])
    yield
    plugins.use_files([])


def written(folder: Path, text: str, name: str = "lab.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_a_file_adds_is_there_until_other_files_are_used(tmp_path: Path) -> None:
    before = codec_names()
    plugins.use_files([written(tmp_path, CODEC + 'ADDS = {"codecs": {"plain": Plain()}}\n')])
    assert codec_names() == (*before, "plain")
    plugins.use_files([])
    assert codec_names() == before


def test_an_edited_file_is_another_part_with_another_digest(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        plugins.use_files([written(tmp_path, f'ADDS = {{"codecs": {{"one": {number}}}}}')])
        found.append(plugins.found(CODECS)["one"])
    assert [plugin.thing for plugin in found] == [1, 2]
    assert found[0].digest != found[1].digest


def test_files_that_add_only_metrics_and_figures_stay_on_the_workstation(tmp_path: Path) -> None:
    both = written(tmp_path, 'ADDS = {"codecs": {"one": 1}, "figures": {"two": 2}}', "both.py")
    here = written(tmp_path, 'ADDS = {"metrics": {"three": 3}, "figures": {"four": 4}}', "here.py")
    plugins.use_files([both, here])
    assert plugins.files() == [both, here]
    assert plugins.files_on_nodes() == [both]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module\nADDS = {}\n", r":1: cannot be loaded: ModuleNotFoundError: "),
        ("A = 1\n", r"lab\.py: a file of plug-ins says what it adds in ADDS = "),
        ("A = 1\nADDS = []\n", r":2: a file of plug-ins says what it adds"),
        ('ADDS = {"codecs": 3}\n', r":1: a file of plug-ins says what it adds"),
        (
            'ADDS = {\n    "codecs": {},\n    "codec": {"a": 1},\n}\n',
            r":3: ADDS has no group 'codec'; there is codecs, ",
        ),
        ('ADDS = {\n    "codecs": {\n        "a b": 1,\n    },\n}\n', r":3: 'a b' is no name of a part"),
    ],
)
def test_a_file_that_adds_nothing_or_something_else_is_one_line_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(TestbedError, match=said) as found:
        plugins.use_files([written(tmp_path, text)])
    assert str(found.value).startswith(str(tmp_path / "lab.py"))
    assert "\n" not in str(found.value)
    assert plugins.files() == []


@pytest.mark.parametrize(
    ("group", "names"),
    [("codecs", codec_names), ("modes", mode_names), ("power_sources", sources.sources), ("exit_policies", policies)],
)
@pytest.mark.parametrize("name", ["taken", "none"])
def test_a_name_that_is_taken_and_a_part_that_is_none_are_named_with_their_place(
    tmp_path: Path, group: str, names, name: str
) -> None:
    own = {"codecs": "packed", "modes": "edge_only", "power_sources": "ina", "exit_policies": "margin"}[group]
    called = own if name == "taken" else "mine"
    plugins.use_files([written(tmp_path, f'ADDS = {{\n    "{group}": {{"{called}": 7}},\n}}\n')])
    said = "may not be named so: the testbed's own is" if name == "taken" else "is no "
    with pytest.raises(TestbedError, match=rf"lab\.py:2: the plug-in '{called}' of testbed\.{group} {said}"):
        names()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [written(folder, 'ADDS = {"metrics": {"a": 1}}') for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(TestbedError, match=r"lab\.py: two files of plug-ins have this name; rename one"):
        plugins.use_files(files)


def test_a_codec_s_number_that_is_taken_is_named_with_its_place(tmp_path: Path) -> None:
    adds = 'Again = Plain()\nAgain.name = "zagain"\nADDS = {"codecs": {"plain": Plain(), "zagain": Again}}\n'
    plugins.use_files([written(tmp_path, CODEC + adds)])
    line = (CODEC + adds).count("\n")
    with pytest.raises(CodecError, match=rf"lab\.py:{line}: the plug-in 'zagain' .* has the wire_id 70 of 'plain'"):
        codec_names()


def test_two_files_or_a_file_and_a_package_that_add_one_name_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = written(tmp_path, 'ADDS = {"codecs": {"same": 1}}', "one.py")
    two = written(tmp_path, '\nADDS = {"codecs": {"same": 2}}', "two.py")
    plugins.use_files([one, two])
    with pytest.raises(TestbedError, match=r"one\.py:1 and .*two\.py:2 both add 'same' to testbed\.codecs"):
        plugins.plugins(CODECS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(tmp_path / "site", "pack", {CODECS: "same = math:pi"}, {})
    plugins.use_files([one])
    with pytest.raises(TestbedError, match=r"pack 1\.0 and .*one\.py:1 both add 'same'"):
        plugins.plugins(CODECS)
