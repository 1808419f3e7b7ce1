"""How late samples are taken: counted in bins, so that it costs no memory that grows."""

from __future__ import annotations

from collections import defaultdict

import msgspec


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """How long after its deadline a sample was begun, in µs."""

    p50: float
    p99: float
    max: float


class LatenessCounter:
    """Counts latenesses in bins of an eighth of a power of two of µs."""

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.max_ns = 0

    def add_all(self, other: LatenessCounter) -> None:
        """Count what another counted too."""
        self.max_ns = max(self.max_ns, other.max_ns)
        for us, count in other.counts.items():
            self.counts[us] += count

    def add(self, lateness_ns: int) -> None:
        """Count one."""
        if lateness_ns > self.max_ns:
            self.max_ns = lateness_ns
        lateness_us = lateness_ns // 1000
        shift = max(0, lateness_us.bit_length() - 4)
        self.counts[lateness_us >> shift << shift] += 1

    def percentiles(self) -> Lateness:
        """Median, 99th percentile and greatest; the first two as the lower edge of their bin."""
        return Lateness(p50=self._quantile(0.5), p99=self._quantile(0.99), max=self.max_ns / 1e3)

    def histogram(self) -> dict[str, int]:
        """Lower edge of a bin in µs → how many were counted in it."""
        return {str(us): count for us, count in sorted(self.counts.items())}

    def _quantile(self, q: float) -> float:
        left = q * sum(self.counts.values())
        for us, count in sorted(self.counts.items()):
            left -= count
            if left <= 0:
                return float(us)
        return 0.0
