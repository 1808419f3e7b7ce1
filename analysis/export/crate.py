"""An RO-Crate of an experiment's results: a folder that can be archived and cited, and that `testbed show` reads.

It follows Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5, on RO-Crate 1.1). The command is an action. Its
instruments are the testbed with version and commit, and the workers on the nodes. Its objects are the experiment,
models and data, and its results the cells and what was made of them. What the nodes appended (`raw/`) and printed
(`logs/`) stays at home.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.export.cells import whole_cells
from analysis.export.people import Author
from analysis.export.public import TEXTS, public_copy, without_private
from testbed.errors import RecordError
from testbed.record.documents import Manifest
from testbed.record.layout import ExperimentFolder
from testbed.record.noderecord import NodeRecord
from testbed.record.reader import Cell

if TYPE_CHECKING:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
RO_CRATE = "1.1"
"""What the profile is written for."""

_OF_CELL = {
    "manifest.json": "Everything that decided the cell's numbers: configuration, model, data, code, nodes",
    "status.json": "How the cell ended, and whether its numbers are valid",
    "clock.json": "The nodes' clocks against the orchestrator's",
    "events.jsonl": "Phases and incidents",
    "requests.parquet": "A row per request",
    "timesteps.parquet": "A row per timestep of a request",
    "power.parquet": "A row per power sample",
    "network.parquet": "A row per reading of the network's counters",
}
_OF_ALL = {
    "summary.csv": "A row per cell: its factors, its metrics with 95% intervals, its verdict",
    "report.html": "Everything on one page",
}
_FORMATS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".html": "text/html",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
}


def write_crate(folder: Path, out: Path, people: Sequence[Author], licence: str) -> Path:
    """Write an experiment's results as an RO-Crate.

    Args:
        folder: the experiment's results.
        out: the crate, a folder that is not there yet or is empty.
        people: who made the results.
        licence: the address of the licence that they go out under.

    Raises:
        RecordError: `rocrate` is not installed, `out` holds something, or a piece of the results is missing or torn.
    """
    if importlib.util.find_spec("rocrate") is None:
        raise RecordError("RO-Crates need the package rocrate: pip install 'neucodex-testbed[export]'")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecordError(f"{out}: holds something already; name a folder that is not there")
    cells = whole_cells(folder)
    with tempfile.TemporaryDirectory() as name:
        crate = _crate(cells, people, licence)
        results = [*_cells(crate, cells, Path(name)), *_made(crate, folder, Path(name))]
        actions = []
        for number, group in enumerate(_by_command(cells)):
            own = [entity for cell, entity in zip(cells, results, strict=False) if cell in group]
            actions.append(_action(crate, number, group, [*own, *results[len(cells) :]], Path(name)))
        crate.root_dataset["mentions"] = _alone(actions)
        crate.write(out)
    return out


def _crate(cells: Sequence[Cell], people: Sequence[Author], licence: str) -> ROCrate:
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=RO_CRATE)
    manifest = cells[0].manifest
    root = crate.root_dataset
    title = f": {manifest.title}" if manifest.title else ""
    crate.name = f"{manifest.experiment}{title}"
    crate.description = _summary(cells)
    crate.license = _context(crate, licence, "CreativeWork", name=licence.rpartition("/")[2])
    root["author"] = _alone([_person(crate, each) for each in people])
    root["datePublished"] = date.today().isoformat()
    root["conformsTo"] = _context(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    return crate


def _alone(values: list[Any]) -> Any:
    """RO-Crate 1.1 has no lists of one."""
    return values if len(values) > 1 else values[0]


def _summary(cells: Sequence[Cell]) -> str:
    valid = sum(cell.complete and cell.status is not None and cell.status.valid is True for cell in cells)
    emulated = any(node.profile.kind == "emulated" for cell in cells for node in cell.manifest.nodes.values())
    text = f"Energy, latency, accuracy and traffic of {len(cells)} cells, {valid} of them valid."
    return text + (" Nodes are emulated: their times and energies come from models." if emulated else "")


def _context(crate: ROCrate, place: str, kind: str, /, **properties: Any) -> ContextEntity:
    from rocrate.model.contextentity import ContextEntity

    known = crate.dereference(place)
    stated = {name: value for name, value in properties.items() if value is not None}
    return known or crate.add(ContextEntity(crate, place, properties={"@type": kind, **stated}))


def _person(crate: ROCrate, one: Author) -> ContextEntity:
    identifier = one.orcid or "#" + "-".join(one.name.split())
    return _context(crate, identifier, "Organization" if one.organisation else "Person", name=one.name)


def _file(crate: ROCrate, source: Path, place: str, what: str, made: Path) -> Any:
    """A file of the crate; of a text, a copy without what is private."""
    copied = public_copy(source, made / place) if source.suffix in TEXTS else source
    properties = {
        "name": Path(place).name,
        "description": what,
        "encodingFormat": _FORMATS.get(source.suffix, "application/octet-stream"),
        "contentSize": str(copied.stat().st_size),
        "sha256": _sha256(copied),
    }
    return crate.add_file(copied, dest_path=place, properties=properties)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cells(crate: ROCrate, cells: Sequence[Cell], made: Path) -> Iterator[Any]:
    for cell in cells:
        name = cell.folder.name
        verdict = "valid" if cell.status is not None and cell.status.valid else "not valid"
        about = {"name": cell.manifest.label, "description": f"A cell, {verdict}: {cell.manifest.label}"}
        entity = crate.add_dataset(dest_path=name, properties=about)
        there = [cell.folder / file for file in _OF_CELL if (cell.folder / file).exists()]
        entity["hasPart"] = [_file(crate, path, f"{name}/{path.name}", _OF_CELL[path.name], made) for path in there]
        yield entity


def _made(crate: ROCrate, folder: Path, made: Path) -> Iterator[Any]:
    """What was made of all cells."""
    place = ExperimentFolder(folder)
    for path in (place.summary, place.report):
        if path.exists():
            yield _file(crate, path, path.name, _OF_ALL[path.name], made)
    for each, what in ((place.tables, "A table"), (place.figures, "A figure")):
        for path in sorted(each.glob("[!.]*.*")):
            about = f"What the figure {path.stem} follows from" if path.suffix == ".json" else f"{what}: {path.stem}"
            yield _file(crate, path, f"{each.name}/{path.name}", about, made)


def _by_command(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells that one command measured with one code."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        command = cell.manifest.invocation
        key = (None if command is None else tuple(command.argv), cell.manifest.code.sha256)
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def _action(crate: ROCrate, number: int, cells: Sequence[Cell], results: Sequence[Any], made: Path) -> Any:
    manifest, command = cells[0].manifest, cells[0].manifest.invocation
    said = "testbed run" if command is None else without_private(" ".join(["testbed", *command.argv]))
    failed = [cell.manifest.label for cell in cells if not cell.complete]
    properties = {
        "name": said,
        "description": f"Measured {len(cells)} cells of {manifest.experiment}, {manifest.repeats} repeats each",
        "startTime": min(cell.manifest.created for cell in cells),
        "actionStatus": f"http://schema.org/{'Failed' if failed else 'Completed'}ActionStatus",
    }
    if failed:
        properties["error"] = "not complete: " + ", ".join(failed)
    nodes = {node.id: node for cell in cells for node in cell.manifest.nodes.values()}
    instruments = [_software(crate, manifest), *(_node(crate, node) for node in nodes.values())]
    inputs = [*_experiment(crate, manifest, made), *_models_and_data(crate, cells)]
    action = crate.add_action(
        instrument=instruments, identifier=f"#run-{number}", object=inputs, result=list(results), properties=properties
    )
    action["agent"] = crate.root_dataset["author"]
    return action


def _software(crate: ROCrate, manifest: Manifest) -> ContextEntity:
    code = manifest.code
    about = f"testbed {code.version}" + (f", commit {code.commit}" if code.commit else "")
    return _context(
        crate,
        f"#testbed-{code.sha256[:16]}",
        "SoftwareApplication",
        name="NeuCODEX testbed",
        description=f"{about}, on Python {code.python}; SHA-256 of the sources that measure: {code.sha256}",
        softwareVersion=code.version if code.commit is None else f"{code.version}+{code.commit}",
    )


def _node(crate: ROCrate, node: NodeRecord) -> ContextEntity:
    """A node, as the worker that ran on it: the profile's instruments are software, and a board is where it ran."""
    emulates = node.profile.emulates
    said = next((repeat.hello for repeat in node.repeats.values()), None)
    facts = {} if said is None else said.board.others
    device = facts.get("board_model") or facts.get("cpu_model")
    if emulates is not None:
        device = f"emulated in place of {emulates.board}" + (f", on {device}" if device else "")
    versions = {} if said is None else said.versions
    return _context(
        crate,
        f"#node-{node.id}",
        "SoftwareApplication",
        name=f"testbed worker on {node.id}",
        description=f"Played the {node.role} on {node.id}, of kind {node.profile.kind}"
        + "".join(f", {name} {version}" for name, version in sorted(versions.items())),
        availableOnDevice=device,
        operatingSystem=facts.get("os"),
        softwareVersion=versions.get("testbed"),
    )


def _experiment(crate: ROCrate, manifest: Manifest, made: Path) -> Iterator[Any]:
    """The experiment's file, where it still lies where it was; each manifest has what it said."""
    command = manifest.invocation
    path = None if command is None else Path(command.file)
    if path is not None and path.is_file():
        place = f"experiment/{path.name}"
        known = crate.dereference(place)
        yield known or _file(crate, path, place, "The experiment's file as it is now; manifests say what it was", made)


def _models_and_data(crate: ROCrate, cells: Sequence[Cell]) -> Iterator[ContextEntity]:
    for model in {cell.manifest.model.hash: cell.manifest.model for cell in cells}.values():
        yield _context(
            crate,
            f"#model-{model.hash[:16]}",
            "CreativeWork",
            name=model.name,
            description=f"Model {model.name}: {model.network}, T={model.timesteps}",
            identifier=f"sha256:{model.hash}",
        )
    for data in {cell.manifest.dataset.hash: cell.manifest.dataset for cell in cells}.values():
        yield _context(
            crate,
            f"#data-{data.hash[:16]}",
            "CreativeWork",
            name=f"{data.name}, {data.samples} held-out samples",
            description=f"{data.name}: {data.variant}",
            identifier=f"sha256:{data.hash}",
        )
