"""A pair of graphs that does not fit is refused in one line, and leaves no recipe behind."""

import pytest

from testbed.cli.importing import import_pair
from testbed.errors import ExperimentError
from tests.testbed.snn import graphs

DIGITS = "{name: digits, image_size: 8, channels: 1}"


def test_a_refused_pair_leaves_no_recipe_and_its_line_names_none(tmp_path):
    graphs.write(tmp_path, edge=graphs.edge(graded=True), cloud=graphs.cloud())
    recipe = tmp_path / "theirs.yaml"
    with pytest.raises(ExperimentError, match=r"^backbone: .*edge\.onnx: its code is not binary"):
        import_pair(tmp_path / "edge.onnx", tmp_path / "cloud.onnx", recipe, DIGITS, 3, results=tmp_path)
    assert not recipe.exists()


def test_a_recipe_that_is_there_is_not_written_over(tmp_path):
    recipe = tmp_path / "theirs.yaml"
    recipe.write_text("mine")
    with pytest.raises(ExperimentError, match=r"theirs\.yaml: is there already"):
        import_pair(tmp_path / "edge.onnx", tmp_path / "cloud.onnx", recipe, DIGITS, 3, results=tmp_path)
    assert recipe.read_text() == "mine"
