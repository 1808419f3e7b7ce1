"""Logits of a variant's networks on the validation samples, computed once and kept.

They lie in `results/models/RECIPE/VARIANT.calibration/KEY/`, KEY being a hash of the artefact and of where the data
come from: `labels.npy`, `split.npy`, `full.npy`, and `validation.json`, written last, that says what they are.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.data.datasets import DatasetSpec, Samples
from testbed.errors import ModelError
from testbed.record.log import make_folder, write_atomically, write_json
from testbed.runtime.artefact import ModelCard
from testbed.runtime.digest import document_digest, file_digest
from testbed.snn import artefact
from testbed.snn.architecture import FULL, in_form
from testbed.snn.keptanswers import KEY_DIGITS, KeptAnswers, Report, samples_digest, unheard
from testbed.snn.recipe import load_recipe

if TYPE_CHECKING:
    from testbed.snn.network import Network
    from testbed.snn.pair import Graphs

ValueT = TypeVar("ValueT")
StructT = TypeVar("StructT", bound=msgspec.Struct)

DOCUMENT = "validation.json"


class Validation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the logits were computed from: the samples (and a hash of them) and the artefact's hash."""

    dataset: str
    samples: int
    sha256: str
    artefact: str


def folder_of(recipe_path: Path, variant: str, models: Path, data: Path | None, card: ModelCard) -> Path:
    """Where the logits of this artefact on these validation samples are kept."""
    recipe = load_recipe(recipe_path)
    source = _source(recipe.dataset, data or recipe.dataset.path)
    folder = artefact.artefact_folder(models, recipe, f"{variant}.calibration")
    return folder / document_digest([card.hash, source])[:KEY_DIGITS]


def ensure(
    folder: Path,
    recipe_path: Path,
    variant: str,
    models: Path,
    data: Path | None,
    card: ModelCard,
    report: Report = unheard,
) -> None:
    """Compute what the folder keeps, if it is not there.

    Raises:
        TestbedError: the weights or the data are missing.
    """
    if (folder / DOCUMENT).exists():
        return
    networks, samples, dataset = artefact.to_validate(recipe_path, variant, models, data, card.weights)
    make_folder(folder)
    _write(folder / "labels.npy", samples.labels)
    answers = artefact.kept_answers(recipe_path, models, report)
    for name, network in networks.items():
        _write(folder / f"{name}.npy", _logits(answers, variant, network, samples, card))
    document = Validation(dataset=dataset, samples=len(samples), sha256=samples_digest(samples), artefact=card.hash)
    write_json(folder / DOCUMENT, document)


def _logits(
    answers: KeptAnswers, variant: str, network: Network | Graphs, samples: Samples, card: ModelCard
) -> NDArray[np.float32]:
    """Logits [T, N, K] of a deployable network: those that its step graphs give.

    A cut that was not trained has the weights of the uncut network, and its answers.
    """
    from testbed.snn.pair import Graphs

    if isinstance(network, Graphs):
        return network.logits(samples)
    title = variant if network.split is not None and network.has_own_weights else FULL
    return answers.of(in_form(title, card.weights), network, samples, card.timesteps)[0]


def array(path: Path) -> NDArray[Any]:
    """A kept array.

    Raises:
        ModelError: it is missing or damaged.
    """
    return _kept(path, lambda: np.load(path, allow_pickle=False))


def document(path: Path, kind: type[StructT]) -> StructT:
    """A kept document.

    Raises:
        ModelError: it is missing or damaged.
    """
    return _kept(path, lambda: msgspec.json.decode(path.read_bytes(), type=kind))


def _kept(path: Path, read: Callable[[], ValueT]) -> ValueT:
    try:
        return read()
    except (OSError, ValueError, EOFError, msgspec.MsgspecError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: cannot be read: {reason}; delete {path.parent} to compute it again") from error


def _write(path: Path, values: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def _source(spec: DatasetSpec, path: Path | None) -> str:
    """Hash of what decides the samples, without decoding any: the spec, and the file or the folder's listing."""
    content: Any = None
    if path is not None and path.is_file():
        content = file_digest(path)
    elif path is not None:
        files = [file for file in path.rglob("*") if file.is_file()]
        content = sorted((file.relative_to(path).as_posix(), file.stat().st_size) for file in files)
    return document_digest([spec.model_dump(mode="json", exclude={"path"}), content])
