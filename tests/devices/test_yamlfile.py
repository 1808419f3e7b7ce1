from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devices.yamlfile import YamlError, load

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
    ("text", "value"),
    [("1e1", 10.0), ("2.5e-3", 0.0025), ("-1E+2", -100.0), ("'1e1'", "1e1"), ("1e", "1e"), ("e1", "e1")],
)
def test_a_number_with_an_exponent_is_a_number_without_point_or_sign_too(file: Path, text: str, value: object) -> None:
    file.write_text(f"rate_hz: {text}")
    assert load(file).data == {"rate_hz": value}


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
        ("a: 1\n<<: {b: 2}\n", ":2: not valid YAML: could not determine a constructor"),
        ("a: 1\nb: !!python/object/apply:os.system [true]\n", ":2: tag "),
        ("a: 1\nb: !mine {c: 2}\n", ":2: tag !mine is not read here"),
        ("a: 1\nb: 2024-13-45\n", ":2: `2024-13-45` is not a value"),
        ("a: 1\nb: \x07\n", ":2: not valid YAML: special characters are not allowed"),
        ("a: " + "[" * 5000, ":1: nested too deeply"),
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
