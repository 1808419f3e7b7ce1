"""The `link:` of a cell: a profile or trace, or one varied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic

from devices.base.errors import DeviceError
from devices.links.conditions import Link
from devices.links.load import load_link
from devices.links.vary import vary
from testbed.config import Strict
from testbed.errors import ExperimentError

NO_LINK = "none"
"""What `link:` says where the path is to be left as it is."""

LinkName = Annotated[str, pydantic.Field(min_length=1, max_length=300)]


_AS_LIKE = "default: as of `like`"


class Varied(Strict):
    """A link like another one, but for what is given, in both directions; `rtt_ms` is without jitter."""

    like: LinkName = pydantic.Field(description="the link, or its profile or trace; what follows differs from it")
    mbit_s: float | None = pydantic.Field(None, ge=1e-4, le=1e5, description=f"rate in both directions; {_AS_LIKE}")
    rtt_ms: float | None = pydantic.Field(
        None, ge=0, le=120_000, description=f"half of it each way, without jitter; {_AS_LIKE}"
    )
    loss: float | None = pydantic.Field(
        None, ge=0, lt=1, description=f"share of packets that are lost, in both directions; {_AS_LIKE}"
    )


def _form(choice: object) -> str:
    return "varied" if isinstance(choice, dict | Varied) else "name"


LinkChoice = Annotated[
    Annotated[LinkName, pydantic.Tag("name")] | Annotated[Varied, pydantic.Tag("varied")], pydantic.Discriminator(_form)
]
"""What `link:` may be. What is wrong with it is wrong with the one form in which it is written."""


def resolve(choice: str | Varied, folder: Path) -> Link:
    """The link that a cell asks for; a path is seen from `folder`.

    Raises:
        ExperimentError: there is none, or it says something that it may not.
    """
    try:
        if isinstance(choice, str):
            return load_link(choice, folder)
        return vary(load_link(choice.like, folder), choice.mbit_s, choice.rtt_ms, choice.loss)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
