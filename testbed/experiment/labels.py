"""Names of cells for people: they say whatever varies between the cells of a campaign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from testbed.experiment.cell import CellSpec
from testbed.modes import facts_of


@dataclass(frozen=True)
class Unnamed:
    """A cell, and what its label may say of the network and the link that it names."""

    spec: CellSpec
    backbone: str
    split: str
    compression: float
    link: str | None = None
    weights: str = "float"
    spiking: bool = True
    from_pixels: bool = False

    @property
    def is_split(self) -> bool:
        """Whether its network is cut at all."""
        return facts_of(self.spec.mode).network == "split"


def labels(cells: Sequence[Unnamed], profile: str | None = None) -> list[str]:
    """A label for each cell of a campaign, no two of them the same.

    Backbone, split and the form of the weights are said where they are not the same everywhere. An ANN is always called
    one, with the form of its weights, and a code that is made of pixels is always said to be. Cells that would share a
    label without that say each key in which they differ. `profile` is said in every label, so that nobody takes a small
    run for a whole one.
    """
    backbones = len({cell.backbone for cell in cells}) > 1
    splits = len({(cell.backbone, cell.split) for cell in cells if cell.is_split}) > len(
        {cell.backbone for cell in cells if cell.is_split}
    )
    forms = len({cell.weights for cell in cells if cell.spiking}) > 1
    networks = [
        [cell.backbone] * backbones
        + [cell.split] * (splits and cell.is_split)
        + ([cell.weights] * forms if cell.spiking else ["ANN", cell.weights])
        for cell in cells
    ]
    found = [_text(cell, network) for cell, network in zip(cells, networks, strict=True)]
    ends = [""] * len(cells)
    for text in [text for text, count in Counter(found).items() if count > 1]:
        alike = [position for position, other in enumerate(found) if other == text]
        keys = {position: dict(_keys(cells[position].spec.model_dump(mode="json"))) for position in alike}
        differ = [
            key
            for key in dict.fromkeys(key for each in keys.values() for key in each)
            if len({repr(each.get(key)) for each in keys.values()}) > 1
        ]
        for position in alike:
            if cells[position].spec.label is None:
                ends[position] = "".join(f", {key} {_said(keys[position].get(key))}" for key in differ)
    if profile is not None:
        ends = [f"{end} [{profile}]" for end in ends]
    # Last, so that a code of pixels changes the label of no other cell.
    for cell, network in zip(cells, networks, strict=True):
        network += ["from pixels"] * (cell.from_pixels and cell.is_split)
    return [_text(cell, network) + end for cell, network, end in zip(cells, networks, ends, strict=True)]


def _text(cell: Unnamed, network: Sequence[str]) -> str:
    return cell.spec.label or label(cell.spec, cell.compression, cell.link, " ".join(network))


def label(cell: CellSpec, compression: float, link: str | None = None, network: str = "") -> str:
    """A cell's name by itself, such as `co-inference vgg16 stage2 2048x packed, exit 0.9, wifi`.

    A calibrated exit is named after what was asked, `exit at drop 0.5`; the manifest has the thresholds found.

    Args:
        cell: The cell.
        compression: Of its code: 32 bits for each element at the split over the bits of the code.
        link: What its link is called.
        network: What is to be said of its network besides.
    """
    facts = facts_of(cell.mode)
    text = " ".join(filter(None, (facts.title, network)))
    if facts.needs_codec:
        text += f" {compression:g}x" if compression > 32 or cell.codec != "float32" else ""
        text += f" {cell.codec}"
    if cell.exit is not None:
        aim = cell.exit.calibrate
        rule = aim or cell.exit
        policy = "" if rule.policy == "max_softmax" else f"{rule.policy} "
        if aim is not None:
            when = f"at drop {aim.drop:g}" + (" per timestep" if aim.per_timestep else "")
        else:
            when = "/".join(f"{value:g}" for value in cell.exit.thresholds or (cell.exit.threshold,))
        text += f", exit {policy}{when}" + (" on sums" if rule.accumulate == "sum" else "")
    if cell.chunks is not None:
        text += f", chunks {'+'.join(map(str, cell.chunks))}"
    if cell.window > 1:
        text += f", window {cell.window}"
    if cell.schedule is not None:
        text += f", schedule {cell.schedule}"
    if cell.fallback is not None:
        text += f", fallback {facts_of(cell.fallback).title}"
    if link is not None:
        text += f", {link}"
    if cell.scenario is not None and cell.scenario.kind == "server":
        text += f", server {cell.scenario.target_qps:g}/s"
    elif cell.scenario is not None and cell.scenario.kind == "offline":
        text += ", offline"
    if cell.faults:
        text += ", " + " and ".join(dict.fromkeys(fault.fault.replace("_", " ") for fault in cell.faults))
    if cell.again:
        text += ", again"
    return text


def _keys(value: Any, above: str = "") -> list[tuple[str, Any]]:
    """The values of a cell by their dotted keys; `label` and `variant`, which `model` has in it, are left out."""
    if isinstance(value, dict):
        items = [(key, each) for key, each in value.items() if above or key not in ("label", "variant")]
    elif isinstance(value, list):
        items = [(str(position), each) for position, each in enumerate(value)]
    else:
        return [(above, value)]
    return [leaf for key, each in items for leaf in _keys(each, f"{above}.{key}" if above else key)]


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
