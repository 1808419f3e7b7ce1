"""The factors of a cell: what was chosen before anything was measured, each as one column.

They are columns of `summary.csv` and of every frame of `analysis.load`, so nobody has to join manifests. All are
read from the manifest. None means that a factor does not apply to the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from testbed.record.documents import Manifest
from testbed.record.noderecord import NodeRecord, Role

Kind: TypeAlias = Literal["text", "number", "integer", "boolean"]
Field: TypeAlias = str | float | bool | None


@dataclass(frozen=True)
class Factor:
    """One factor: its column's name, kind and unit, what it is, and how a manifest says it."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    of: Callable[[Manifest], Field]


def factors_of(manifest: Manifest) -> dict[str, Field]:
    """Every factor of a cell, in the order of `FACTORS`."""
    return {factor.name: factor.of(manifest) for factor in FACTORS}


def nominal_compression(manifest: Manifest) -> float | None:
    """Per timestep: 32·C·H·W at the split over the bits of the code; None where no code is sent."""
    return manifest.model.compression if manifest.sends == "code" else None


def _exit(name: str) -> Callable[[Manifest], Any]:
    return lambda manifest: None if manifest.exit is None else getattr(manifest.exit, name)


def _chunks(manifest: Manifest) -> str | None:
    ways = [chosen.chunks for chosen in manifest.schedules] or [manifest.config.chunks or []]
    said = dict.fromkeys("+".join(map(str, chunks)) for chunks in ways)
    return " ".join(said) or None


def _schedule(manifest: Manifest) -> str | None:
    return None if manifest.config.schedule is None else "auto"


def _window(manifest: Manifest) -> int | None:
    if not manifest.mode_facts.windows:
        return None
    return max((chosen.window for chosen in manifest.schedules), default=manifest.config.window)


def _alphas(manifest: Manifest) -> str | None:
    alphas = None if manifest.exit is None else manifest.exit.thresholds
    return None if alphas is None else " ".join(f"{alpha:g}" for alpha in alphas)


def _exit_drop(manifest: Manifest) -> float | None:
    calibrated = None if manifest.exit is None else manifest.exit.calibrated
    return None if calibrated is None else calibrated["settings"]["drop"]


def _of_split(name: str) -> Callable[[Manifest], Any]:
    """A fact of the split network; None where the whole backbone answers."""
    return lambda manifest: None if manifest.mode_facts.network == "full" else getattr(manifest.model, name)


def _asked(*path: str) -> Callable[[Manifest], Any]:
    """What was asked of the link; None where it is as it is, or nothing was asked."""

    def find(manifest: Manifest) -> Any:
        found: Any = manifest.link.requested
        for key in path:
            found = None if found is None else found.get(key)
        return found

    return find


def _rtt_ms(manifest: Manifest) -> float | None:
    up, down = _asked("up", "delay_ms")(manifest), _asked("down", "delay_ms")(manifest)
    return None if up is None or down is None else up + down


def _cooldown_c(manifest: Manifest) -> float | None:
    return None if manifest.config.cooldown is None else manifest.config.cooldown.within_c


def _faults(manifest: Manifest) -> str | None:
    return " ".join(fault.fault for fault in manifest.config.faults) or None


def _nodes(role: Role, fact: Callable[[NodeRecord], Field]) -> Callable[[Manifest], str | None]:
    """A fact of the nodes of a role: each distinct value once; None where the role takes no part."""

    def find(manifest: Manifest) -> str | None:
        found = [value for value in map(fact, manifest.role(role)) if value is not None]
        return " ".join(dict.fromkeys(map(str, found))) or None

    return find


def _board(node: NodeRecord) -> str | None:
    """The board that an emulated node stands for, else the one that the node said it is."""
    if node.profile.emulates is not None:
        return node.profile.emulates.board
    said = (repeat.hello.board.others.get("board_model") for repeat in node.repeats.values())
    return next((str(name) for name in said if name), None)


def _variant(manifest: Manifest) -> str | None:
    return manifest.model.name.rpartition("/")[2] if "/" in manifest.model.name else None


def _emulated(manifest: Manifest) -> bool:
    return any(node.profile.kind == "emulated" for node in manifest.nodes.values())


def _of_role(role: Role) -> Iterable[Factor]:
    yield Factor(role, "text", "", f"the node that plays the {role}", _nodes(role, lambda node: node.id))
    yield Factor(
        f"{role}_kind",
        "text",
        "",
        "`jetson`, `host`, `nvidia_gpu` or `emulated`",
        _nodes(role, lambda node: node.profile.kind),
    )
    yield Factor(f"{role}_board", "text", "", "its board, or the one that it emulates", _nodes(role, _board))
    yield Factor(
        f"{role}_provider",
        "text",
        "",
        "what executes the step graphs on it",
        _nodes(role, lambda node: node.profile.runtime.told),
    )
    yield Factor(
        f"{role}_power_mode",
        "text",
        "",
        "power mode set for the run (`nvpmodel`); blank: as it was",
        _nodes(role, lambda node: node.profile.settings.nvpmodel),
    )


FACTORS: tuple[Factor, ...] = (
    Factor("mode", "text", "", "how requests are answered", lambda m: m.mode),
    Factor("experiment", "text", "", "the experiment's name", lambda m: m.experiment),
    Factor("position", "integer", "", "place of the cell in the experiment, from 0", lambda m: m.config.position),
    Factor("baseline", "boolean", "", "whether others are compared with it", lambda m: m.config.baseline),
    Factor("again", "boolean", "", "whether it is a baseline measured a second time (A/A)", lambda m: m.config.again),
    Factor("model", "text", "", "the experiment's name of the model", lambda m: m.config.model),
    Factor("recipe", "text", "", "the training recipe", lambda m: m.model.name.rpartition("/")[0] or m.model.name),
    Factor("variant", "text", "", "the recipe's variant", _variant),
    Factor("backbone", "text", "", "the network", lambda m: m.model.backbone),
    Factor(
        "width", "integer", "channels", "of its first stage; empty for a network of one's own", lambda m: m.model.width
    ),
    Factor("spiking", "boolean", "", "whether the network spikes; no: an ANN, with ReLU", lambda m: m.model.spiking),
    Factor("weights", "text", "", "their form: `float` or `int8`", lambda m: m.model.weights),
    Factor("dataset", "text", "", "the data set", lambda m: m.dataset.name),
    Factor("dataset_variant", "text", "", "how it was prepared and divided", lambda m: m.dataset.variant),
    Factor("samples", "integer", "samples", "held-out samples of the bundle", lambda m: m.dataset.samples),
    Factor("model_timesteps", "integer", "timesteps", "T, the most that a request runs", lambda m: m.model.timesteps),
    Factor("split", "text", "", "after which the network is cut", _of_split("split")),
    Factor(
        "compression",
        "number",
        "×",
        "nominal, per timestep: 32·C·H·W at the split over the bits of the code",
        nominal_compression,
    ),
    Factor("codec", "text", "", "how codes are packed", lambda m: m.codec),
    Factor("exit_policy", "text", "", "the confidence that an exit looks at", _exit("policy")),
    Factor("exit_accumulate", "text", "", "mean or sum of the logits", _exit("accumulate")),
    Factor("alpha", "number", "", "α, the exit's threshold; blank where each timestep has its own", _exit("threshold")),
    Factor("alphas", "text", "", "α of each timestep but the last, where they differ", _alphas),
    Factor("exit_drop_points", "number", "points", "accuracy drop that α was calibrated for", _exit_drop),
    Factor("schedule", "text", "", "`auto`: window and chunks were chosen; blank: they were said", _schedule),
    Factor("window", "integer", "timesteps", "how many may be unanswered; blank: none is sent by itself", _window),
    Factor("chunks", "text", "", "timesteps computed and sent together; blank: each by itself", _chunks),
    Factor("fallback", "text", "", "mode in which the edge answers without its cloud", lambda m: m.config.fallback),
    Factor("faults", "text", "", "faults that were played", _faults),
    Factor("link", "text", "", "the link asked for; blank: as the path is", _asked("name")),
    Factor("link_technology", "text", "", "its technology", _asked("technology")),
    Factor("link_up_mbit_s", "number", "Mbit/s", "mean rate asked, edge to cloud", _asked("up", "mbit_s", "mean")),
    Factor("link_down_mbit_s", "number", "Mbit/s", "mean rate asked, cloud to edge", _asked("down", "mbit_s", "mean")),
    Factor("link_rtt_ms", "number", "ms", "delay asked, both ways together, without jitter or queue", _rtt_ms),
    Factor("link_jitter_up_ms", "number", "ms", "jitter asked, edge to cloud", _asked("up", "jitter_ms")),
    Factor("link_jitter_down_ms", "number", "ms", "jitter asked, cloud to edge", _asked("down", "jitter_ms")),
    Factor("link_loss_up", "number", "fraction", "packet loss asked, edge to cloud", _asked("up", "loss")),
    Factor("link_loss_down", "number", "fraction", "packet loss asked, cloud to edge", _asked("down", "loss")),
    Factor("curve", "boolean", "", "whether the data plane was encrypted", lambda m: m.link.curve),
    Factor("scenario", "text", "", "how requests arrive", lambda m: m.config.scenario.kind),
    Factor("target_qps", "number", "1/s", "of a server: arrivals asked for", lambda m: m.config.scenario.target_qps),
    Factor(
        "requests_asked",
        "integer",
        "requests",
        "per repeat; blank: each sample once",
        lambda m: m.config.scenario.requests,
    ),
    Factor("timeout_ms", "integer", "ms", "for a whole request", lambda m: m.config.scenario.timeout_ms),
    Factor("deadline_ms", "integer", "ms", "later is a timeout", lambda m: m.config.scenario.deadline_ms),
    Factor("idle_s", "number", "s", "idle baseline before and after a repeat", lambda m: m.config.idle_s),
    Factor("cooldown_c", "number", "°C", "how near to its first temperature a board was to be", _cooldown_c),
    Factor("capture", "boolean", "", "whether edges captured packets, which costs them", lambda m: m.config.capture),
    Factor("seed", "integer", "", "of the order of repeats and samples", lambda m: m.config.seed),
    Factor(
        "repeats", "integer", "repeats", "asked for; the n of the intervals of a complete cell", lambda m: m.repeats
    ),
    *_of_role("edge"),
    *_of_role("cloud"),
    Factor("emulated", "boolean", "", "whether a node that takes part is emulated", _emulated),
    Factor("code_version", "text", "", "version of the testbed that measured", lambda m: m.code.version),
    Factor("code_commit", "text", "", "its commit", lambda m: m.code.commit),
    Factor("created", "text", "", "when the cell was begun (ISO 8601, UTC)", lambda m: m.created),
)
"""All factors, in the order of their columns."""
