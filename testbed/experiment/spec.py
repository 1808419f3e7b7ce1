"""The blocks of an experiments/*.yaml but for its exits, faults, links and sweeps, which have files of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from devices.base.plugins import use_files
from testbed.config import MOST_SEED, Name, PlacedError, Strict, any_of
from testbed.errors import ExperimentError, TestbedError
from testbed.experiment.exits import Exit
from testbed.experiment.faults import Fault
from testbed.experiment.links import NO_LINK, LinkChoice, Varied
from testbed.experiment.scenario import Arriving, Scenario, arriving, check_arrivals
from testbed.experiment.sweeps import MOST_CELLS, Sweep
from testbed.importing import beside
from testbed.link.codec import codec_names
from testbed.modes import facts_of, mode_names
from testbed.record.layout import RESERVED
from testbed.snn.architecture import Weights
from testbed.snn.recipe import MOST_TIMESTEPS

Chunks: TypeAlias = Annotated[
    tuple[Annotated[int, pydantic.Field(ge=1, le=MOST_TIMESTEPS)], ...],
    pydantic.Field(min_length=1, max_length=MOST_TIMESTEPS),
]


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"results/{name} is not for an experiment; choose another name")
    return name


def _mode(name: str) -> str:
    if name not in mode_names():
        raise ValueError(f"expected {any_of(mode_names())}")
    return name


def _fallback(name: str) -> str:
    alone = [mode for mode in mode_names() if facts_of(mode).cloud_part is None]
    if name not in alone:
        raise ValueError(f"expected {any_of(alone)}, which needs no cloud")
    return name


def _codec(name: str) -> str:
    if name not in codec_names():
        raise ValueError(f"expected {any_of(codec_names())}")
    return name


class ModelRef(Strict):
    """A variant of a training recipe; the path is relative to the experiment file."""

    recipe: Path = pydantic.Field(description="a training recipe (training.md)")
    variant: Name | None = pydantic.Field(
        None, description="of the recipe, which a relu network does not have; a cell may name another one"
    )
    weights: Weights = pydantic.Field(
        default="float",
        description="`int8` computes with 8-bit weights, a spiking network's baseline too (training.md)",
    )

    @property
    def cut(self) -> str:
        """The variant of a network that is cut; a cell with a code or an exit has such a one.

        Raises:
            ExperimentError: it is never cut.
        """
        if self.variant is None:
            raise ExperimentError(f"{self.recipe}: it has no variant, so it sends no code and has no exit")
        return self.variant


class Nodes(Strict):
    """The profiles bound to the roles; --edge and --cloud bind others."""

    edge: Path = pydantic.Field(description="the profile that plays the edge (hardware.md)")
    cloud: Path = pydantic.Field(description="the profile that plays the cloud")


class CellSpec(Strict):
    """One way to answer requests."""

    mode: Annotated[str, pydantic.AfterValidator(_mode)] = pydantic.Field(description="how requests are answered")
    model: str = pydantic.Field(description="a name of `models`")
    variant: Name | None = pydantic.Field(
        None, description="another variant of the model's recipe: another split, or another compression"
    )
    codec: Annotated[str, pydantic.AfterValidator(_codec)] | None = pydantic.Field(
        None, description="of a mode that sends a code: how the code is packed"
    )
    exit: Exit | None = pydantic.Field(None, description="when the edge stops early; default: after all timesteps")
    window: int = pydantic.Field(
        1,
        ge=1,
        le=MOST_TIMESTEPS,
        description="of a mode that sends a code: how many timesteps may be unanswered; 1: each answer is waited for, "
        "T: none is",
    )
    chunks: Chunks | None = pydantic.Field(
        None,
        description="how many timesteps are computed in one call and sent in one message, such as [1, 3]; they add up "
        "to T; default: each by itself",
    )
    schedule: Literal["auto"] | None = pydantic.Field(
        None,
        description="`auto` chooses window and chunks by what nodes and link take and where validation samples exit",
    )
    link: LinkChoice | None = pydantic.Field(
        None,
        description="a profile's name, or the path of a profile or trace; `none` leaves the path as it is; "
        "default: the experiment's",
    )
    scenario: Arriving | None = pydantic.Field(None, description="where it differs from the experiment's")
    faults: tuple[Fault, ...] = pydantic.Field(
        (), max_length=100, description="what is done to the link and the workers, and when"
    )
    fallback: Annotated[str, pydantic.AfterValidator(_fallback)] | None = pydantic.Field(
        None, description="a mode without a cloud: the edge answers by itself while the cloud is late or gone"
    )
    again: bool = pydantic.Field(
        default=False,
        description="the baseline once more, as a cell of its own: how far the two lie apart is what the campaign "
        "can resolve",
    )
    label: Annotated[str, pydantic.Field(min_length=1, max_length=100)] | None = pydantic.Field(
        None, description="the cell's name for people; default: what varies between the cells"
    )
    sweep: Sweep | None = pydantic.Field(None, description="the cell stands for one cell for each value")

    @pydantic.model_validator(mode="after")
    def _fits_its_mode(self) -> CellSpec:
        facts = facts_of(self.mode)
        if facts.needs_codec and self.codec is None:
            raise ValueError(f"a {self.mode} cell needs a codec: {any_of(codec_names())}")
        if not facts.needs_codec and self.codec is not None:
            coded = [name for name in mode_names() if facts_of(name).needs_codec]
            raise ValueError(f"a codec belongs to {any_of(coded)}, not to {self.mode}")
        if self.window > 1 and not facts.windows:
            raise ValueError(f"{self.mode} sends no code, so no timesteps are in flight: it takes no window")
        if self.chunks is not None and not (facts.windows or (facts.exits and self.exit is not None)):
            raise ValueError(f"chunks end where an exit may be, and this {self.mode} cell has none")
        if self.schedule is not None and not facts.windows:
            raise ValueError(f"{self.mode} sends no code, so there is no schedule to choose")
        if self.schedule is not None and (self.window > 1 or self.chunks is not None):
            raise ValueError("schedule: auto chooses window and chunks: leave them out")
        if not facts.exits and self.exit is not None:
            raise ValueError(f"{self.mode} sends its {facts.sends} once, so there is nothing to exit from")
        if "cloud" not in facts.roles and self.link is not None:
            raise ValueError(f"{self.mode} uses no link")
        for fault in self.faults:
            if "cloud" not in facts.roles and fault.fault != "edge_killed":
                raise ValueError(f"{self.mode} has no cloud, so {fault.fault} cannot happen to it")
        if facts.cloud_part is None and self.fallback is not None:
            raise ValueError(f"{self.mode} asks no cloud, so there is nothing to fall back from")
        if self.again and not self._plain:
            raise ValueError("again: true is for the baseline alone, a cell without cloud and exit")
        return self

    @property
    def baseline(self) -> bool:
        """Whether other cells are compared with this one: it asks no cloud, has no exit, and is not the second one."""
        return self._plain and not self.again

    def measured(self, *, again: bool | None = None) -> str:
        """What is measured, whatever it is called: the same text for the same cell."""
        asked = self.again if again is None else again
        return self.model_copy(update={"label": None, "again": asked}).model_dump_json()

    @property
    def _plain(self) -> bool:
        return facts_of(self.mode).roles == ("edge",) and self.exit is None

    def over(self, link: str | Varied | None, models: Mapping[str, ModelRef], scenario: Scenario) -> CellSpec:
        """This cell with what it inherits: the experiment's link where it asks its cloud, and its model's variant.

        Its scenario has all that applies to it. A link that is `none` becomes None.
        """
        chosen = None
        if "cloud" in facts_of(self.mode).roles:
            chosen = link if self.link is None else self.link
        variant = self.variant or (models[self.model].variant if self.model in models else None)
        return self.model_copy(
            update={
                "link": None if chosen == NO_LINK else chosen,
                "variant": variant,
                "scenario": arriving(self.scenario, scenario),
            }
        )


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
