"""docs/extending.md as written: its experiment is run with its files, all six parts are at work; then its package."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tomllib
import yaml

from testbed.record.reader import read_campaign
from tests.devices.base.installed import install

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\w+\n# ([\w.-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """File name → content of each block of the page."""
    return dict(BLOCK.findall((ROOT / "docs" / "extending.md").read_text()))


@pytest.fixture
def extended(lab, files):
    """The page's folder, without its package."""
    for name in ("experiments", "devices"):
        (lab.folder / name).symlink_to(ROOT / name)
    for name, text in files.items():
        if name.endswith((".yaml", ".py")):
            (lab.folder / name).write_text(text)
    return lab


def as_a_package(lab, files) -> None:
    """The page's package on the path of whatever is started from now on; its files and their names go."""
    project = tomllib.loads(files["pyproject.toml"])["project"]
    points = {
        group: "\n".join(f"{name} = {target}" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    }
    modules = {name: text for name, text in files.items() if name.endswith(".py")}
    site = lab.folder / "site"
    install(site, project["name"], points, modules, project["version"])
    lab.environment["PYTHONPATH"] = os.pathsep.join([str(site), lab.environment["PYTHONPATH"]])
    for name in modules:
        (lab.folder / name).unlink()
    without_plugins(lab)


def without_plugins(lab) -> None:
    document = yaml.safe_load((lab.folder / "extras.yaml").read_text())
    del document["plugins"]
    (lab.folder / "extras.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def slowest(folder: Path) -> dict[str, float]:
    """Cell → the page's metric in summary.csv."""
    with (folder / "summary.csv").open() as file:
        return {row["cell"]: float(row["latency_max_ms"]) for row in csv.DictReader(file)}


def test_the_page_s_parts_measure_and_show_it_from_files_and_from_a_package(extended, files):
    done = extended.run("run", "extras.yaml")
    assert done.code == 0, done.text
    folder = extended.results / "extras"
    cells = {cell.manifest.mode: cell for cell in read_campaign(folder, pytest.fail)}
    assert set(cells) == {"edge_only", "cloud_zlib", "co_inference"}

    coded = cells["co_inference"]
    assert coded.manifest.codec == "bytes"
    steps = coded.timesteps
    assert (steps["payload_bytes"] == steps["code_bits"]).all()  # a byte for each element
    assert coded.manifest.exit.policy == "duel"
    last = steps.groupby("request_id").tail(1)
    early = last[last["timestep"] < coded.manifest.model.timesteps]
    assert len(early)
    assert (early["confidence"] >= 0.9).all()
    assert coded.manifest.code.plugins.keys() == {name for name in files if name.endswith(".py")}

    sent = cells["cloud_zlib"].requests
    assert (sent["outcome"] == "ok").all()
    assert 0 < sent["payload_up_bytes"].max() < 32 * 32  # a digit's pixels, compressed

    power = pq.read_table(coded.folder / "power.parquet").to_pandas()
    assert set(power["source"]) == {"wave"}
    assert power["mw"].between(3960, 4040).all()

    expected = {cell.manifest.cell: cell.requests["latency_ms"].max() for cell in cells.values()}
    assert slowest(folder) == pytest.approx(expected)
    assert "max" in done.out
    assert (folder / "figures" / "spread.svg").stat().st_size > 1000
    report = (folder / "report.html").read_text()
    assert "Latency of every answered request." in report
    assert "Latency of the slowest request that was answered." in report

    done = extended.run("tables", folder, *(f"--plugin={name}" for name in ("lab_codec.py", "lab_metric.py")))
    assert done.code == 0, done.text
    assert slowest(folder) == pytest.approx(expected)
    assert "Measured with lab_figure.py, lab_mode.py, lab_policy.py, lab_power.py: --plugin FILE.py brings" in done.err

    as_a_package(extended, files)
    done = extended.run("plan", "extras.yaml")
    assert done.code == 0, done.text
    (folder / "summary.csv").unlink()
    done = extended.run("tables", folder)
    assert done.code == 0, done.text
    assert slowest(folder) == pytest.approx(expected)


def test_without_the_plug_ins_the_page_s_experiment_is_refused_with_what_there_is(extended):
    without_plugins(extended)
    done = extended.run("plan", "extras.yaml")
    assert done.code == 1
    text = (extended.folder / "extras.yaml").read_text()
    line = next(number for number, text in enumerate(text.splitlines(), 1) if "cloud_zlib" in text)
    assert f"extras.yaml:{line}: cells.1.mode: expected edge_only, cloud_only or co_inference" in done.err
    assert "cells.2.codec: expected float32, packed, sparse, entropy or auto (found 'bytes')" in done.err
    assert "cells.2.exit.policy: expected max_softmax, entropy or margin (found 'duel')" in done.err


def test_the_page_adds_one_of_each_kind_in_both_ways(files):
    project = tomllib.loads(files["pyproject.toml"])
    points = {
        (group.removeprefix("testbed."), name, target.partition(":")[0] + ".py")
        for group, entries in project["project"]["entry-points"].items()
        for name, target in entries.items()
    }
    said = re.compile(r'^ADDS = {"(\w+)": {"(\w+)": \w+}}$', re.MULTILINE)
    assert points == {(*said.search(text).groups(), name) for name, text in files.items() if name.endswith(".py")}
    assert {group for group, _, _ in points} == {
        "codecs",
        "modes",
        "exit_policies",
        "power_sources",
        "metrics",
        "figures",
    }
    modules = [f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]]
    experiment = yaml.safe_load(files["extras.yaml"])
    assert modules == experiment["plugins"]
    assert experiment["nodes"]["edge"] in files
