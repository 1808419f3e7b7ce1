"""Labels say whatever varies between the cells of a campaign, and no two are the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import ExperimentError
from testbed.experiment import CellSpec, Unnamed, labels, load_experiment

CODED = {"mode": "co_inference", "model": "m", "codec": "packed"}


def unnamed(backbone: str = "resnet18", split: str = "stage2", compression: float = 2048, **spec: Any) -> Unnamed:
    link = spec.get("link")
    return Unnamed(CellSpec.model_validate(CODED | spec), backbone, split, compression, link and Path(link).stem)


def edge(backbone: str = "resnet18", weights: str = "float", *, spiking: bool = True) -> Unnamed:
    spec = CellSpec.model_validate({"mode": "edge_only", "model": "m"})
    return Unnamed(spec, backbone, "stage2", 32, weights=weights, spiking=spiking)


def test_what_is_the_same_everywhere_is_not_said():
    assert labels([edge(), unnamed(), unnamed(codec="sparse")]) == [
        "edge-only",
        "co-inference 2048x packed",
        "co-inference 2048x sparse",
    ]


def test_backbones_and_splits_are_said_where_there_are_several():
    cells = [edge(), edge("vgg16"), unnamed(), unnamed(split="stage3"), unnamed("vgg16")]
    assert labels(cells) == [
        "edge-only resnet18",
        "edge-only vgg16",
        "co-inference resnet18 stage2 2048x packed",
        "co-inference resnet18 stage3 2048x packed",
        "co-inference vgg16 stage2 2048x packed",
    ]
    assert labels([edge(), unnamed()]) == ["edge-only", "co-inference 2048x packed"]


def test_forms_of_the_weights_are_said_where_there_are_both():
    assert labels([edge(), edge(weights="int8")]) == ["edge-only float", "edge-only int8"]
    assert labels([edge(weights="int8")]) == ["edge-only"]


def test_an_ann_is_called_one_with_its_form_and_changes_no_other_label():
    anns = [edge(weights=weights, spiking=False) for weights in ("int8", "float")]
    assert labels([edge(), unnamed(), *anns]) == [
        "edge-only",
        "co-inference 2048x packed",
        "edge-only ANN int8",
        "edge-only ANN float",
    ]
    assert labels([edge(), edge("vgg16", "int8", spiking=False)]) == ["edge-only resnet18", "edge-only vgg16 ANN int8"]


def test_a_code_of_pixels_is_said_to_be_and_changes_no_other_label():
    pixels = replace(unnamed(model="p"), from_pixels=True)
    others = [edge(), unnamed(), unnamed(codec="sparse")]
    assert labels([*others[:2], replace(pixels, compression=64)]) == [
        *labels(others[:2]),
        "co-inference from pixels 64x packed",
    ]
    features = labels([*others, unnamed(model="p")])[:3]
    assert labels([*others, pixels]) == [*features, "co-inference from pixels 2048x packed, model p"]
    both = labels([unnamed(split="stage3"), pixels], "small")
    assert both[1] == "co-inference stage2 from pixels 2048x packed [small]"
    assert labels([replace(edge(), from_pixels=True)]) == ["edge-only"], "it runs the uncut network"


def test_a_window_is_said_where_there_is_one():
    assert labels([unnamed(), unnamed(window=4)]) == [
        "co-inference 2048x packed",
        "co-inference 2048x packed, window 4",
    ]


def test_how_requests_arrive_is_said_unless_one_follows_on_the_other():
    server = {"kind": "server", "target_qps": 12.5}
    cells = [unnamed(scenario=one) for one in ({"kind": "single_stream"}, server, {"kind": "offline"})]
    assert labels(cells) == [
        "co-inference 2048x packed",
        "co-inference 2048x packed, server 12.5/s",
        "co-inference 2048x packed, offline",
    ]


def test_cells_that_would_share_a_label_say_how_they_differ():
    def fault(at_s: float) -> dict[str, Any]:
        return {"fault": "cloud_killed", "at_s": at_s, "for_s": 1}

    assert labels([unnamed(faults=[fault(3)]), unnamed(faults=[fault(8)])]) == [
        "co-inference 2048x packed, cloud killed, faults.0.at_s 3.0",
        "co-inference 2048x packed, cloud killed, faults.0.at_s 8.0",
    ]
    assert labels([unnamed(link="a/home.yaml"), unnamed(link="b/home.yaml", model="n")]) == [
        "co-inference 2048x packed, home, model m, link a/home.yaml",
        "co-inference 2048x packed, home, model n, link b/home.yaml",
    ]
    near = labels([unnamed(exit={"threshold": 0.9}), unnamed(exit={"threshold": 0.9000001})])
    assert len(set(near)) == 2


def test_a_label_of_the_file_is_taken_as_it_is_and_a_profile_is_said_in_every_one():
    cells = [unnamed(label="ours"), unnamed(codec="sparse")]
    assert labels(cells, "small") == ["ours [small]", "co-inference 2048x sparse [small]"]
    taken = labels([unnamed(label="edge-only"), edge()])
    assert taken[0] == "edge-only"
    assert taken[1].startswith("edge-only, mode edge_only, ")


def test_two_cells_may_not_be_given_one_label(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\nmodels: {m: {recipe: r.yaml, variant: v}}\nnodes: {edge: e.yaml, cloud: c.yaml}\ncells:\n"
        "  - {mode: cloud_only, model: m, link: [wifi, lte], label: ours}\n"
    )
    with pytest.raises(ExperimentError, match=r"x\.yaml:5: cells\.0\.label: two cells are labelled 'ours'"):
        load_experiment(path)
