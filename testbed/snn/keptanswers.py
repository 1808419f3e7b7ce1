"""What deployed networks say of samples, computed a piece at a time and kept: what was stopped goes on.

A full-width network takes many minutes for a test set on a CPU. Pieces lie in `results/models/RECIPE/outputs/KEY/`. KEY
is a hash of the weights, of the samples, and of what else decides the answers.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.data.datasets import Samples
from testbed.errors import ModelError
from testbed.link import codec
from testbed.link.codec import CodecBook
from testbed.record.log import make_folder, write_atomically
from testbed.runtime.artefact import MODEL_SCHEMA, ModelCard
from testbed.runtime.digest import document_digest, file_digest
from testbed.snn.trained import tensors_digest

if TYPE_CHECKING:
    from testbed.snn.network import Network

CODECS = ("packed", "auto")

PIECE = 500
"""Samples of a piece: half a minute of a full-width network on two cores."""

LOGITS = "logits"

KEY_DIGITS = 12

Arrays: TypeAlias = dict[str, NDArray[Any]]
Ints: TypeAlias = NDArray[np.int64]

Report: TypeAlias = Callable[[str, int, int], None]
"""Told which network answers, how many samples it has answered, and of how many."""


def unheard(network: str, done: int, total: int) -> None:
    """A report that nobody hears."""


@dataclass(frozen=True)
class KeptAnswers:
    """Keeps what a recipe's networks answer in a folder; `weights` is what its trained weights are known by."""

    folder: Path
    weights: str
    report: Report = unheard

    def of(
        self,
        title: str,
        network: Network,
        samples: Samples,
        timesteps: int,
        card: ModelCard | None = None,
        uncut: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Ints]]:
        """Logits [T, N, K]; with the card of a network that is cut also each codec's payload bytes [T, N].

        `title` tells the network and the form of its weights from the recipe's others, such as `coded.int8`.
        `uncut` are the logits of the uncut network in that form: one that is cut and has its weights answers the same,
        so its edge alone is run.

        Everything is computed on the CPU, where float32 convolutions of spikes are exact
        (docs/decisions/0001-exact-weights.md).

        Raises:
            ModelError: a piece that was kept is damaged.
            DiskError: there is no place for a piece.
        """
        known = None if network.has_own_weights else uncut
        sends: list[Any] | None = None if card is None else [card.code_shape, card.code_rates, _code_digest()]
        if known is not None:
            sends = [network.split, sends]
        told = [MODEL_SCHEMA, self.weights, title, timesteps, PIECE]
        # Its weights too: the grids of an int8 form depend on training samples.
        weights = tensors_digest(network.state_dict())
        key = document_digest([told, weights, samples_digest(samples), sends])
        folder = make_folder(self.folder / key[:KEY_DIGITS])
        book = None if card is None else CodecBook(card.code_shape, card.code_rates)
        pieces: list[Arrays] = []
        for start in range(0, len(samples), PIECE):
            self.report(title, start, len(samples))
            path = folder / f"{start:07d}.npz"
            if not path.exists():
                index = np.arange(start, min(start + PIECE, len(samples)))
                _write(path, computed(network, samples.take(index), timesteps, book, known is None))
            pieces.append(_read(path))
        self.report(title, len(samples), len(samples))
        whole = {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}
        return whole.pop(LOGITS) if known is None else known, whole


def samples_digest(samples: Samples) -> str:
    """SHA-256 of samples, in hex."""
    digest = hashlib.sha256()
    for values in (samples.images, samples.labels):
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _code_digest() -> list[str]:
    """Of the codecs' own code: a changed codec never meets the bytes of an old one."""
    return [file_digest(path) for path in sorted(Path(codec.__file__ or "").parent.glob("*.py"))]


def computed(
    network: Network, samples: Samples, timesteps: int, book: CodecBook | None, answers: bool = True
) -> Arrays:
    """Logits [T, N, K] of a piece (without `answers` none), and with a book the payload bytes [T, N] of each codec."""
    import torch
    from spikingjelly.activation_based import functional

    from testbed.snn.accuracy import BATCH

    encoders = {} if book is None else {name: book.encoder(name) for name in CODECS}
    names = (*((LOGITS,) if answers else ()), *encoders)
    batches: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH):
            images = torch.from_numpy(samples.images[start : start + BATCH])
            if book is None:
                batches[LOGITS].append(network(images, timesteps).numpy())
            else:
                codes = network.edge(network.currents(images, timesteps))
                if answers:
                    batches[LOGITS].append(network.cloud(codes).numpy())
                arrays = codes.to(torch.uint8).numpy()
                for name, encode in encoders.items():
                    sizes = [[len(encode(code, t)[1]) for code in row] for t, row in enumerate(arrays)]
                    batches[name].append(np.array(sizes, dtype=np.int64))
            functional.reset_net(network)
    return {name: np.concatenate(parts, axis=1) for name, parts in batches.items()}


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def _read(path: Path) -> Arrays:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: cannot be read: {reason}; delete {path.parent} to compute it again") from error
