"""Whatever is wrong with the input is said in a line that a user can act on."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.timeout(300)

EDGE_ONLY = {"mode": "edge_only", "model": "plain"}
SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed"}


def refusal(lab, experiment: Path, *arguments: str) -> str:
    """The one line with which `testbed run` refuses an experiment before anything is measured."""
    done = lab.told("run", experiment, "--results", lab.results, "--no-report", *arguments)
    assert done.code == 1, done.text
    (line,) = done.err.splitlines()
    assert line.startswith("testbed: ")
    assert not lab.campaign.exists()
    return line


def failure(lab, experiment: Path) -> str:
    """What `testbed run` says on standard error of an experiment whose only cell fails."""
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    assert not lab.nodes()
    (cell,) = lab.cells()
    assert cell.status.state == "failed"
    (reason,) = cell.status.reasons
    assert reason in done.err
    return reason


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def recipe(lab, **changes: Any) -> Path:
    """A recipe of one's own, without trained weights."""
    document = {
        "name": "tiny",
        "dataset": {"name": "image_folder", "image_size": 32},
        "backbone": {"name": "resnet18", "width": 4},
        "timesteps": 2,
        "variants": {"plain": {"split": "stage2"}},
        "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.001}]},
    }
    path = lab.folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(document | changes, sort_keys=False))
    return path


def test_unknown_key_is_named_with_its_line(lab) -> None:
    experiment = lab.experiment(EDGE_ONLY, repeat=3)
    line = line_of(experiment, "repeat: 3")
    assert refusal(lab, experiment) == f"testbed: {experiment}:{line}: repeat: unknown key"


def test_wrong_type_is_named_with_its_line(lab) -> None:
    experiment = lab.experiment(EDGE_ONLY, repeats="many")
    line = refusal(lab, experiment)
    assert line.startswith(f"testbed: {experiment}:{line_of(experiment, 'repeats: many')}: repeats: ")
    assert "integer" in line
    assert "'many'" in line


def test_override_that_is_no_override_is_named(lab) -> None:
    assert "expected KEY=VALUE" in refusal(lab, lab.experiment(EDGE_ONLY), "--set", "repeats")


def test_unknown_model_name_is_named_beside_the_known_ones(lab) -> None:
    line = refusal(lab, lab.experiment({"mode": "edge_only", "model": "resnet"}))
    assert "'resnet'" in line
    assert "plain, coded" in line


def test_variant_that_the_recipe_lacks_is_named(lab) -> None:
    ships = str(Path(__file__).parents[2] / "experiments" / "train" / "digits-resnet18.yaml")
    line = refusal(lab, lab.experiment(EDGE_ONLY, models={"plain": {"recipe": ships, "variant": "tiny"}}))
    assert "no variant 'tiny'" in line
    assert "plain, coded" in line


def test_split_that_the_backbone_lacks_is_named_with_its_line(lab) -> None:
    path = recipe(lab, variants={"plain": {"split": "stage9"}})
    line = refusal(lab, lab.experiment(EDGE_ONLY, models={"plain": {"recipe": str(path), "variant": "plain"}}))
    assert line.startswith(f"testbed: {path}:{line_of(path, 'stage9')}: variants.plain.split: ")


def test_experiment_and_profile_that_are_not_there_are_named(lab) -> None:
    assert "nowhere.yaml: cannot be read" in refusal(lab, lab.folder / "nowhere.yaml")
    experiment = lab.experiment(EDGE_ONLY)
    assert "absent.yaml: cannot be read" in refusal(lab, experiment, "--edge", str(lab.folder / "absent.yaml"))


def test_one_node_cannot_play_both_roles(lab) -> None:
    node = lab.device("bench")
    assert "both named 'bench'" in refusal(lab, lab.experiment(EDGE_ONLY, edge=node, cloud=node))


def test_recipe_without_weights_says_how_to_train_it(lab) -> None:
    (lab.results / "models").unlink()
    path = recipe(lab)
    line = refusal(lab, lab.experiment(EDGE_ONLY, models={"plain": {"recipe": str(path), "variant": "plain"}}))
    assert f"testbed train {path}" in line


def test_training_on_a_folder_that_is_not_there_is_refused(lab) -> None:
    (lab.results / "models").unlink()
    for arguments, expected in (
        ((), "--data PATH"),
        (("--data", str(lab.folder / "photos")), f"{lab.folder / 'photos'}: no such folder"),
    ):
        done = lab.told("train", recipe(lab), "--results", lab.results, *arguments)
        assert done.code == 1, done.text
        (line,) = done.err.splitlines()
        assert line.startswith("testbed: ")
        assert expected in line


def test_model_file_changed_after_the_export_is_not_run(lab) -> None:
    shared = (lab.results / "models").resolve()
    (lab.results / "models").unlink()
    shutil.copytree(shared, lab.results / "models")
    graph = lab.results / "models" / "digits-resnet18" / "plain" / "edge.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    reason = failure(lab, lab.experiment(SPLIT))
    assert f"{graph}: differs from what model.yaml says" in reason
    assert len(reason.splitlines()) == 1


def test_model_card_edited_after_the_export_is_refused(lab) -> None:
    shared = (lab.results / "models").resolve()
    (lab.results / "models").unlink()
    shutil.copytree(shared, lab.results / "models")
    card = lab.results / "models" / "digits-resnet18" / "plain" / "model.yaml"
    card.write_text(card.read_text().replace("backbone: resnet18", "backbone: vgg16"))
    assert "it was edited after the export" in refusal(lab, lab.experiment(SPLIT))


def test_data_port_in_use_is_named(lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        reason = failure(lab, lab.experiment(SPLIT, cloud=lab.device("bench-cloud", data_port=port)))
    assert reason.startswith("repeat 0: cloud bench-cloud, loading: ")
    assert f"127.0.0.1:{port}: the port is in use" in reason
    assert len(reason.splitlines()) == 1


def test_interpreter_that_is_not_there_is_named(lab) -> None:
    edge = lab.device("bench-edge", "emulated-orin-nano", python="/opt/absent/python")
    reason = failure(lab, lab.experiment(EDGE_ONLY, edge=edge))
    assert reason == "repeat 0: bench-edge: cannot start /opt/absent/python: No such file or directory"


def test_worker_that_dies_at_its_start_shows_the_end_of_its_log(lab) -> None:
    python = lab.folder / "python"
    python.write_text("#!/bin/sh\necho 'libcudart.so.12: cannot open shared object file' >&2\nexit 3\n")
    python.chmod(0o755)
    edge = lab.device("bench-edge", "emulated-orin-nano", python=str(python))
    reason = failure(lab, lab.experiment(EDGE_ONLY, edge=edge))
    first, *rest = reason.splitlines()
    assert first.startswith("repeat 0: edge bench-edge, starting: the worker ended with exit code 3")
    assert [line.strip() for line in rest] == ["libcudart.so.12: cannot open shared object file"]


def test_models_behind_a_link_that_leads_nowhere_are_one_line(lab) -> None:
    link = lab.results / "models"
    link.unlink()
    link.symlink_to(lab.folder / "unplugged")
    line = refusal(lab, lab.experiment(EDGE_ONLY))
    assert f"{link} is a link to {lab.folder / 'unplugged'}, which is not there" in line
