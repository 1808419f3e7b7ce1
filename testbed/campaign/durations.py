"""How long a repeat takes: as measured, or guessed from its requests and its link before anything like it was."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, TypeAlias

from devices.links.conditions import Direction, Link
from testbed.campaign.collect import look
from testbed.errors import RecordError
from testbed.experiment import CellSpec, Experiment, ModelRef
from testbed.experiment.scenario import Arriving, arriving
from testbed.modes import facts_of
from testbed.record.documents import Manifest
from testbed.record.layout import ExperimentFolder
from testbed.record.reader import read_document
from testbed.record.scenario import ScenarioKind
from testbed.snn.recipe import Recipe

AROUND_S = 4.0
"""Guess: workers start and load, the link is checked, clocks are compared; the idle baselines come on top."""
REQUEST_S = 0.03
"""Guess: what a request takes that no link slows down."""
SAMPLES = 1000
"""Guess: requests of a repeat where they are every sample, and nobody has counted the samples yet."""
EXPORT_S, CALIBRATE_S, BUNDLE_S = 15.0, 15.0, 10.0
"""Guesses: what the export of a variant, a calibration and a bundle take, once."""
HEADERS_BYTES = 200
"""Guess: of a message and its acknowledgement, all layers together."""

_Kin: TypeAlias = tuple[str, str | None, ScenarioKind, float | None]
"""What repeats share that take alike: mode, link, and how requests arrive."""
Basis: TypeAlias = Literal["this cell", "cells like it", "a guess"]


@dataclass(frozen=True)
class Duration:
    """Of one repeat, and where it comes from."""

    seconds: float
    basis: Basis


class Measured:
    """What the repeats in an experiment's folder took; those of earlier code and other settings too."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self._own: dict[str, float] = {}
        self._alike: dict[_Kin, list[float]] = defaultdict(list)
        for cell in folder.cells():
            try:
                manifest = read_document(cell.manifest, Manifest)
                records = [repeat.record for repeat in look(cell, manifest.repeats)]
            except RecordError:  # damaged, or another version's: it says nothing about time
                continue
            done = [record for record in records if record is not None]
            if not done:
                continue
            self._own[manifest.cell] = statistics.median(record.seconds for record in done)
            config = manifest.config
            link, scenario = config.link, config.scenario
            self._alike[config.mode, None if link is None else link.sha256, scenario.kind, scenario.target_qps] += [
                record.seconds / (max(record.requests.values()) + config.scenario.warmup) for record in done
            ]

    def duration(
        self, cell: str | None, spec: CellSpec, link: Link | None, arrivals: Arriving, requests: int
    ) -> Duration | None:
        """Of a repeat with so many requests, warm-up included; None where nothing like it was measured."""
        if cell in self._own:
            return Duration(self._own[cell], "this cell")
        kind = arrivals.kind or "single_stream"
        each = self._alike.get((spec.mode, None if link is None else link.sha256, kind, arrivals.target_qps))
        return None if not each else Duration(statistics.median(each) * requests, "cells like it")


def requests(experiment: Experiment, samples: int | None) -> int:
    """Of one repeat, warm-up included."""
    return (experiment.scenario.requests or samples or SAMPLES) + experiment.scenario.warmup


def guess(experiment: Experiment, spec: CellSpec, recipe: Recipe, link: Link | None, count: int) -> Duration:
    """Of a repeat of `count` requests without an exit, over the link as its profile has it."""
    each = REQUEST_S + (0.0 if link is None else _over(link, spec, recipe, experiment.models[spec.model]))
    each = min(each, experiment.scenario.timeout_ms / 1000)
    rate = arriving(spec.scenario, experiment.scenario).target_qps
    measured = count - experiment.scenario.warmup
    took_s = experiment.scenario.warmup * each + measured * (each if rate is None else max(each, 1 / rate))
    return Duration(AROUND_S + 2 * experiment.idle_s + took_s, "a guess")


def _over(link: Link, spec: CellSpec, recipe: Recipe, model: ModelRef) -> float:
    """Seconds that a link adds to a request."""
    if facts_of(spec.mode).sends == "code":
        trips, cut = len(spec.chunks or range(recipe.timesteps)), recipe.variants[model.cut]
        messages = min(trips, math.ceil(recipe.timesteps / spec.window))
        coded = math.prod(recipe.code_shape(cut)) / 8
        up = recipe.timesteps * (4 * math.prod(recipe.feature_shape(cut)) if spec.codec == "float32" else coded)
    else:
        messages, data = 1, recipe.dataset
        up = data.channels * math.prod(data.size) * (data.frames or 1)
    return _carried(link.up, up, messages) + _carried(link.down, 0, messages)


def _carried(way: Direction, payload: float, messages: int) -> float:
    size = payload + messages * HEADERS_BYTES
    return messages * way.delay_ms / 1000 + (0.0 if way.capacity is None else size / way.capacity.mean_bytes_per_s)
