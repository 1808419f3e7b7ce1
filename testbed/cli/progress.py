"""How far something is: bars on a terminal, and in a log a line for each event with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from testbed.cli.console import note, notes, watched


class _Count(MofNCompleteColumn):
    """How many of how many, where several things are counted."""

    def render(self, task: Task) -> Text:
        """Nothing where there is one thing, or the description has the bytes."""
        plain = task.total is None or task.total <= 1 or task.fields.get("in_bytes")
        return Text("") if plain else super().render(task)


def bars() -> Progress:
    """Bars that say what is done, how much of it, and how long the rest takes; for a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), _Count(), TimeRemainingColumn())
    return Progress(*columns, console=notes, transient=True)


def amount(what: str, done_bytes: int, total_bytes: int) -> str:
    """What is being done, and how much of it is done where that is known."""
    return f"{what} {done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB" if total_bytes else what


def in_words(seconds: float) -> str:
    """A duration for people, such as `40 s`, `12 min` or `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Say what takes a moment, while it does, where somebody watches; yields what says it anew."""
    if not watched():
        yield lambda now: None
        return
    with notes.status(escape(what)) as status:
        yield lambda now: status.update(escape(now))


@contextmanager
def training() -> Iterator[Callable[[Any], None]]:
    """A bar over the steps of each epoch of a training; in a log a line for each epoch."""
    if not watched():
        last: list[tuple[Any, ...]] = []

        def line(now: Any) -> None:
            epoch = (now.network, now.phase, now.epoch)
            if last != [epoch]:
                last[:] = [epoch]
                note(_epoch(now))

        yield line
        return
    with bars() as bar:
        task = bar.add_task("preparing", total=None)
        yield lambda now: bar.update(task, description=escape(_epoch(now)), completed=now.step, total=now.steps)


@contextmanager
def answering() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the samples that each network answers; in a log a line for each network."""
    if not watched():
        last: list[tuple[str, int]] = []

        def line(network: str, done: int, total: int) -> None:
            if last != [(network, total)]:
                last[:] = [(network, total)]
                note(f"{network}: answering {total} samples")

        yield line
        return
    with bars() as bar:
        task = bar.add_task("preparing", total=None)
        yield lambda network, done, total: bar.update(task, description=escape(network), completed=done, total=total)


def _epoch(now: Any) -> str:
    return f"{now.network}, {now.phase}: epoch {now.epoch}/{now.epochs}, loss {now.loss:.3f}, {now.accuracy:.1%}"


class StepLines:
    """What is being done on nodes, a line for each step, where nobody sees a line that changes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def step(self, node: str, what: str, total_bytes: int) -> None:
        """A step goes on, or another begins."""
        if what and self._last.get(node) != what:
            size = f" ({total_bytes / 1e6:.1f} MB)" if total_bytes else ""
            note(f"{node}: {what}{size}")
        self._last[node] = what


class NodeStatus:
    """One line that says which node is dealt with, and what is being done on it."""

    def __init__(self, doing: str) -> None:
        self._doing, self._node = doing, ""
        self._status, self._lines = notes.status(""), StepLines()

    def __enter__(self) -> NodeStatus:
        if watched():
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def node(self, path: str) -> None:
        """The next node."""
        self._node = path
        self.step("", 0, 0)

    def step(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """What is being done on it that takes a while; without `what` it is over."""
        shown = f"{self._doing} {self._node}" + (f": {amount(what, done_bytes, total_bytes)}" if what else "")
        self._status.update(escape(shown))
        if not watched():
            self._lines.step(self._node, what, total_bytes)


class Progressing(Protocol):
    """Shows how a campaign goes, while it is entered."""

    def __enter__(self) -> Progressing: ...
    def __exit__(self, *_: object) -> None: ...
    def message(self, text: str) -> None:
        """Something worth a line."""

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""

    def phase(self, name: str, done: int, total: int) -> None:
        """How far the attempt's present phase is."""

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """What is being done on a node that takes a while; without `what` it is over."""


def campaign_progress() -> Progressing:
    """Bars where somebody watches, else lines."""
    return Bars() if watched() else Lines()


class Lines:
    """Progress of a campaign in a log: a line for each attempt, phase and step."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._number, self._title, self._phase = 0, "", ""
        self._steps = StepLines()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def message(self, text: str) -> None:
        """A line."""
        note(text)

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""
        self._title, self._phase = title, ""
        took = time.monotonic() - self._started
        left = f"; about {in_words(took / (number - 1) * (of - number + 1))} left" if number > 1 else ""
        note(f"repeat {number} of {of}: {title}{left}")

    def phase(self, name: str, done: int, total: int) -> None:
        """Another phase of the attempt begins; how far it is makes no line."""
        if name != self._phase:
            self._phase = name
            note(f"{self._title}: {name}" + (f" ({total} requests)" if name == "measuring" else ""))

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """Another step on a node begins."""
        self._steps.step(node, what, total_bytes)


class Bars:
    """Progress of a campaign: one bar over its attempts, one over the present attempt, one for each node in a step."""

    def __init__(self) -> None:
        self._progress = bars()
        self._all: TaskID | None = None
        self._one: TaskID | None = None
        self._title = ""
        self._steps: dict[str, tuple[str, TaskID]] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        """A line above the bars."""
        note(text)

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""
        if self._all is None or self._one is None:
            self._all = self._progress.add_task("repeats", total=of)
            self._one = self._progress.add_task(escape(title))
        self._title = escape(title)
        self._progress.update(self._all, completed=number - 1, total=of)

    def phase(self, name: str, done: int, total: int) -> None:
        """How far the attempt's present phase is."""
        if self._one is not None:
            self._progress.update(self._one, description=f"{self._title}: {name}", completed=done, total=max(total, 1))

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """What is being done on a node that takes a while; without `what` it is over."""
        before, row = self._steps.get(node, ("", None))
        if row is not None and before != what:
            self._progress.remove_task(row)
            del self._steps[node]
            row = None
        if what:
            shown = escape(f"  {node}: {amount(what, done_bytes, total_bytes)}")
            total = total_bytes or None
            if row is None:
                self._steps[node] = what, self._progress.add_task(shown, total=total, in_bytes=True)
            else:
                self._progress.update(row, description=shown, completed=done_bytes)
