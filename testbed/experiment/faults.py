"""The `faults:` of a cell: what is done to its link and its workers, and when."""

from __future__ import annotations

import pydantic

from testbed.config import Strict
from testbed.record.faults import LINK_FAULTS, FaultKind


class Fault(Strict):
    """One fault: at a time from the first request on, or once so many requests are answered; and for how long.

    `factor` is what is left of the link's rate (link_rate), `add_ms` what is added to each direction's delay
    (link_delay). A killed worker is started again after `for_s`.
    """

    fault: FaultKind = pydantic.Field(description="what is done; a killed worker is started again after `for_s`")
    at_s: float | None = pydantic.Field(
        None, ge=0, le=86_400, description="when: from the first request on; or at_request"
    )
    at_request: int | None = pydantic.Field(
        None, ge=0, le=1_000_000, description="or when so many requests are answered"
    )
    for_s: float = pydantic.Field(ge=0.1, le=3600, description="how long")
    factor: float | None = pydantic.Field(
        None, ge=1e-4, lt=1, description="of link_rate: what is left of the link's rate"
    )
    add_ms: float | None = pydantic.Field(
        None, gt=0, le=60_000, description="of link_delay: what is added to each direction's delay"
    )

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Fault:
        if (self.at_s is None) == (self.at_request is None):
            raise ValueError("a fault needs one of at_s and at_request")
        for key, kind in (("factor", "link_rate"), ("add_ms", "link_delay")):
            if (getattr(self, key) is not None) != (self.fault == kind):
                raise ValueError(f"{key} belongs to {kind}, and {kind} needs it")
        return self

    @property
    def of_the_link(self) -> bool:
        """Whether it is the link's rather than a worker's."""
        return self.fault in LINK_FAULTS
