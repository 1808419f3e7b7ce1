from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.metrics.registry import measure
from analysis.report import write_report
from analysis.report.page import with_code
from testbed.errors import RecordError
from tests.analysis.report.test_inline import a_drawing

NASTY = "\"'><script>alert(1)</script><img src=http://x.example/y onerror=alert(1)>"


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag) -> None:
        self._inside = ""

    def handle_data(self, data) -> None:
        if self._inside in ("script", "style"):
            self.code += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


@pytest.fixture
def page_of(tmp_path: Path):
    def make(cells, drawings=()) -> tuple[Page, str]:
        html = write_report(tmp_path, measure(cells), drawings).read_text()
        return Page(html), html

    return make


def test_the_report_loads_nothing(campaign, page_of) -> None:
    page, _ = page_of(campaign, [a_drawing()])
    loading = {"img", "link", "iframe", "object", "embed", "audio", "video", "source", "base", "form", "image"}
    assert loading.isdisjoint(tag for tag, _ in page.elements)
    assert page.values("src") == []
    assert all(address.startswith("#") for address in page.values("href"))
    assert not any(word in page.code for word in ("http", "url(", "@import", "fetch", "XMLHttp", "import(", "//cdn"))


def test_every_link_leads_somewhere_and_no_id_is_there_twice(make_cell, page_of) -> None:
    cells = [make_cell("one", repeats=1), make_cell("two", repeats=1, valid=False, reasons=["too warm"])]
    page, _ = page_of(cells, [a_drawing("stages"), a_drawing("power")])
    ids = Counter(page.values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    wanted = {address.removeprefix("#") for address in page.values("href")}
    wanted |= {name for names in page.values("aria-labelledby") for name in names.split()}
    assert wanted <= ids.keys()


def test_what_a_record_says_is_text_and_never_markup(make_cell, page_of) -> None:
    cell = make_cell(NASTY[:8] + NASTY, state="failed", reasons=[NASTY])
    page, html = page_of([cell])
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert "&lt;script&gt;alert(1)" in html


def test_code_in_a_definition_is_set_as_code_and_nothing_else_of_it_is_markup() -> None:
    assert with_code("from `offline` on, a < b") == "from <code>offline</code> on, a &lt; b"
    assert with_code("`<b>`") == "<code>&lt;b&gt;</code>"


def test_each_row_of_cells_has_a_text_for_each_header(make_cell, page_of) -> None:
    page, _ = page_of([make_cell("one", repeats=1), make_cell("failed", state="failed")])
    roles = Counter(page.values("role"))
    assert roles["row"] == 1 + 2
    assert roles["cell"] + roles["rowheader"] == 2 * roles["columnheader"]
    assert len(page.values("data-name")) == roles["cell"]
    assert "accuracy [%]" in page.values("data-name")


def test_the_report_says_what_is_emulated_what_is_not_valid_and_how_sure_it_all_is(campaign, page_of) -> None:
    _, html = page_of(campaign)
    assert "<strong>Emulated.</strong> board:" in html
    assert html.count('<span class="tag warn">emulated</span>') >= len(campaign)
    assert "server: went silent" in html
    assert "6 cells,\n1 not valid" in html
    assert '<th scope="col">± drift</th>' in html
    assert "7,000.000 ± 0.050 ms</td><td>0.00 ± 1.00 ppm</td>" in html


def test_the_headline_says_the_papers_claim_the_number_here_and_its_interval(campaign, page_of) -> None:
    _, html = page_of(campaign)
    assert 'data-name="paper" class="">up to 3</td><td role="cell" data-name="here" class="here">6.' in html
    assert 'class="warn">emulated' in html
    assert "NeuCODEX (arXiv 2509.19156)" in html


def test_a_report_of_a_measured_board_says_nothing_of_emulation(make_cell, page_of) -> None:
    _, html = page_of([make_cell("sensor", emulated=False, repeats=1)])
    assert "Emulated." not in html
    assert '<span class="tag warn">' not in html
    assert "gain ± 0%" in html
    assert "None: no valid co-inference cell" in html


def test_a_report_needs_cells(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no measured cells"):
        write_report(tmp_path, [], [])
