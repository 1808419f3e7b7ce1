"""Two real nodes that compute with PyTorch answer with the bits that ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from testbed.runtime.backbone import Stepped
from testbed.runtime.bundle import load_bundle
from testbed.runtime.onnx import OnnxGraph

pytestmark = pytest.mark.timeout(300)  # the first test of a session exports the model

TORCH = {"provider": "torch", "device": "cpu", "threads": 1}


def test_a_campaign_on_pytorch_has_the_logits_of_onnx_runtime_and_says_what_computed_them(lab) -> None:
    edge = lab.device("bench-edge", "emulated-orin-nano", call_ms=12, runtime=TORCH)
    cloud = lab.device("bench-cloud", runtime=TORCH)
    cell = {"mode": "co_inference", "model": "coded", "codec": "packed"}
    done = lab.run("run", lab.experiment(cell, edge=edge, cloud=cloud), "--results", lab.results, "--no-report")
    measured = lab.cell("co_inference")
    assert measured.status.state == "complete", done.text  # valid or not: a busy machine may be too slow
    for record in measured.manifest.nodes.values():
        assert record.profile.runtime.told == "torch on cpu"
        for repeat in record.repeats.values():
            assert repeat.loaded.runtime == {"library": f"torch {torch.__version__}", "device": "CPU"}

    artefact = lab.results / "models" / "digits-resnet18" / "coded"
    stem, edge_step, cloud_step = (OnnxGraph(artefact / f"{name}.onnx") for name in ("stem", "edge", "cloud"))
    bundle = load_bundle(next((lab.results / "bundles").glob("digits-resnet18-*")))
    requests = measured.requests.set_index("request_id")
    assert (requests["outcome"] == "ok").all()
    for request, rows in measured.timesteps.groupby("request_id"):
        x = bundle.inputs[requests.loc[request, "sample_index"]][None]
        state = cloud_step.initial_state()
        codes = Stepped(stem, {1: edge_step}).outputs(x, [1] * len(rows))
        for code, (_, row) in zip(codes, rows.sort_values("timestep").iterrows(), strict=True):
            y, state = cloud_step.step(code, state)
            assert row["code_spikes"] == code.sum()
            np.testing.assert_array_equal(np.asarray(row["logits"], np.float32), y[0])
