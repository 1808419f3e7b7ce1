"""ONNX files are read without the `onnx` package, and as it reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from testbed.errors import ModelError
from testbed.probe import probe
from testbed.runtime.onnxfile import DTYPES, read_model


def save(path: Path, *nodes: onnx.NodeProto, constants: list[onnx.TensorProto] = [], shape: object = (1, 3)) -> Path:  # noqa: B006
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "toy", [x], [y], constants)
    path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())
    return path


def test_a_whole_graph_is_read_as_onnx_reads_it(tmp_path: Path):
    path = tmp_path / "probe.onnx"
    path.write_bytes(probe(8))
    expected, found = onnx.load(path).graph, read_model(path)
    for value, theirs in (*zip(found.inputs, expected.input), *zip(found.outputs, expected.output)):  # noqa: B905
        assert value.name == theirs.name
        assert value.shape == [each.dim_value for each in theirs.type.tensor_type.shape.dim]
        assert value.dtype is np.float32
    assert [node.name for node in found.inputs] == [each.name for each in expected.input]
    for node, other in zip(found.nodes, expected.node, strict=True):
        assert (node.kind, node.inputs, node.outputs) == (other.op_type, list(other.input), list(other.output))
        attributes = {each.name: helper.get_attribute_value(each) for each in other.attribute}
        assert node.attributes.keys() == attributes.keys()
        for name, value in attributes.items():
            if isinstance(value, onnx.TensorProto):
                np.testing.assert_array_equal(node.attributes[name], numpy_helper.to_array(value))
            else:
                assert node.attributes[name] == value
    for constant in expected.initializer:
        np.testing.assert_array_equal(found.constants[constant.name], numpy_helper.to_array(constant))


@pytest.mark.parametrize("number", DTYPES)
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_of_every_type_are_read_however_they_are_written(tmp_path: Path, number: int, raw: bool):
    values = np.array([[0, 1, 100], [1, 1, 0]], DTYPES[number])
    if number not in (2, 9):
        values[0, 1] = -7
    data = values.tobytes() if raw else values.flatten()
    tensor = helper.make_tensor("c", number, values.shape, data, raw=raw)
    found = read_model(save(tmp_path / "toy.onnx", constants=[tensor])).constants["c"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_attributes_of_every_kind_and_open_dimensions_are_read(tmp_path: Path):
    said = {"one": -3, "half": 0.5, "word": "NOTSET", "many": [1, -2, 1 << 40], "halves": [0.5, -1.5]}
    node = helper.make_node("Toy", ["x", "", "c"], ["y"], **said)
    model = read_model(save(tmp_path / "toy.onnx", node, shape=("batch", 3)))
    assert model.nodes[0].attributes == said
    assert model.nodes[0].inputs == ["x", "", "c"]
    assert model.inputs[0].shape == [None, 3]


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x08\x09" * 50, b"\xff" * 40])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx: (not an ONNX file|cannot be read: No such file)"):
        read_model(path)


def test_a_file_that_was_cut_short_anywhere_is_an_error_and_never_half_a_graph(tmp_path: Path):
    path = tmp_path / "probe.onnx"
    whole = probe(4)
    for size in range(0, len(whole) - 4, 97):  # its last bytes say the opset, which is not read
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError):
            read_model(path)


def test_what_would_change_what_is_computed_is_refused(tmp_path: Path):
    path = tmp_path / "toy.onnx"
    with pytest.raises(ModelError, match=r"toy\.onnx: Gelu of com\.microsoft is not an operator of ONNX's own"):
        read_model(save(path, helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")))
    outside = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    outside.data_location = TensorProto.EXTERNAL
    with pytest.raises(ModelError, match="c is in a file of its own"):
        read_model(save(path, constants=[outside]))
    branch = helper.make_graph([], "branch", [], [])
    with pytest.raises(ModelError, match="attribute then_branch of If is of a type that is not read"):
        read_model(save(path, helper.make_node("If", ["x"], ["y"], then_branch=branch)))
