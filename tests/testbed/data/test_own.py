"""Data of one's own: arrays that a function gives, checked against what the recipe says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from testbed.config import Strict, load_config
from testbed.data.datasets import Dataset, DatasetSpec, load, source_digest
from testbed.errors import ExperimentError
from testbed.snn.recipe import load_recipe
from tests.testbed.data.conftest import one_line

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"
HEAD = "import numpy as np\n\n"
GOOD = """
def part(count, shape=(3, 8, 12)):
    labels = np.arange(count) % 2
    return np.tile(labels.astype(np.uint8).reshape(-1, *[1] * len(shape)), (1, *shape)), labels

def make():
    return {"train": part(40), "test": part(10), "classes": ["dark", "bright"]}
"""


class Block(Strict):
    dataset: DatasetSpec


def read(folder: Path, source: str, **keys: Any) -> DatasetSpec:
    """The block of a recipe beside own.py."""
    (folder / "own.py").write_text(HEAD + source)
    said = {"import": "own.py:make", "image_size": "[8, 12]", "channels": 3} | keys
    (folder / "recipe.yaml").write_text("dataset:\n" + "".join(f"  {key}: {value}\n" for key, value in said.items()))
    return load_config(folder / "recipe.yaml", Block).dataset


def test_a_function_s_arrays_are_the_data_set_with_its_own_split(tmp_path):
    found: Dataset = load(read(tmp_path, GOOD, title="lamps"))
    assert (found.name, found.classes) == ("lamps", ("dark", "bright"))
    assert (len(found.train), len(found.validation), len(found.test)) == (36, 4, 10)
    assert found.train.images.shape == (36, 3, 8, 12)
    assert (found.train.images.max((1, 2, 3)) == found.train.labels).all()
    assert "3x8x12; own.py:make, sha256 " in found.variant
    assert "its own train/test split" in found.variant


def test_validation_samples_of_one_s_own_and_few_of_each_class_are_taken(tmp_path):
    source = GOOD.replace('"test"', '"validation": part(8), "test"')
    found = load(read(tmp_path, source, max_per_class=4))
    assert [len(part) for part in (found.train, found.validation, found.test)] == [8, 8, 8]
    assert "its own train/validation/test split" in found.variant


def test_frames_of_events_are_taken_too_and_the_function_is_told_what_it_asks_for(tmp_path):
    source = GOOD.replace("def make():", "def make(path, frames, image_size, channels, seed=3):")
    source = source.replace("part(40)", "part(40, (frames, channels, *image_size))").replace(
        "part(10)", "part(10, (frames, channels, *image_size))"
    )
    spec = read(tmp_path, source.replace("    return {", "    assert path.name == 'there'\n    return {"), frames=5)
    found = load(spec, tmp_path / "there")
    assert found.train.images.shape[1:] == (5, 3, 8, 12)
    assert not found.static


def test_the_file_s_content_is_part_of_what_the_block_says_and_its_place_is_not(tmp_path):
    dumps = []
    for name, source in (("a", GOOD), ("b", GOOD), ("c", GOOD + "\n")):
        (tmp_path / name).mkdir()
        dumps.append(read(tmp_path / name, source).model_dump(mode="json", exclude={"path"}))
    assert dumps[0] == dumps[1] != dumps[2]


def test_the_files_that_a_function_reads_are_digested_where_they_are_named(tmp_path):
    spec = read(tmp_path, GOOD)
    assert source_digest(spec) is None
    before = source_digest(spec, tmp_path)
    (tmp_path / "more.npy").write_bytes(b"1")
    assert source_digest(spec, tmp_path) != before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return {", "return 3, {", "returned a tuple; expected a dict"),
        ('"test": part(10), ', "", "its dict lacks test"),
        ('"classes"', '"tests": 1, "classes"', "its dict has tests; expected"),
        ('["dark", "bright"]', '"ab"', "classes must be a list of two or more names"),
        ('["dark", "bright"]', '["dark", "dark"]', "classes must be a list of two or more names, each once"),
        ('["dark", "bright"]', '["dark"]', "classes must be a list of two or more"),
        ("part(40)", "part(40)[0]", "train must be (images, labels), not a ndarray"),
        ("part(10)", "(part(10)[0] / 255, part(10)[1])", "images must be a NumPy array of uint8, not float64 [10,"),
        ("part(10)", "(part(10)[0].tolist(), part(10)[1])", "test: images must be a NumPy array of uint8, not a list"),
        ("part(40)", "part(40, (8, 12, 3))", "but channels and image_size of the recipe say [N, 3, 8, 12]; move"),
        ("part(40)", "part(40, (3, 8, 8))", "train: images have the shape [40, 3, 8, 8], but channels and image_size"),
        ("part(40)", "part(40, (4, 3, 8, 12))", "frames of events need `frames`"),
        ("part(40)", "(part(40)[0], part(40)[1] + 1)", "train: label 2 of sample 1 is outside 0 to 1"),
        ("part(40)", "(part(40)[0], part(40)[1] / 2)", "train: labels must be whole numbers [N], not float64 [40]"),
        ("part(40)", "(part(40)[0], part(30)[1])", "train: 40 images, but 30 labels"),
        ("part(10)", "part(0)", "test: holds no samples"),
        ("part(40)", "(part(40)[0], 0 * part(40)[1])", "class bright has too few samples"),
        ("def make():", "def make(root):", "is called with path, image_size, channels, frames, seed, and needs root"),
        ("return {", "1 / 0\n    return {", "own.py:9: make failed: ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_names_the_file(tmp_path, old, new, said):
    spec = read(tmp_path, GOOD.replace(old, new))
    try:
        found = one_line(lambda: load(spec))
    except ExperimentError as error:
        found = str(error)
    assert said in found
    assert "own.py" in found or "make" in found


def test_a_block_that_names_no_function_or_what_belongs_elsewhere_is_refused_with_its_line(tmp_path):
    for keys, said in (
        ({"import": "own.py"}, r"recipe.yaml:2: dataset.import: expected FILE.py:NAME"),
        ({"split": "random"}, "split does not belong to import"),
        ({"name": "digits"}, "import does not belong to digits"),
        ({"image_size": "[8, 12, 3]"}, r"expected a number of pixels, or \[HEIGHT, WIDTH\]"),
        ({"image_size": 7}, "expected sides from 8 to 1024"),
        ({"image_size": "yes"}, "expected a number"),
    ):
        with pytest.raises(ExperimentError, match=said):
            read(tmp_path, GOOD, **keys)


def test_two_equal_sides_are_a_square(tmp_path):
    spec = read(tmp_path, GOOD, image_size="[8, 8]")
    assert (spec.image_size, spec.size) == (8, (8, 8))


def test_the_page_s_function_gives_the_page_s_data_set(tmp_path):
    blocks = dict(re.findall(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    recipe = load_recipe(tmp_path / "stripes.yaml")
    found = load(recipe.dataset)
    assert found.name == "stripes"
    assert found.train.images.shape == (360, 1, 16, 24)
    assert recipe.code_shape(recipe.variants["coded"]) == (2, 8, 12)
