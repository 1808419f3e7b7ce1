"""Rate and accuracy: means over seeds, paired drops, intervals that say what they are of."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analysis.curves import EVALUATED, Curves, Reached, read_curves
from analysis.figures.of_models import publish_models, table_of_codes
from analysis.figures.rate_accuracy import rate_accuracy
from analysis.stats import t_quantile, wilson
from testbed.errors import RecordError

SAMPLES = 400
COLUMNS = (
    "recipe", "family", "kind", "dataset", "backbone", "weights", "timesteps", "variant", "split", "code", "codec",
    "exit_threshold", "samples", "accuracy", "payload_bytes", "edge_share",
)  # fmt: skip
CODES = {"big": ("stage1.1", "8x4x4", 48.0, 0.9), "small": ("stage1.1", "2x4x4", 14.0, 0.8)}


def rows_of(recipe: str, off: float, family: str = "same") -> list[dict[str, object]]:
    shared = {"recipe": recipe, "family": family, "dataset": "digits", "backbone": "resnet18", "weights": "float"}
    shared |= {"timesteps": 4, "samples": SAMPLES, "exit_threshold": "", "edge_share": 0.2}
    rows: list[dict[str, object]] = [
        {**shared, "kind": "uncut", "accuracy": 0.95 + off},
        {**shared, "kind": "uncut", "accuracy": 0.5, "exit_threshold": 0.8},
        {**shared, "kind": "plain", "variant": "plain", "codec": "auto", "accuracy": 0.5},
        {**shared, "kind": "control", "variant": "control", "codec": "auto", "accuracy": 0.96 + off},
    ]
    for name, (split, code, sent, accuracy) in CODES.items():
        coded = {**shared, "kind": "bottleneck", "variant": name, "split": split, "code": code}
        rows += [
            {**coded, "codec": "auto", "accuracy": accuracy + off / 2, "payload_bytes": sent + 100 * off},
            {**coded, "codec": "packed", "accuracy": 0.5, "payload_bytes": 99},
            {**coded, "codec": "auto", "accuracy": 0.5, "payload_bytes": 9, "exit_threshold": 0.8},
        ]
    return rows


def written(folder: Path, *rows: dict[str, object]) -> Path:
    with (folder / EVALUATED).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def curves_of(folder: Path, *rows: dict[str, object]) -> list[Curves]:
    return read_curves(written(folder, *rows) / EVALUATED)


def test_seeds_are_averaged_and_drops_are_paired_within_them(tmp_path):
    (curves,) = curves_of(tmp_path, *rows_of("a", 0.0), *rows_of("b", 0.02))
    assert curves.uncut.seeds == pytest.approx((0.95, 0.97))
    assert curves.control is not None
    assert curves.control.mean == pytest.approx(0.97)
    small, big = curves.splits["stage1.1"]  # by bits
    assert (small.variant, big.variant) == ("small", "big")
    assert big.nominal_bits == 128
    assert big.request_bytes == pytest.approx(49)
    assert big.bits == pytest.approx(8 * 49 / 4)
    assert big.drop == pytest.approx(100 * (0.05 + 0.06) / 2)
    assert big.drop_to_control == pytest.approx(100 * (0.06 + 0.07) / 2)


def test_three_seeds_have_an_interval_over_them_and_fewer_that_of_the_samples():
    few = Reached.by([0.9, 0.92], SAMPLES)
    assert (few.low, few.high) == wilson(0.91, SAMPLES)
    many = Reached.by([0.9, 0.92, 0.94], SAMPLES)
    assert many.high - many.mean == pytest.approx(t_quantile(2) * 0.02 / 3**0.5)


def test_another_recipe_is_another_curve_and_one_without_a_code_is_none(tmp_path):
    uncut = [row for row in rows_of("c", 0.0, "third") if row["kind"] == "uncut"]
    found = curves_of(tmp_path, *rows_of("a", 0.0), *rows_of("b", 0.02, "other"), *uncut)
    assert [curves.seeds for curves in found] == [1, 1]


def test_the_figure_has_a_line_for_each_split_and_the_uncut_networks_dashed(tmp_path):
    figure, caption = rate_accuracy(curves_of(tmp_path, *rows_of("a", 0.0), *rows_of("b", 0.02)))
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.lines}
    assert drawn["uncut"].get_ydata()[0] == pytest.approx(96)
    assert drawn["uncut control"].get_ydata()[0] == pytest.approx(97)
    (bar,) = axes.containers
    assert bar.get_label() == "after stage1.1"
    assert list(bar.lines[0].get_xdata()) == pytest.approx([30.0, 98.0])
    assert [text.get_text() for text in axes.texts] == ["2×4×4", "8×4×4"]
    assert "too few seeds" in caption
    _, caption = rate_accuracy(curves_of(tmp_path, *(row for name in "abc" for row in rows_of(name, ord(name) / 9000))))
    assert "too few seeds" not in caption


def test_a_folder_gets_pictures_and_the_table(tmp_path):
    written(tmp_path, *rows_of("a", 0.0))
    assert [path.name for path in publish_models(tmp_path, "ieee")] == [
        "rate_accuracy.png", "rate_accuracy.pdf", "rate_accuracy.md",
    ]  # fmt: skip
    headers, rows = table_of_codes(read_curves(tmp_path / EVALUATED)[0])
    assert [row[0] for row in rows] == ["uncut", "uncut control", "stage1.1: small", "stage1.1: big"]
    assert dict(zip(headers, rows[3], strict=True)) | {"of each seed": ""} == {
        "digits, resnet18": "stage1.1: big",
        "code": "8x4x4",
        "edge's share [%]": "20",
        "bits a timestep": "128",
        "entropy-coded": "96.0",
        "payload [B]": "48.0",
        "accuracy [%]": "90.00",
        "of each seed": "",
        "drop [points]": "5.00",
        "to the control": "6.00",
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_text("a,b\n1,2\n"), "not what this testbed's `testbed evaluate` writes"),
        (lambda path: path.write_text(path.read_text().replace("8x4x4", "8")), "write it anew"),
    ],
)
def test_another_file_is_one_line_that_names_it(tmp_path, spoil, message):
    spoil(written(tmp_path, *rows_of("a", 0.0)) / EVALUATED)
    with pytest.raises(RecordError, match=message) as caught:
        read_curves(tmp_path / EVALUATED)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_code_is_said(tmp_path):
    with pytest.raises(RecordError, match="no variant has a bottleneck"):
        publish_models(written(tmp_path, *rows_of("a", 0.0)[:2]), "ieee")
