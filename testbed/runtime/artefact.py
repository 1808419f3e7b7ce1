"""The model artefact: a folder of step graphs, and `model.yaml` that says what they are.

Files: `stem.onnx` (what a still image goes through once, and each frame of events at its timestep), `edge.onnx`,
`cloud.onnx` (the halves, one timestep), `full_stem.onnx` and `full_step.onnx` (the uncompressed backbone, one
timestep), `full.onnx` (the same, all timesteps in one call) and `weights.safetensors`. Where a cell takes timesteps in
chunks, `edge_x3.onnx` and the like take so many in one call. A network without spikes has `full.onnx` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from devices import yamlfile, yamltext
from devices.base.errors import DeviceError
from devices.timemodel import Work
from testbed.errors import ModelError, OutdatedModelError
from testbed.runtime.digest import document_digest, file_digest

MODEL_SCHEMA = 5
CARD_NAME = "model.yaml"
STEP_GRAPHS = {"edge": "edge.onnx", "cloud": "cloud.onnx", "full": "full_step.onnx"}
"""The graphs that take one timestep, by the part of the network that they are."""
CARD_BYTES = 1 << 24

Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Shape: TypeAlias = Annotated[list[Positive], msgspec.Meta(min_length=3, max_length=3)]
Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
# A name, not a path: a card must not lead out of its folder.
FileName: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.\-]*\Z")]


class OpCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operations of one part of a network for one request, batch of one; entry t is the sum over timesteps 1..t+1.

    `synops` are the accumulations that spikes drive in layers with weights, `acs` these and every other addition,
    `macs` the multiply-accumulates of inputs that are no spikes. `int8_synops` and `int8_macs` are those among them in
    layers that compute in 8-bit integers. `memory_bytes` are parameters and neuron states.
    """

    macs: list[float]
    acs: list[float]
    synops: list[float]
    int8_macs: list[float] = []
    int8_synops: list[float] = []
    memory_bytes: list[float]
    energy_compute_pj: list[float]
    energy_memory_pj: list[float]


class OpCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean operation counts over `samples` test samples; the energies are these counts times the constants here.

    `edge` and `cloud` are the two halves, None for a network that is never cut; `full` is the uncompressed backbone.
    `source` says who counted, and where the constants are from. No energy here was measured, on any device.
    """

    edge: OpCost | None = None
    cloud: OpCost | None = None
    full: OpCost
    samples: Positive
    pj_per_mac: float
    pj_per_ac: float
    pj_per_int8_mac: float | None = None
    pj_per_int8_ac: float | None = None
    pj_per_memory_byte: float
    source: str


ACCURACY_SAMPLES = 500
"""The most test samples that an export classifies: the 10,000 of CIFAR-10 take a full-width network many minutes of a
core, and `testbed evaluate` does that."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model artefact is. Shapes are [C, H, W] of one sample at one timestep.

    `spiking` is false for the same layers with ReLU in place of neurons, an ANN: one timestep, and never split.
    `width` is None for a network of one's own, which says its size in arguments of its own.
    `split`, `feature_shape` and `code_shape` are None for a backbone that is not split.
    `compression` is nominal and per timestep: 32 · elements at the split / bits of the code.
    `accuracy_per_timestep` has the keys `full` and, where split, `split`; entry t is the accuracy of
    the logits accumulated over timesteps 1..t+1, on `ACCURACY_SAMPLES` test samples at the most. With `static_input` a
    sample is one image for all timesteps, else it is a frame of events for each, or `frames` of them at once for an
    ANN. `code_rates` [T][C'] is the share of ones in each channel of the code at each timestep, on training data: what
    the `entropy` codec codes with. `graphs` says what a call of each step graph asks of a processor. `weights` is their
    form, that of the backbone too. `hash` covers every other field, so every file.
    """

    schema: int = MODEL_SCHEMA
    name: str
    backbone: str
    width: Positive | None
    spiking: bool = True
    weights: Literal["float", "int8"] = "float"
    dataset: str
    dataset_variant: str
    timesteps: Annotated[int, msgspec.Meta(ge=1, le=255)]
    classes: Annotated[list[str], msgspec.Meta(min_length=2)]
    input_shape: Shape
    static_input: bool
    frames: Positive | None = None
    split: str | None = None
    feature_shape: Shape | None = None
    code_shape: Shape | None = None
    bottleneck: bool
    compression: Annotated[float, msgspec.Meta(gt=0)] | None = None
    accuracy_per_timestep: dict[str, list[Fraction]]
    code_rates: list[list[Fraction]] | None = None
    op_counts: OpCounts | None = None
    graphs: dict[FileName, Work] = {}
    trained: dict[str, Any]
    files: dict[FileName, str] = {}
    hash: str = ""

    def __post_init__(self) -> None:
        """Refuse rates that do not fit the code; msgspec makes a `ValidationError` of it."""
        if self.code_rates is None:
            return
        channels = 0 if self.code_shape is None else self.code_shape[0]
        found = [len(row) for row in self.code_rates]
        if found != [channels] * self.timesteps:
            raise ValueError(
                f"code_rates has rows of {found}, not {self.timesteps} timesteps of {channels} channels "
                "as in code_shape"
            )

    @property
    def network(self) -> str:
        """The network for people: its name, its width where it has one, and whether it is an ANN."""
        name = self.backbone if self.spiking else f"{self.backbone} with ReLU (ANN)"
        return name if self.width is None else f"{name}, width {self.width}"

    @property
    def stepwise(self) -> bool:
        """Whether there are graphs of single timesteps, beside that of all in one call."""
        return STEP_GRAPHS["full"] in self.files

    @property
    def sample_shape(self) -> list[int]:
        """Shape of one whole sample: [C, H, W] of a still image or [T, C, H, W] of event frames."""
        return self.input_shape if self.static_input else [self.frames or self.timesteps, *self.input_shape]


def chunk_file(step: str, timesteps: int) -> str:
    """The file of a step graph that takes so many timesteps at once: `edge.onnx`, or `edge_x3.onnx` for three."""
    return step if timesteps == 1 else f"{step.removesuffix('.onnx')}_x{timesteps}.onnx"


def load_card(folder: Path) -> ModelCard:
    """Read `model.yaml` and check that nobody has edited it; the files it names are not read.

    Raises:
        ModelError: it is missing, is of another schema, or differs from its own hash.
    """
    path = folder / CARD_NAME
    try:
        document = yamlfile.load(path, CARD_BYTES).data
    except DeviceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ModelError(f"{folder}: no model artefact here ({CARD_NAME} is missing)") from error
        raise ModelError(str(error)) from error
    schema = document.get("schema")
    if schema != MODEL_SCHEMA:
        raise OutdatedModelError(
            f"{path}: schema {schema!r} instead of {MODEL_SCHEMA}; export it again with this testbed"
        )
    try:
        card = msgspec.convert(document, ModelCard)
        expected = _card_hash(card)
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: {error}") from error
    if card.hash != expected:
        raise ModelError(f"{path}: its hash does not match its content; it was edited after the export")
    return card


def verify(folder: Path, expected_hash: str | None = None) -> ModelCard:
    """Read `model.yaml` and hash each file that it names.

    Raises:
        ModelError: as `load_card`, or a file is missing or differs, or it is not the expected artefact.
    """
    card = load_card(folder)
    if expected_hash is not None and card.hash != expected_hash:
        raise ModelError(
            f"{folder}: artefact {card.hash[:12]}… instead of {expected_hash[:12]}…; deploy the artefact again"
        )
    for name, expected in card.files.items():
        try:
            found = file_digest(folder / name)
        except FileNotFoundError as error:
            raise ModelError(f"{folder / name}: missing, though {CARD_NAME} names it") from error
        except OSError as error:
            raise ModelError(f"{folder / name}: cannot be read: {error.strerror}") from error
        if found != expected:
            raise ModelError(
                f"{folder / name}: differs from what {CARD_NAME} says "
                f"(sha256 {found[:12]}… instead of {expected[:12]}…); copy or export the artefact again"
            )
    return card


def write_card(folder: Path, card: ModelCard) -> ModelCard:
    """Hash the folder's files into the card and write it as `model.yaml`; returns the card as written.

    Raises:
        ModelError: the folder has no files to describe, or one whose name cannot be recorded.
    """
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name != CARD_NAME and not path.name.startswith(".")
    )
    if not names:
        raise ModelError(f"{folder}: nothing was exported here, so there is nothing to describe")
    document: dict[str, Any] = msgspec.to_builtins(card)
    document["files"] = {name: file_digest(folder / name) for name in names}
    try:
        described = msgspec.convert(document, ModelCard)
    except msgspec.ValidationError as error:
        raise ModelError(f"{folder / CARD_NAME}: cannot be written: {error}") from error
    document["hash"] = _card_hash(described)
    # Sequences on one line, fields in the order of the class.
    text = yamltext.dump(document, flow=None, width=110)
    (folder / CARD_NAME).write_text(text, encoding="utf-8")
    return load_card(folder)


def _card_hash(card: ModelCard) -> str:
    document = msgspec.to_builtins(card)
    del document["hash"]
    return document_digest(document)
