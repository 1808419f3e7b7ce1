"""The evaluation bundle: the inputs and labels that are deployed to the edge, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices import yamlfile, yamltext
from devices.base.errors import DeviceError
from testbed.errors import DataError
from testbed.runtime.digest import document_digest, file_digest

BUNDLE_SCHEMA = 1
CARD_NAME = "bundle.yaml"
CARD_BYTES = 1 << 24
INPUTS_NAME = "inputs.npy"
LABELS_NAME = "labels.npy"


class BundleCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle holds. `hash` covers every other field, so both files."""

    schema: int = BUNDLE_SCHEMA
    dataset: str
    variant: str
    split: str
    seed: int
    classes: Annotated[list[str], msgspec.Meta(min_length=2)]
    inputs_sha256: str
    labels_sha256: str
    hash: str = ""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        card: what it holds.
        inputs: uint8 [N, C, H, W] of still images or [N, T, C, H, W] of event frames; mapped, not read.
        labels: int64 [N], indices into `card.classes`.
    """

    card: BundleCard
    inputs: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def write_bundle(
    folder: Path,
    inputs: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    dataset: str,
    variant: str,
    split: str,
    seed: int,
    classes: list[str],
) -> BundleCard:
    """Write a bundle into a folder, made if need be; returns its card.

    Raises:
        DataError: the arrays are not what a bundle holds.
    """
    _check(folder, inputs, labels, classes)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / INPUTS_NAME, np.ascontiguousarray(inputs), allow_pickle=False)
    np.save(folder / LABELS_NAME, np.ascontiguousarray(labels), allow_pickle=False)
    card = BundleCard(
        dataset=dataset,
        variant=variant,
        split=split,
        seed=seed,
        classes=classes,
        inputs_sha256=file_digest(folder / INPUTS_NAME),
        labels_sha256=file_digest(folder / LABELS_NAME),
    )
    card = msgspec.structs.replace(card, hash=_card_hash(card))
    text = yamltext.dump(msgspec.to_builtins(card))
    (folder / CARD_NAME).write_text(text, encoding="utf-8")
    return card


def glance(folder: Path) -> Bundle:
    """Open a bundle as its card describes it, without hashing its files: to see what it is, not to measure with it.

    Raises:
        DataError: it is missing or damaged.
    """
    card = _load_card(folder)
    return Bundle(card, _map(folder / INPUTS_NAME), np.array(_map(folder / LABELS_NAME)))


def load_bundle(folder: Path, expected_hash: str | None = None) -> Bundle:
    """Open a bundle: checks its hashes, its shapes and, if given, that it is the expected one.

    Raises:
        DataError: it is missing, damaged, or another one.
    """
    card = _load_card(folder)
    if expected_hash is not None and card.hash != expected_hash:
        raise DataError(f"{folder}: bundle {card.hash[:12]}… instead of {expected_hash[:12]}…; deploy the bundle again")
    inputs = _open(folder / INPUTS_NAME, card.inputs_sha256)
    labels = _open(folder / LABELS_NAME, card.labels_sha256)
    _check(folder, inputs, labels, card.classes)
    return Bundle(card, inputs, np.array(labels))


def _load_card(folder: Path) -> BundleCard:
    path = folder / CARD_NAME
    try:
        document = yamlfile.load(path, CARD_BYTES).data
    except DeviceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(f"{folder}: no evaluation bundle here ({CARD_NAME} is missing)") from error
        raise DataError(str(error)) from error
    schema = document.get("schema")
    if schema != BUNDLE_SCHEMA:
        raise DataError(
            f"{path}: schema {schema!r} instead of {BUNDLE_SCHEMA}; make the bundle again with this testbed"
        )
    try:
        card = msgspec.convert(document, BundleCard)
    except (msgspec.ValidationError, RecursionError) as error:
        raise DataError(f"{path}: {error}") from error
    if card.hash != _card_hash(card):
        raise DataError(f"{path}: its hash does not match its content; it was edited after it was made")
    return card


def _open(path: Path, expected_sha256: str) -> NDArray[Any]:
    try:
        if file_digest(path) != expected_sha256:
            raise DataError(f"{path}: differs from what {CARD_NAME} says; deploy the bundle again")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return _map(path)


def _map(path: Path) -> NDArray[Any]:
    try:
        # Not np.load, which guesses the format and would take archives and pickles too.
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, SyntaxError, TokenError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _check(folder: Path, inputs: NDArray[Any], labels: NDArray[Any], classes: list[str]) -> None:
    if inputs.dtype != np.uint8 or inputs.ndim not in (4, 5):
        raise DataError(
            f"{folder}: inputs must be uint8 [N, C, H, W] or [N, T, C, H, W], not {inputs.dtype} {list(inputs.shape)}"
        )
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise DataError(f"{folder}: labels must be int64 [N], not {labels.dtype} {list(labels.shape)}")
    if len(inputs) != len(labels) or not len(labels):
        raise DataError(f"{folder}: {len(inputs)} inputs and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"{folder}: labels from {labels.min()} to {labels.max()}, but {len(classes)} classes")


def _card_hash(card: BundleCard) -> str:
    document = msgspec.to_builtins(card)
    del document["hash"]
    return document_digest(document)
