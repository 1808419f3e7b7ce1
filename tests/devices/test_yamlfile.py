from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devices.yamlfile import YamlError, load, value
from devices.yamltext import dump

TEXT = """\
# a comment
name: demo

link:
  profiles:
    - wifi
    - name: lte
      up_mbit: 8
  flow: {a: 1,
         b: [x, y]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "experiment.yaml"


def test_data_is_what_pyyaml_reads(file: Path) -> None:
    file.write_text(TEXT)
    assert load(file).data == yaml.safe_load(TEXT)


@pytest.mark.parametrize(
    ("key_path", "line"),
    [
        ([], 2),
        (["name"], 2),
        (["link"], 4),
        (["link", "profiles"], 5),
        (["link", "profiles", 0], 6),
        (["link", "profiles", 1, "up_mbit"], 8),
        (["link", "flow", "b"], 10),
        (["link", "flow", "b", 1], 10),
    ],
)
def test_line_is_where_the_key_stands(file: Path, key_path: list[str | int], line: int) -> None:
    file.write_text(TEXT)
    assert load(file).line(key_path) == line


def test_line_of_a_missing_key_is_that_of_its_nearest_parent(file: Path) -> None:
    file.write_text(TEXT)
    document = load(file)
    assert document.line(["link", "profiles", 1, "down_mbit", "deep", 3]) == 7
    assert document.line(["nothing"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: expected keys and values, the file is empty"),
        ("# only a comment\n", ":1: expected keys and values, the file is empty"),
        ("\n- a\n- b\n", ":2: expected `key: value` lines at the top, got a list"),
        ("just words\n", ":1: expected `key: value` lines at the top, got `just words`"),
        ("a: 1\nb: 2\na: 3\n", ":3: key `a` occurs twice, first on line 1"),
        ("a:\n  x: 1\n  x: 2\n", ":3: key `x` occurs twice, first on line 2"),
        ("a: 1\nb: [1, 2\nc: 3\n", ":3: not valid YAML: "),
        ("a: 1\n\tb: 2\n", ":2: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", ":2: not valid YAML: "),
        ("a: 1\non: 2\n", ":2: expected a key that is text, got `True`; put it in quotes"),
        ("a: 1\n7: 2\n", ":2: expected a key that is text, got `7`; put it in quotes"),
        ("a: 1\n? [x]\n: 2\n", ":2: expected a key that is text, got nothing; put it in quotes"),
        ("a: &x [1]\nb: *x\n", ":1: anchors and aliases are not read here"),
        ("a: &x\n  - *x\n", ":1: anchors and aliases are not read here"),
        ("a: 1\n<<: {b: 2}\n", ":2: `<<` is not read here; write the keys out"),
        ("a: 1\nb: !!python/object/apply:os.system [true]\n", ":2: tag "),
        ("a: 1\nb: !mine {c: 2}\n", ":2: tag !mine is not read here"),
        ("a: 1\nb: 2024-13-45\n", ":2: `2024-13-45` is not a value"),
        ("a: 1\nb: \x07\n", ":2: not valid YAML: special characters are not allowed"),
        ("a: " + "[" * 100_000, ":1: nested too deeply, more than 50 levels"),
        ("a:\n" + "".join(f"{' ' * depth}- \n" for depth in range(1, 200)), ":51: nested too deeply"),
        ("a:\n  b: 1\n\tc: 2\n", ":3: not valid YAML: a tab indents this line; YAML indents with spaces alone"),
        (
            "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")),
            ":1: anchors",
        ),
        ("a: 2026-02-30\n", ":1: `2026-02-30` is not a value: day is out of range for month"),
        ("a: 2026-11-26\n", ":1: `2026-11-26` is a date to YAML; put it in quotes"),
        ("a: 2026-11-26T25:00:00\n", ":1: `2026-11-26T25:00:00` is not a value: hour must be in 0..23"),
        ("a: 0000-00-00\n", ":1: `0000-00-00` is not a value: "),
        ("a: 1\nb: !!bool x\n", ":2: `x` is not a value: it is no bool"),
        ("a: 1\nb: !!timestamp x\n", ":2: `x` is not a value: it is no timestamp"),
        ('a: 1\nb: !!float ""\n', ":2: `` is not a value: "),
        ('a: 1\nb: !!int ""\n', ":2: `` is not a value: "),
        ("a: 1\nb: !!binary YQ==\n", ":2: tag tag:yaml.org,2002:binary is not read here"),
        ("a: 0x_\n", ":1: `0x_` is not a value: "),
        ("a: 1\nb: " + "9" * 5000 + "\n", ":2: `" + "9" * 59 + "…` is not a value: a number of 5000 characters"),
        ("a: 1\nb: 0x" + "f" * 5000 + "\n", ":2: `0x" + "f" * 57 + "…` is not a value: a number of 5002 characters"),
        ("a: 1" + ":59" * 120 + ".5\n", ":1: `1:59:59"),
        ("a: 010\n", ":1: `010` is a number in base 8 or 60 to YAML; write it in base 10, or in quotes if it is text"),
        ("a: 1:30\n", ":1: `1:30` is a number in base 8 or 60"),
        ('a: "x\\0y"\n', ":1: `x\\x00y` has a character that no file or name can have"),
        ('a: "\\ud800"\n', ":1: `\\ud800` has a character that no file or name can have"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(YamlError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}{message}")


def test_text_that_is_not_utf8_is_named_with_its_line(file: Path) -> None:
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(YamlError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:2: expected UTF-8 text"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_text_of_wider_characters_is_said_to_be_that(file: Path, encoding: str) -> None:
    file.write_bytes(TEXT.encode(encoding))
    with pytest.raises(YamlError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:1: expected UTF-8 text, this is UTF-16 or 32; save it as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(file: Path) -> None:
    file.write_bytes(TEXT.encode("utf-8-sig"))
    assert load(file).data == yaml.safe_load(TEXT)


def test_what_is_no_file_is_said_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, found in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(YamlError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: cannot be read: expected a file, it is {found}"
    with pytest.raises(YamlError, match="cannot be read: embedded null byte"):
        load(Path("a\0b"))
    with pytest.raises(YamlError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))


def test_a_file_that_is_too_large_to_be_one_is_refused(file: Path) -> None:
    file.write_text("a: 1\n" * 250_000)
    with pytest.raises(YamlError, match="larger than 1 MiB, so it is no such file"):
        load(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e1", 10),
        ("-2e+3", -2000),
        ("1e-3", 0.001),
        ("5.e2", 500),
        (".5e1", 5),
        ("1e400", float("inf")),
        ("2.5e-3", 0.0025),
        ("-1E+2", -100),
        ("'1e1'", "1e1"),
        ("1e", "1e"),
        ("e1", "e1"),
    ],
)
def test_a_number_may_have_an_exponent_alone(file: Path, text: str, value: object) -> None:
    file.write_text(f"a: {text}\n")
    found = load(file).data["a"]
    assert found == value
    assert isinstance(found, int) == (isinstance(value, int))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("2026-02-30", "is not a value: day is out of range for month"),
        ("!!bool x", "is not a value"),
        ("9" * 5000, "a number of 5000 characters"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}", "anchors and aliases are not read here"),
        ("{a: 1, a: 2}", "key `a` occurs twice"),
        ("[1", "not valid YAML"),
        ("@x", "not valid YAML"),
        ("\udcff", "not valid YAML: special characters are not allowed"),
        ("a\n---\nb", "not valid YAML"),
    ],
)
def test_a_value_outside_a_file_is_refused_in_one_line_with_its_name(text: str, cause: str) -> None:
    with pytest.raises(YamlError) as caught:
        value(text, "--set x=")
    message = str(caught.value)
    assert message.startswith("--set x=: ")
    assert cause in message
    assert message.isprintable()


def test_no_value_is_none() -> None:
    assert value("", "--set x=") is None


words = st.text(st.sampled_from("0123456789eExX_:.-+&*!%@{}[]|>#'\"\\ab \n\t\0~?,T/=<\u2028é\x85"), max_size=30)
tags = st.sampled_from(
    ["", "!!int ", "!!float ", "!!bool ", "!!null ", "!!timestamp ", "!!set ", "!!binary ", "! ", "!x "]
)


@given(text=st.builds(str.__add__, tags, words), key=words)
def test_any_text_is_a_value_or_one_line_that_says_why_not(text: str, key: str) -> None:
    for whole in (text, f"{key}: {text}", f"- {text}"):
        said = refusal(whole)
        assert said is None or (said.startswith("here: ") and said.isprintable())


def refusal(text: str) -> str | None:
    try:
        json.dumps(value(text, "here")).encode()
    except YamlError as error:
        return str(error)
    return None


# PyYAML writes U+0085 and U+2028 as they are, and reads them back as line ends.
plain = words.map(lambda text: re.sub("[\0\x85\u2028]", "", text))


@given(data=st.lists(plain | st.floats(allow_nan=False) | st.integers(), max_size=5))
def test_what_is_written_is_read_back(data: list[object]) -> None:
    assert value(dump({"a": data}), "here") == {"a": data}


def test_a_missing_file_says_so(file: Path) -> None:
    with pytest.raises(YamlError, match=r"experiment\.yaml: cannot be read: No such file"):
        load(file)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc: #\n'\"é", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1), inner, max_size=3),
    max_leaves=12,
)


@given(data=st.dictionaries(st.text("abcd", min_size=1), values, min_size=1, max_size=4))
def test_any_plain_mapping_comes_back_and_every_key_has_a_line(
    data: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Flow style, since only there can PyYAML write a list beside its key; no aliases for equal values.
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.dump(data, Dumper=Dumper, allow_unicode=True))
    document = load(file)
    assert document.data == data
    text = file.read_text().split("\n")
    for key in data:
        assert text[document.line([key]) - 1].startswith((key, f"? {key}", f"'{key}'", f'"{key}"'))
