"""What a mode is, in the words that a manifest keeps of it: analysis asks these and never the mode's name."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Part: TypeAlias = Literal["full", "edge", "cloud"]
"""A part of a model: the uncompressed backbone as a whole, or one half of the split network."""

Sends: TypeAlias = Literal["nothing", "input", "code"]

Answerer: TypeAlias = Literal["edge", "cloud"]
"""Whose output a prediction is."""


class ModeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mode: who takes part, what crosses the link, and which part of the model each side runs.

    Attributes:
        name: what `mode:` says in an experiment.
        title: its name for people.
        roles: the roles that take part, the edge first.
        sends: what the edge sends up: `nothing`, its `input` once, or a `code` each timestep.
        exits: whether an exit makes sense: the edge sees each timestep's logits and may stop the next.
        edge_part: which part of the model the edge runs; None where it computes nothing.
        cloud_part: which part of the model the cloud runs; None where it takes no part.
    """

    name: str
    title: str
    roles: tuple[Literal["edge", "cloud"], ...]
    sends: Sends
    exits: bool
    edge_part: Part | None
    cloud_part: Part | None

    @property
    def needs_codec(self) -> bool:
        """Whether a cell of this mode names a codec; of another mode it must not."""
        return self.sends == "code"

    @property
    def windows(self) -> bool:
        """Whether timesteps may be in flight: each is sent by itself, and the edge sees its answer."""
        return self.sends == "code"

    @property
    def network(self) -> Literal["split", "full"]:
        """Which network answers: the split one with its bottleneck, or the uncompressed backbone."""
        return "full" if "full" in (self.edge_part, self.cloud_part) else "split"

    @property
    def answers(self) -> Answerer:
        """Whose output the prediction is, as long as the edge need not fall back on itself."""
        return "edge" if self.cloud_part is None else "cloud"
