"""docs/extending.md as written: its package is installed, its experiment run, and all five parts are at work."""

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
    """The page's folder, with the page's package on the path of whatever is started there."""
    project = tomllib.loads(files["pyproject.toml"])["project"]
    points = {
        group: "\n".join(f"{name} = {target}" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    }
    modules = {name: text for name, text in files.items() if name.endswith(".py")}
    site = lab.folder / "site"
    install(site, project["name"], points, modules, project["version"])
    lab.environment["PYTHONPATH"] = os.pathsep.join([str(site), lab.environment["PYTHONPATH"]])
    for name in ("experiments", "devices"):
        (lab.folder / name).symlink_to(ROOT / name)
    for name, text in files.items():
        if name.endswith(".yaml"):
            (lab.folder / name).write_text(text)
    return lab


def test_the_page_s_codec_mode_and_power_source_measure_and_its_metric_and_figure_show_it(extended):
    done = extended.run("run", "extras.yaml")
    assert done.code == 0, done.text
    folder = extended.results / "extras"
    cells = {cell.manifest.mode: cell for cell in read_campaign(folder, pytest.fail)}
    assert set(cells) == {"edge_only", "cloud_zlib", "co_inference"}

    coded = cells["co_inference"]
    assert coded.manifest.codec == "bytes"
    steps = coded.timesteps
    assert (steps["payload_bytes"] == steps["code_bits"]).all()  # a byte for each element

    sent = cells["cloud_zlib"].requests
    assert (sent["outcome"] == "ok").all()
    assert 0 < sent["payload_up_bytes"].max() < 32 * 32  # a digit's pixels, compressed

    power = pq.read_table(coded.folder / "power.parquet").to_pandas()
    assert set(power["source"]) == {"wave"}
    assert power["mw"].between(3960, 4040).all()

    with (folder / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    slowest = {cell.manifest.cell: cell.requests["latency_ms"].max() for cell in cells.values()}
    assert {row["cell"]: float(row["latency_max_ms"]) for row in rows} == pytest.approx(slowest)
    assert all(row["energy_source"] == "measured" for row in rows)
    assert "max" in done.out
    assert (folder / "figures" / "spread.png").stat().st_size > 1000
    report = (folder / "report.html").read_text()
    assert "Latency of every answered request." in report
    assert "Latency of the slowest request that was answered." in report


def test_without_the_package_the_page_s_files_are_refused_with_what_there_is(extended, files):
    extended.environment["PYTHONPATH"] = extended.environment["PYTHONPATH"].split(os.pathsep, 1)[1]
    done = extended.run("plan", "extras.yaml")
    assert done.code == 1
    line = next(number for number, text in enumerate(files["extras.yaml"].splitlines(), 1) if "cloud_zlib" in text)
    assert f"extras.yaml:{line}: cells.1.mode: expected edge_only, cloud_only or co_inference" in done.err
    assert "cells.2.codec: expected float32, packed, sparse, entropy or auto (found 'bytes')" in done.err


def test_the_page_adds_one_of_each_kind(files):
    project = tomllib.loads(files["pyproject.toml"])
    assert {group.removeprefix("testbed.") for group in project["project"]["entry-points"]} == {
        "codecs",
        "modes",
        "power_sources",
        "metrics",
        "figures",
    }
    modules = [f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]]
    assert sorted(modules) == sorted(name for name in files if name.endswith(".py"))
    assert yaml.safe_load(files["extras.yaml"])["nodes"]["edge"] in files
