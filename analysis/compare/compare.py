"""Compares the cells of two results, number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.compare.facts import FactDifference, differing_facts
from analysis.compare.match import match, same_samples
from analysis.compare.numbers import Number, numbers
from analysis.compare.verdict import Difference, difference, judge
from testbed.errors import RecordError
from testbed.record.reader import Cell


@dataclass(frozen=True)
class Pair:
    """A cell of A and one of B, their differences, what else differs, and what must be known to read them."""

    a: Cell
    b: Cell
    differences: list[Difference]
    facts: list[FactDifference]
    notes: list[str]


@dataclass(frozen=True)
class Comparison:
    """All pairs that were compared, and those cells that were not.

    Attributes:
        pairs: what was compared.
        refused: a line for each pair that should have been and could not.
        alone: a line for each cell without a counterpart.
    """

    pairs: list[Pair]
    refused: list[str]
    alone: list[str]

    @property
    def judged(self) -> list[Difference]:
        """Every difference that has a verdict."""
        return [found for pair in self.pairs for found in pair.differences if found.verdict != "unknown"]

    @property
    def beyond(self) -> list[Difference]:
        """Those that are more than noise."""
        return [found for found in self.judged if found.verdict == "beyond noise"]


def compare(
    ours: Sequence[Cell],
    theirs: Sequence[Cell],
    within: Mapping[str, float] | None = None,
    *,
    include_invalid: bool = False,
) -> Comparison:
    """Compare the cells of A with those of B.

    Args:
        ours: the cells of A.
        theirs: those of B.
        within: by a number's name, the share of A that does not count as a difference; of all numbers by `""`.
        include_invalid: compare also cells that missed a validity gate.

    Raises:
        RecordError: no cell of A has a counterpart that it can be compared with.
    """
    shares = within or {}
    pairs: list[Pair] = []
    refused: list[str] = []
    alone: list[str] = []
    matched = match(ours, theirs)
    for a, b in matched:
        try:
            pairs.append(_pair(a, b, shares, include_invalid))
        except RecordError as error:  # noqa: PERF203  (one pair's hole is told, the others go on)
            refused.append(str(error))
    for name, side, place in (("A", ours, 0), ("B", theirs, 1)):
        taken = {id(pair[place]) for pair in matched}
        alone += [f"only in {name}: {cell.manifest.label}" for cell in side if id(cell) not in taken]
    if not pairs:
        raise RecordError("; ".join(["nothing of A can be compared with B", *refused, *alone]))
    judged = judge({str(index): pair.differences for index, pair in enumerate(pairs)})
    every = [replace(pair, differences=judged[str(index)]) for index, pair in enumerate(pairs)]
    return Comparison(every, refused, alone)


def _pair(a: Cell, b: Cell, within: Mapping[str, float], include_invalid: bool) -> Pair:
    _must_compare(a, b, include_invalid)
    paired = same_samples(a, b)
    mine, other = numbers(a), numbers(b)
    if a.manifest.exit is None and b.manifest.exit is None:
        for each in (mine, other):
            each.pop("mean_exit_timestep", None)
    notes = _notes(a, b, mine, other, paired)
    differences = [
        difference(name, mine[name], other[name], paired=paired, within=within.get(name, within.get("", 0.0)))
        for name in mine
        if name in other and mine[name].kind == other[name].kind
    ]
    return Pair(a, b, differences, differing_facts(a.manifest, b.manifest), notes)


def _must_compare(a: Cell, b: Cell, include_invalid: bool) -> None:
    label = a.manifest.label
    for side, cell in (("A", a), ("B", b)):
        if not cell.complete:
            raise RecordError(f"{label}: not complete in {side}")
        if cell.status is not None and not cell.status.valid and not include_invalid:
            reasons = "; ".join(cell.status.reasons)
            raise RecordError(f"{label}: invalid in {side} ({reasons}); --include-invalid compares it all the same")
    data = [(cell.manifest.dataset.name, cell.manifest.dataset.variant) for cell in (a, b)]
    if data[0] != data[1]:
        raise RecordError(f"{label}: other data in B ({data[0][0]} | {data[1][0]})")


def _notes(a: Cell, b: Cell, mine: Mapping[str, Number], other: Mapping[str, Number], paired: bool) -> list[str]:
    found = []
    kinds = ["emulated" if _emulated(cell) else "measured" for cell in (a, b)]
    if kinds[0] != kinds[1]:
        found.append(
            f"A's nodes are {kinds[0]}, B's are {kinds[1]}: energies are not compared, and times of a model stand "
            "beside times of a board"
        )
    elif kinds[0] == "emulated":
        found.append("both on emulated nodes: times and energies are those of a model")
    if not paired:
        found.append("other samples or repeats in B: repeats are not paired")
    if a.manifest.model.hash != b.manifest.model.hash:
        found.append("another model in B")
    if missing := sorted(mine.keys() ^ other.keys()):
        found.append(f"in one of them alone: {', '.join(missing)}")
    for side, cell in (("A", a), ("B", b)):
        if cell.status is not None and not cell.status.valid:
            found.append(f"invalid in {side}: {'; '.join(cell.status.reasons)}")
    return found


def _emulated(cell: Cell) -> bool:
    return any(node.profile.kind == "emulated" for node in cell.manifest.nodes.values())
