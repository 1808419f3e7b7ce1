"""A cell of an experiments/*.yaml: one way to answer requests, and the network that it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from testbed.config import Name, Strict, any_of
from testbed.errors import ExperimentError
from testbed.experiment.exits import Exit
from testbed.experiment.faults import Fault
from testbed.experiment.links import NO_LINK, LinkChoice, Varied
from testbed.experiment.scenario import Arriving, Scenario, arriving
from testbed.experiment.sweeps import Sweep
from testbed.link.codec import codec_names
from testbed.modes import facts_of, mode_names
from testbed.snn.architecture import Weights
from testbed.snn.recipe import MOST_TIMESTEPS

Chunks: TypeAlias = Annotated[
    tuple[Annotated[int, pydantic.Field(ge=1, le=MOST_TIMESTEPS)], ...],
    pydantic.Field(min_length=1, max_length=MOST_TIMESTEPS),
]


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
