"""Every codec between two real processes: the same answers, other bytes."""

from __future__ import annotations

import msgspec
import pytest

from testbed.link.codec import codec_names
from testbed.runtime.artefact import load_card, write_card

pytestmark = pytest.mark.timeout(300)  # the first test of a session exports the model

CELLS = tuple({"mode": "co_inference", "model": "coded", "codec": codec} for codec in codec_names())


def test_every_codec_gives_the_same_answers_and_auto_the_fewest_bytes(lab) -> None:
    done = lab.run("run", lab.experiment(*CELLS), "--results", lab.results, "--no-report")

    assert done.code == 0, done.text
    cells = dict(zip(codec_names(), lab.cells(), strict=True))
    answers = [cell.requests.set_index("sample_index")["prediction"].sort_index() for cell in cells.values()]
    assert all(one.equals(answers[0]) for one in answers)
    sizes = {
        name: cell.timesteps.set_index(["request_id", "timestep"])["payload_bytes"] for name, cell in cells.items()
    }
    for name, cell in cells.items():
        sums = sizes[name].groupby("request_id").sum()
        assert (sums == cell.requests.set_index("request_id")["payload_up_bytes"]).all()
    assert set(sizes["float32"]) == {32 * sizes["packed"].iloc[0]}
    assert (sizes["auto"] == sizes["packed"].combine(sizes["sparse"], min).combine(sizes["entropy"], min)).all()
    assert sizes["entropy"].sum() < sizes["packed"].sum()

    shown = lab.run("show", lab.campaign)
    assert shown.code == 0, shown.text
    lines = [line.split() for line in shown.out.splitlines()]
    bits = {line[2]: line for line in lines if line[:1] == ["co-inference"]}
    mean = 8 * sizes["entropy"].mean()
    assert f"{mean:.1f}" in bits["entropy"]
    (least,) = {line[line.index(f"{8 * sizes[name].mean():.1f}") + 1] for name, line in bits.items()}
    # At most a byte for the end; the rates are of the training data, and 20 requests are few.
    assert float(least) * 0.8 < mean < float(least) * 1.2 + 8


def test_a_model_is_shown_with_the_entropy_of_its_code(lab) -> None:
    folder = lab.results / "models" / "digits-resnet18" / "coded"

    shown = lab.told("show", folder)

    assert shown.code == 0, shown.text
    assert "spike" in shown.out
    assert "entropy" in shown.out


def test_a_model_without_spike_rates_is_named_before_anything_runs(lab) -> None:
    (lab.results / "models").unlink()
    for source in (lab.results / "bundles").resolve().parent.glob("models/*/*/model.yaml"):
        folder = lab.results / "models" / source.parts[-3] / source.parts[-2]
        folder.mkdir(parents=True)
        for file in source.parent.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "model.yaml").unlink()
        card = load_card(source.parent)
        write_card(folder, msgspec.structs.replace(card, code_rates=None))

    done = lab.told("run", lab.experiment(CELLS[3]), "--results", lab.results, "--no-report")

    assert done.code == 1
    assert "no code_rates" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not lab.campaign.exists()
