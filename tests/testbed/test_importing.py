from __future__ import annotations

from pathlib import Path

import pytest

from testbed.config import Strict, load_config
from testbed.errors import ExperimentError
from testbed.importing import FileAndName, Imported


class Block(Strict):
    make: FileAndName


def read(folder: Path, said: str) -> Imported:
    (folder / "block.yaml").write_text(f"# a comment\nmake: {said}\n")
    return load_config(folder / "block.yaml", Block).make


def test_a_function_is_found_in_a_file_beside_the_yaml_file_and_called(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def double(n, plus=0):\n    return 2 * n + plus\n")
    assert read(tmp_path, "own.py:double").call(3, plus=1) == 7


def test_what_is_digested_is_the_file_s_content_and_not_its_place(tmp_path: Path) -> None:
    blocks = []
    for name, text in (("one", "A = 1"), ("two", "A = 1"), ("three", "A = 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text(text)
        blocks.append(Block(make=read(tmp_path / name, "own.py:A")).model_dump(mode="json"))
    assert blocks[0] == blocks[1] != blocks[2]
    assert blocks[0]["make"].keys() == {"file", "name", "sha256"}


def test_an_edited_file_is_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("A = 1")
    assert read(tmp_path, "own.py:A").load() == 1
    (tmp_path / "own.py").write_text("A = 2")
    assert read(tmp_path, "own.py:A").load() == 2


@pytest.mark.parametrize("said", ["own.py", "own:f", "own.py:not-a-name", "3", "[own.py]"])
def test_what_is_not_a_file_with_a_name_is_refused_where_it_stands(tmp_path: Path, said: str) -> None:
    with pytest.raises(ExperimentError, match=r"block\.yaml:2: make: expected FILE\.py:NAME"):
        read(tmp_path, said)


def test_a_file_that_is_not_there_is_named_with_the_line_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"block\.yaml:2: make: .*gone\.py: cannot be read: No such file"):
        read(tmp_path, "gone.py:f")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(\n", r"own\.py:1: cannot be loaded: SyntaxError: "),
        ("import math\nimport no_such_module\n", r"own\.py:2: cannot be loaded: ModuleNotFoundError: "),
        ("def g():\n    1 / 0\n\ng()\n", r"own\.py:2: cannot be loaded: ZeroDivisionError: "),
        ("def g():\n    pass\n", r"own\.py: has no f; there is g"),
        ("f = 3\n", r"own\.py: f is no function but a int"),
        ("import math\n\ndef f():\n    return math.sqrt(-1)\n", r"own\.py:4: f failed: ValueError: "),
    ],
)
def test_a_file_or_function_that_fails_is_one_line_with_its_place(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ExperimentError, match=said) as found:
        read(tmp_path, "own.py:f").call()
    assert "\n" not in str(found.value)
