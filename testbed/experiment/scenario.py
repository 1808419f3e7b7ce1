"""How requests arrive: what the experiment says for all cells, and what a cell says of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pydantic

from testbed.config import PlacedError, Strict
from testbed.record.scenario import ScenarioKind

HOW = (
    "how requests arrive, by MLPerf's names: the next one when the last one has ended (single_stream), at random times "
    "(server), all at once (offline)"
)
RATE = "of a server: requests that arrive in a second, in the mean, as a Poisson process"
LATE = (
    "what is answered later is a timeout, counted from when it arrived; timeout_ms at most, which is when the link is "
    "given up; not for offline"
)
MOST_QPS = 10_000.0
MOST_MS = 3_600_000


class Scenario(Strict):
    """How requests arrive, how many there are, and how long they may take."""

    kind: ScenarioKind = pydantic.Field(default="single_stream", description=HOW)
    target_qps: float | None = pydantic.Field(default=None, gt=0, le=MOST_QPS, description=RATE)
    requests: int | None = pydantic.Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="per repeat, and again in whole passes where a power source needs longer; default: every held-out "
        "sample once",
    )
    warmup: int = pydantic.Field(default=20, ge=1, le=10_000, description="requests before those that count")
    timeout_ms: int = pydantic.Field(default=5000, ge=1, le=MOST_MS, description="for a whole request, from its begin")
    deadline_ms: int | None = pydantic.Field(default=None, ge=1, le=MOST_MS, description=LATE)


class Arriving(Strict):
    """What a cell says of its own about how its requests arrive; written out, all that applies to it."""

    kind: ScenarioKind | None = pydantic.Field(default=None, description="as in `scenario`; default: the experiment's")
    target_qps: float | None = pydantic.Field(
        default=None, gt=0, le=MOST_QPS, description="of a server: as in `scenario`; default: the experiment's"
    )
    deadline_ms: int | None = pydantic.Field(
        default=None, ge=1, le=MOST_MS, description="not for offline: as in `scenario`; default: the experiment's"
    )


def arriving(own: Arriving | None, shared: Scenario) -> Arriving:
    """What a cell says with what it inherits: a rate if it is a server, a deadline if it is not offline."""
    own = own or Arriving()
    kind = own.kind or shared.kind
    return Arriving(
        kind=kind,
        target_qps=own.target_qps or (shared.target_qps if kind == "server" else None),
        deadline_ms=own.deadline_ms or (shared.deadline_ms if kind != "offline" else None),
    )


def check_arrivals(shared: Scenario, cells: Sequence[Arriving | None]) -> None:
    """Refuse what does not go together.

    Raises:
        PlacedError: a server has no rate, something else has one, or a deadline is none that can be kept.
    """
    whole = [arriving(own, shared) for own in cells]
    for position, (own, found) in enumerate(zip(cells, whole, strict=True)):
        at: tuple[str | int, ...] = ("scenario",) if own is None else ("cells", position, "scenario")
        if found.kind == "server" and found.target_qps is None:
            raise PlacedError("a server needs to know how many requests arrive in a second", *at, "target_qps")
        if found.kind != "server" and found.target_qps is not None:
            raise PlacedError(f"requests of {found.kind} do not arrive at a rate; that is a server", *at, "target_qps")
        if found.kind == "offline" and found.deadline_ms is not None:
            raise PlacedError("offline, all requests are there at once and none is late", *at, "deadline_ms")
        if found.deadline_ms is not None and found.deadline_ms > shared.timeout_ms:
            at = ("scenario",) if own is None or own.deadline_ms is None else at
            message = (
                f"a deadline of {found.deadline_ms} ms is after timeout_ms ({shared.timeout_ms}), when the link is"
            )
            raise PlacedError(f"{message} given up", *at, "deadline_ms")
    if shared.target_qps is not None and all(found.target_qps is None for found in whole):
        raise PlacedError(
            f"requests of {shared.kind} do not arrive at a rate; that is a server", "scenario", "target_qps"
        )
    if shared.deadline_ms is not None and all(found.deadline_ms is None for found in whole):
        raise PlacedError("offline, all requests are there at once and none is late", "scenario", "deadline_ms")
