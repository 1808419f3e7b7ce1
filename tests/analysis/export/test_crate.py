from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from rocrate.rocrate import ROCrate

from analysis.export.crate import PROFILE, write_crate
from analysis.export.people import Author, authors, licence
from analysis.publish import publish
from testbed.errors import RecordError
from testbed.record.documents import Invocation
from testbed.record.log import write_json
from testbed.record.reader import read_campaign

ADA = Author("Ada Lovelace", "https://orcid.org/0000-0002-1825-0097")
BY = "https://spdx.org/licenses/CC-BY-4.0"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def toy(make_cell, tmp_path: Path) -> Path:
    """Two cells measured by one command, with an experiment's file, from somebody's home."""
    (tmp_path / "toy.yaml").write_text("name: toy\n# from /home/somebody/experiments\n")
    folder = make_cell("edge only", "edge_only", baseline=True).folder.parent
    make_cell("co-inference", position=1, valid=False, reasons=["throttled in /root/x"])
    for cell in read_campaign(folder, pytest.fail):
        said = ["run", "toy.yaml", "--edge", "/home/somebody/orin.yaml"]
        nodes = {name: _named(node) for name, node in cell.manifest.nodes.items()}
        changed = replace(
            cell.manifest, nodes=nodes, invocation=Invocation(argv=said, file=str(tmp_path / "toy.yaml")), title="What?"
        )
        write_json(cell.folder / "manifest.json", changed)
    (folder / "summary.csv").write_text("cell\n")
    (folder / "report.html").write_text("<pre>{&#34;hostname&#34;: &#34;secret-host&#34;}</pre>")
    (folder / "figures").mkdir()
    (folder / "figures" / "tradeoff.svg").write_text("<svg/>")
    return folder


def _named(node):
    board = replace(
        node.repeats["0"].hello.board, others={"hostname": "secret-host", "serial": "serial-7", "os": "Debian"}
    )
    hello = replace(node.repeats["0"].hello, board=board)
    return replace(node, repeats={number: replace(said, hello=hello) for number, said in node.repeats.items()})


def test_a_crate_read_back_says_the_command_its_instruments_inputs_and_results(toy: Path, tmp_path: Path) -> None:
    out = write_crate(toy, tmp_path / "crate", [ADA], BY)
    crate = ROCrate(out)
    root = crate.root_dataset
    assert (root["conformsTo"].id, root["license"].id, root["author"].id) == (PROFILE, BY, ADA.orcid)
    assert root["name"] == "toy: What?"
    assert root["description"].startswith(
        "Energy, latency, accuracy and traffic of 2 cells, 1 of them valid. Nodes are"
    )
    (action,) = [entity for entity in crate.contextual_entities if entity.type == "CreateAction"]
    assert root["mentions"] == action
    assert action["name"] == "testbed run toy.yaml --edge ~/orin.yaml"
    # The profile's instruments are software: a node is the worker that ran on it.
    assert {one.type for one in action["instrument"]} == {"SoftwareApplication"}
    named = ["NeuCODEX testbed", "testbed worker on board", "testbed worker on server"]
    assert [one["name"] for one in action["instrument"]] == named
    assert action["instrument"][1]["availableOnDevice"] == "emulated in place of Toy"
    assert action["instrument"][0]["softwareVersion"] == "0.1.0+abc123"
    assert [one["name"] for one in action["object"]] == ["toy.yaml", "toy", "digits, 40 held-out samples"]
    assert action["object"][1]["identifier"] == "sha256:0123abcd"
    results = [one.id for one in action["result"]]
    assert results == ["edge-only/", "co-inference/", "summary.csv", "report.html", "figures/tradeoff.svg"]
    for entity in crate.data_entities:
        if entity.type == "File":
            assert entity["sha256"] == hashlib.sha256((out / entity.id).read_bytes()).hexdigest()
            assert entity["description"]


def test_a_crate_names_no_home_and_no_host_and_is_read_as_results(toy: Path, tmp_path: Path) -> None:
    out = write_crate(toy, tmp_path / "crate", [ADA], BY)
    texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    private = (b"somebody", b"secret-host", b"serial-7", b"/root")
    assert not [word for word in private for text in texts if word in text]
    assert json.loads((out / "edge-only" / "manifest.json").read_text())["nodes"]["board"]["profile"]["address"]
    cells = read_campaign(out, pytest.fail)
    assert [len(cell.requests) for cell in cells] == [120, 120]
    assert "throttled in ~/x" in publish(out, cells).summary.read_text()


def test_a_crate_is_not_written_over_anything_nor_of_torn_results(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds something already"):
        write_crate(toy, toy, [ADA], BY)
    (toy / "edge-only" / "power.parquet").unlink()
    with pytest.raises(RecordError, match=r"not exported: .*power\.parquet: missing"):
        write_crate(toy, tmp_path / "crate", [ADA], BY)
    assert not (tmp_path / "crate").exists()


def test_author_and_licence_are_told_or_those_of_the_citation_file(tmp_path: Path) -> None:
    citation = ROOT / "CITATION.cff"
    assert authors(["Ada Lovelace, 0000-0002-1825-0097"], citation) == [ADA]
    assert authors([], citation) == [Author("The NeuCODEX testbed maintainers", organisation=True)]
    assert (licence("CC-BY-4.0", citation), licence(None, citation)) == (BY, "https://spdx.org/licenses/Apache-2.0")
    none = tmp_path / "CITATION.cff"
    with pytest.raises(RecordError, match="whose results are these"):
        authors([], none)
    with pytest.raises(RecordError, match="under which licence"):
        licence(None, none)
    with pytest.raises(RecordError, match="an ORCID"):
        authors(["Ada, 12"], citation)
