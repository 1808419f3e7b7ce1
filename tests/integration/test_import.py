"""`testbed import` makes a model of two ONNX files, which an experiment names and measures like any other."""

from __future__ import annotations

from testbed.data.datasets import load
from testbed.snn.recipe import load_recipe
from tests.testbed.snn import graphs

OPTIONS = ("--recipe", "theirs.yaml", "--dataset", "{name: digits, image_size: 8, channels: 1}", "--timesteps", "3")


def test_an_imported_pair_is_measured_and_answers_as_worked_out_by_hand(lab):
    (lab.results / "models").unlink()  # those that the tests share
    graphs.write(lab.folder, edge=graphs.edge(), cloud=graphs.cloud())
    done = lab.run("import", "edge.onnx", "cloud.onnx", *OPTIONS)
    assert done.code == 0, done.text
    assert "theirs/imported: a code of 2x4x4 bits, 32x" in done.out
    cell = {"mode": "co_inference", "model": "theirs", "codec": "entropy"}
    models = {"theirs": {"recipe": str(lab.folder / "theirs.yaml"), "variant": "imported"}}
    lab.run("run", lab.experiment(cell, models=models), "--no-report")
    measured = lab.cell("co_inference")
    assert measured.status.state == "complete"  # valid or not: so small a graph is soon late on a busy machine
    requests = measured.requests
    assert (requests["outcome"] == "ok").all()
    images = load(load_recipe(lab.folder / "theirs.yaml").dataset).test.images
    for sample, prediction in zip(requests["sample_index"], requests["prediction"], strict=True):
        assert prediction == graphs.answers(images[sample], 3)[1].sum(0).argmax()
