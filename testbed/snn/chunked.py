"""An artefact with graphs that take several timesteps at once, made from the one without them when a cell asks for it.

It lies beside the other, in `.chunks/`, with the same files and one more for each graph and size. Only sizes that are
asked for are made, and cells without chunks keep the artefact that they have.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from testbed.data.cache import locked
from testbed.errors import ModelError
from testbed.record.log import make_folder, write_atomically
from testbed.record.mode import Part
from testbed.runtime.artefact import CARD_NAME, STEP_GRAPHS, ModelCard, chunk_file, load_card, write_card

MOST_WORDS = 200
MADE_BY = 1
"""Raised whenever the graphs come out otherwise, so that none of an older testbed is taken."""


def chunked(artefact: Path, parts: Collection[Part], sizes: Collection[int]) -> Path:
    """The artefact with graphs of these parts for these numbers of timesteps, as it is or made now.

    Raises:
        ModelError: a graph cannot be made, or does not give bit for bit what single timesteps give.
        DiskError: there is no place for it.
    """
    card = load_card(artefact)
    name = "-".join((artefact.name, card.hash[:12], *sorted(parts), *(f"x{size}" for size in sorted(sizes))))
    above = make_folder(artefact.parent / ".chunks")
    folder = above / f"{name}-{MADE_BY}"
    with locked(above / ".lock"):
        if not (folder / CARD_NAME).exists():
            _make(artefact, card, folder, parts, sizes)
    return folder


def _make(artefact: Path, card: ModelCard, folder: Path, parts: Collection[Part], sizes: Collection[int]) -> None:
    from testbed.snn.chunks import check, chunk_graph, read_graph
    from testbed.snn.graphwork import graph_works

    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for file in card.files:
        _link(artefact / file, part / file)
    for each in parts:
        step = read_graph(artefact / STEP_GRAPHS[each])
        still = card.static_input and each != "cloud"
        for size in sizes:
            path = part / chunk_file(STEP_GRAPHS[each], size)
            what = str(artefact / STEP_GRAPHS[each])
            try:
                graph = chunk_graph(step, size, still=still)
                check(step, graph, size, still=still, what=what)
            except ModelError:
                raise
            except Exception as error:  # ONNX's and ONNX Runtime's have no base of their own
                why = " ".join(str(error).split())[:MOST_WORDS]
                raise ModelError(f"{what}: it cannot take {size} timesteps in one call: {why}") from error
            write_atomically(path, graph.SerializeToString(deterministic=True))
    write_card(part, replace(card, graphs=graph_works(part), files={}, hash=""))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    _drop_others(artefact.name, card, folder.parent)


def _drop_others(name: str, card: ModelCard, above: Path) -> None:
    """Remove what was made of earlier exports of this variant, which nothing is deployed from any more."""
    made = re.compile(rf"{re.escape(name)}-([0-9a-f]{{12}})-.*")
    for folder in above.iterdir():
        found = made.fullmatch(folder.name)
        if found and found[1] != card.hash[:12]:
            shutil.rmtree(folder)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise ModelError(f"{source}: cannot be copied to {target}: {error.strerror}") from error
