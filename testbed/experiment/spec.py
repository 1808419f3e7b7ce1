"""An experiments/*.yaml as a whole; its cells, exits, faults, links and sweeps have files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from devices.base.plugins import use_files
from testbed.config import MOST_SEED, Name, PlacedError, Strict
from testbed.errors import TestbedError
from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.links import LinkChoice
from testbed.experiment.scenario import Scenario, check_arrivals
from testbed.experiment.sweeps import MOST_CELLS, Sweep
from testbed.importing import beside
from testbed.record.layout import RESERVED


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"results/{name} is not for an experiment; choose another name")
    return name


class Nodes(Strict):
    """The profiles bound to the roles; --edge and --cloud bind others."""

    edge: Path = pydantic.Field(description="the profile that plays the edge (hardware.md)")
    cloud: Path = pydantic.Field(description="the profile that plays the cloud")


class Cooldown(Strict):
    """How warm a measured board may be before a repeat, against its first one, and how long that is waited for."""

    within_c: float = pydantic.Field(
        default=2.0, gt=0, le=50, description="°C that a zone may be above its first temperature"
    )
    at_most_s: float = pydantic.Field(
        default=300.0, ge=0, le=86_400, description="then the repeat begins all the same, and its cell is invalid"
    )


class Deadlines(Strict):
    """After how long a silent worker fails its cell."""

    start_s: float = pydantic.Field(default=60.0, gt=0, le=3600, description="from starting a worker to its first word")
    load_s: float = pydantic.Field(default=120.0, gt=0, le=3600, description="to check and load the artefact")
    silence_s: float = pydantic.Field(default=10.0, gt=0.6, le=3600, description="between two signs of life")


TIMESTEPS_OF = "timesteps_of"
"""In the context of an experiment that is read from a file: says T of a model, from its recipe."""

_NOT_OF_A_PROFILE = {"profile", "profiles", "name"}


class Experiment(Strict):
    """A whole experiment file."""

    name: Annotated[Name, pydantic.AfterValidator(_free)] = pydantic.Field(
        description="letters, digits and dashes: the folder below results/"
    )
    title: str | None = pydantic.Field(None, max_length=200, description="a heading")
    profile: Name | None = pydantic.Field(
        None, description="the profile that is taken, mostly by --set; its name goes into the folder's and the labels"
    )
    profiles: dict[Name, dict[str, Any]] = pydantic.Field(
        default_factory=dict, description="other values for some keys, by name; blocks are merged, lists replaced"
    )
    plugins: tuple[Path, ...] = pydantic.Field(
        (),
        max_length=100,
        validate_default=True,
        description="Python files that add codecs, modes, exit policies, power sources, metrics or figures "
        "(extending.md)",
    )
    models: dict[Name, ModelRef] = pydantic.Field(min_length=1, description="the networks, by names of this file's own")
    nodes: Nodes = pydantic.Field(description="who plays which role; --edge and --cloud bind others")
    scenario: Scenario = pydantic.Field(Scenario(), description="how requests arrive")
    repeats: int = pydantic.Field(5, ge=1, le=1000, description="of every cell, interleaved")
    order: Literal["randomised", "as_written"] = pydantic.Field(
        "randomised", description="of the cells within a repeat; randomised: another one in each, drawn from seed"
    )
    on_error: Literal["skip", "stop", "retry"] = pydantic.Field(
        "skip",
        description="what a repeat that fails means: skip goes on with the next one, stop ends the run, retry tries it "
        "twice more and then goes on",
    )
    seed: int = pydantic.Field(0, ge=0, le=MOST_SEED, description="decides the order of cells and samples")
    idle_s: float = pydantic.Field(2.0, gt=0, le=3600, description="idle baseline before and after every repeat")
    cooldown: Cooldown | None = pydantic.Field(
        Cooldown(),
        description="before a repeat, until each measured board is as warm as before its first one; `null`: nothing is "
        "waited for",
    )
    link: LinkChoice | None = pydantic.Field(
        None, description="of every cell that asks its cloud and names none itself"
    )
    shaping: Literal["auto", "user", "tc"] = pydantic.Field(
        "auto", description="who imposes the link: a process beside the cloud, the nodes' kernels, or tc where it can"
    )
    capture: bool = pydantic.Field(False, description="the edges capture the headers of the data port's packets")
    curve: bool = pydantic.Field(True, description="CURVE on the data plane; the control plane always has it")
    deadlines: Deadlines = pydantic.Field(Deadlines(), description="after how long a silent worker fails its repeat")
    baselines: bool = pydantic.Field(
        True, description="the edge alone without exit is added for every recipe that has no such cell"
    )
    sweep: Sweep | None = pydantic.Field(
        None, description="of every cell: of its keys, those that fit the cell's mode and that it does not say itself"
    )
    exclude: tuple[dict[str, Any], ...] = pydantic.Field(
        (), description="cells that have all these values are left out; a list in it is any of its values"
    )
    cells: tuple[CellSpec, ...] = pydantic.Field(min_length=1, max_length=MOST_CELLS, description="what is measured")

    @pydantic.field_validator("plugins")
    @classmethod
    def _in_use(cls, paths: tuple[Path, ...], info: pydantic.ValidationInfo) -> tuple[Path, ...]:
        """The files seen from the experiment's folder; what they add is there for all that is validated after this."""
        found = tuple(beside(path, info) for path in paths)
        try:
            use_files(found)
        except TestbedError as error:
            raise ValueError(str(error)) from error
        return found

    @pydantic.model_validator(mode="after")
    def _names_are_known(self) -> Experiment:
        if self.profile is not None and self.profile not in self.profiles:
            there = ", ".join(self.profiles) or "none"
            raise PlacedError(f"no profile is named {self.profile!r}; profiles has {there}", "profile")
        for name, changes in self.profiles.items():
            for key in sorted(changes.keys() - Experiment.model_fields.keys() | changes.keys() & _NOT_OF_A_PROFILE):
                raise PlacedError("unknown key, or one that a profile may not change", "profiles", name, key)
        for position, pattern in enumerate(self.exclude):
            for key in sorted(pattern.keys() - CellSpec.model_fields.keys()):
                raise PlacedError("unknown key", "exclude", position, key)
            if not pattern:
                raise PlacedError("this would leave out every cell", "exclude", position)
        return self

    @pydantic.model_validator(mode="after")
    def _schedules_fit(self, info: pydantic.ValidationInfo) -> Experiment:
        timesteps_of: Callable[[ModelRef], int] | None = (info.context or {}).get(TIMESTEPS_OF)
        for position, cell in enumerate(self.cells):
            plain = cell.window == 1 and cell.chunks is None
            if timesteps_of is None or cell.model not in self.models or plain:
                continue
            timesteps = timesteps_of(self.models[cell.model])
            if cell.chunks is not None and sum(cell.chunks) != timesteps:
                found = f"{'+'.join(map(str, cell.chunks))} = {sum(cell.chunks)}"
                message = f"chunks must add up to the T={timesteps} timesteps of {cell.model}, and {found}"
                raise PlacedError(message, "cells", position, "chunks")
            if cell.window > timesteps:
                message = f"a window of {cell.window} timesteps, but {cell.model} has T={timesteps}"
                raise PlacedError(message, "cells", position, "window")
        return self

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Experiment:
        check_arrivals(self.scenario, [cell.scenario for cell in self.cells])
        whole = [cell.over(self.link, self.models, self.scenario) for cell in self.cells]
        measured = [cell.measured() for cell in whole]
        for position, cell in enumerate(self.cells):
            if cell.model not in self.models:
                message = f"cell {cell.mode} names model {cell.model!r}; models has {', '.join(self.models)}"
                raise PlacedError(message, "cells", position, "model")
            if measured.index(measured[position]) != position:
                raise PlacedError("two cells are the same", "cells", position)
            if cell.label is not None and cell.label in (other.label for other in self.cells[:position]):
                raise PlacedError(f"two cells are labelled {cell.label!r}", "cells", position, "label")
            if cell.again and whole[position].measured(again=False) not in measured:
                message = "again: true measures a baseline once more, and none like it is there; write it without again"
                raise PlacedError(message, "cells", position, "again")
            if whole[position].link is None and any(fault.of_the_link for fault in cell.faults):
                message = "a fault of the link needs a link, and this cell has none"
                raise PlacedError(message, "cells", position, "faults")
        return self
