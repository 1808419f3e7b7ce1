"""The evaluation bundle is made once, whoever asks for it first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed.campaign.bundles import evaluation_bundle

RECIPE = Path(__file__).parents[3] / "experiments" / "train" / "digits-resnet18.yaml"


def test_campaigns_that_begin_at_once_share_one_bundle(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as campaigns:
        found = list(campaigns.map(lambda _: evaluation_bundle(RECIPE, tmp_path / "bundles", None), range(4)))
    assert len({folder for folder, _ in found}) == 1
    assert len({bundle.card.hash for _, bundle in found}) == 1
    assert [path.name for path in (tmp_path / "bundles").glob("[!.]*")] == [found[0][0].name]
    assert not list((tmp_path / "bundles").glob("*.part"))
