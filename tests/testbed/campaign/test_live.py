"""A campaign is watched while it is written: its folder grows step by step here, as a run leaves it."""

from __future__ import annotations

import fcntl
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from devices.base.power import PowerRow
from devices.base.rowlog import RowLog
from testbed.campaign.aside import held
from testbed.campaign.live import Seen, Watched
from testbed.campaign.present import Now, Present, is_held, read_now
from testbed.cli.watch import facts, line, watch
from testbed.errors import RecordError
from testbed.record.documents import AttemptRecord
from testbed.record.layout import AttemptFolder, ExperimentFolder
from testbed.record.log import write_json
from testbed.record.noderecord import BoardFacts
from testbed.record.reader import read_document
from testbed.record.schema import EventRow, NetworkRow
from tests.made import cells, records
from tests.testbed.campaign.test_run import Silent

S = 1_000_000_000


@pytest.fixture
def campaign(tmp_path: Path) -> ExperimentFolder:
    """Two cells of two repeats, of which the first has one measured in 8 s."""
    folder = ExperimentFolder(tmp_path / "toy")
    for position, name in enumerate(("first", "second")):
        scenario = records.config().scenario
        config = records.config(position=position, scenario=scenario)
        cells.begun(folder.path / name, cell=name, label=f"cell {name}", config=config)
    cells.measured(folder.cell("first"), 0, seconds=8.0)
    return folder


@pytest.fixture
def running(campaign: ExperimentFolder) -> Iterator[Present]:
    """The process that measures: it holds the folder and says what it does."""
    with held(campaign), Present(Silent(), campaign) as told:
        yield told


def begin(folder: ExperimentFolder, cell: str) -> AttemptFolder:
    attempt = folder.cell(cell).next_attempt(0)
    attempt.rows("board", "requests").parent.mkdir(parents=True)
    return attempt


def append(attempt: AttemptFolder, table: str, *rows: object) -> None:
    with RowLog(attempt.rows("board", table)) as log:
        for row in rows:
            log.append(row)


def said(seen: Seen) -> dict[str, str]:
    return dict(facts(seen))


def test_what_is_measured_and_what_is_left_is_told_from_the_first_repeat_on(campaign, running) -> None:
    seen = Watched(campaign.path).look()
    assert (seen.running, seen.done, seen.of) == (True, 1, 4)
    assert seen.left_s == pytest.approx(24.0)
    assert line(seen).startswith("running, 1 of 4 repeats measured, about 24 s left, until ")


def test_an_attempt_is_followed_row_by_row(campaign, running) -> None:
    watched = Watched(campaign.path)
    running.attempt(1, 3, "cell second (1/2)")
    running.phase("starting workers", 0, 1)
    seen = watched.look()
    assert seen.attempt is None
    assert said(seen) == {"doing": "cell second (1/2): starting workers"}

    attempt = begin(campaign, "second")
    append(attempt, "events", EventRow(node="board", t_ns=0, repeat=0, event="phase", detail={"phase": "measure"}))
    running.phase("measuring", 3, 200)
    first = [records.request(request_id=n, latency_ms=10.0 + n, exit_timestep=2, outcome="ok") for n in range(3)]
    append(attempt, "requests", *first)
    seen = watched.look()
    assert said(seen)["doing"] == "cell second (1/2): measuring 3 of 200"
    assert (seen.attempt.phase, seen.attempt.requests, seen.attempt.failed) == ("measure", 3, 0)
    assert (seen.attempt.p50_ms, seen.attempt.p95_ms, seen.attempt.exits) == (11.0, 12.0, {2: 3})

    more = records.request(request_id=3, latency_ms=99.0, exit_timestep=None, outcome="timeout", prediction=None)
    append(attempt, "requests", more)
    with attempt.rows("board", "requests").open("ab") as log:
        log.write(b'{"request_id":4,"node":"bo')  # a row that is being written
    seen = watched.look()
    assert (seen.attempt.requests, seen.attempt.failed, seen.attempt.p95_ms) == (4, 1, 99.0)
    assert watched.look().attempt == seen.attempt


def test_power_is_the_mean_of_the_last_second_and_says_its_scope(campaign, running) -> None:
    attempt = begin(campaign, "second")
    rows = [
        PowerRow(node="board", source="ina", rail="VDD_IN", scope="module", t_ns=n * S // 2, mw=mw)
        for n, mw in enumerate((9000.0, 9000.0, 4000.0, 5000.0, 6000.0))
    ]
    append(attempt, "power", *rows)
    seen = Watched(campaign.path).look()
    assert seen.attempt.power_mw == {("board", "ina", "VDD_IN", "module"): 5000.0}
    assert said(seen)["power"] == "board VDD_IN 5.00 W (module)"


def test_the_link_is_the_data_paths_and_its_rates_are_of_the_last_seconds(campaign, running) -> None:
    def row(second: int, sent: int, interface: str = "data", rtt_ms: float | None = 4.0) -> NetworkRow:
        return NetworkRow(
            node="board", t_ns=second * S, interface=interface, tx_bytes=sent, rx_bytes=sent // 10, rtt_ms=rtt_ms,
            retransmits=0,
        )  # fmt: skip

    attempt = begin(campaign, "second")
    watched = Watched(campaign.path)
    append(attempt, "network", row(0, 0), row(0, 10**9, "if:eth0", None))
    assert watched.look().attempt.up_mbit_s is None
    append(attempt, "network", *[row(second, 125_000 * max(0, second - 4)) for second in range(1, 11)])
    append(attempt, "network", row(10, 10**10, "if:eth0", None))
    seen = watched.look()
    assert (seen.attempt.rtt_ms, seen.attempt.up_mbit_s, seen.attempt.down_mbit_s) == (4.0, 1.0, 0.1)
    assert said(seen)["link"] == "RTT 4.0 ms, up 1.00, down 0.10 Mbit/s"


def test_a_board_is_as_warm_as_at_the_end_of_its_last_repeat(campaign, running) -> None:
    warm = records.node_repeat(after=BoardFacts(temperature_c={"cpu": 51.0, "gpu": 48.5}))
    record = campaign.cell("first").attempts(0)[0].record
    assert Watched(campaign.path).look().attempt.temperature_c == {}
    write_json(record, replace(read_document(record, AttemptRecord), nodes={"board": warm}))
    assert Watched(campaign.path).look().attempt.temperature_c == {"board": 51.0}


def test_rows_that_stay_on_a_node_until_the_end_are_said_to(campaign, running) -> None:
    running.attempt(1, 3, "cell second (1/2)")
    running.step("board", "sending packages", 0, 10)
    running.phase("measuring", 40, 200)
    shown = said(Watched(campaign.path).look())
    assert shown["doing"] == "cell second (1/2): measuring 40 of 200"
    assert shown["board"] == "board: sending packages"
    assert "over SSH they come when it is over" in shown["rows"]


def test_a_finished_campaign_is_shown_as_it_ended(campaign) -> None:
    write_json(campaign.cell("first").status, records.status(state="complete", valid=False, reasons=["throttled"]))
    seen = Watched(campaign.path).look()
    assert (seen.running, seen.now, seen.left_s) == (False, None, None)
    assert [(cell.label, cell.done, cell.repeats, cell.ended) for cell in seen.cells] == [
        ("cell first", 1, 2, "invalid"),
        ("cell second", 0, 2, ""),
    ]
    assert line(seen).startswith("not running, 1 of 4 repeats measured; cell first (1/2); 3 requests of")


def test_a_finished_campaign_is_one_line_in_a_log(campaign, capsys) -> None:
    watch(campaign.path)
    (said,) = capsys.readouterr().out.splitlines()
    assert said[20:].startswith("not running, 1 of 4 repeats measured; cell first (1/2); 3 requests of")


def test_a_terminal_shows_what_is_still_to_do_where_not_all_cells_fit(campaign, monkeypatch) -> None:
    screen = io.StringIO()
    small = Console(
        file=screen, force_terminal=True, width=80, height=10, color_system=None, _environ={"TERM": "xterm"}
    )
    monkeypatch.setattr("testbed.cli.watch.console", small)
    for number in range(6):
        config = records.config(position=2 + number)
        cell = cells.begun(
            campaign.path / f"more{number}", repeats=1, cell=f"more{number}", label=f"[{number}]", config=config
        )
        if number < 4:
            cells.measured(cell, 0)
    watch(campaign.path)
    shown = screen.getvalue()
    assert "toy: not running, 5 of 10 repeats measured" in shown
    assert re.search(r"cell first +1 of 2", shown)
    assert "[4]" in shown
    assert "[0]" not in shown
    assert "and 5 more" in shown


def test_who_watches_takes_no_lock_and_leaves_nothing(campaign, running) -> None:
    before = sorted(path for path in campaign.path.rglob("*"))
    watched = Watched(campaign.path)
    watched.look()
    assert sorted(path for path in campaign.path.rglob("*")) == before
    with campaign.lock.open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_what_a_campaign_does_is_there_while_it_does_it(campaign) -> None:
    assert not is_held(campaign)
    with held(campaign), Present(Silent(), campaign) as told:
        assert is_held(campaign)
        assert read_now(campaign) is None
        told.attempt(2, 3, "cell second (1/2)")
        assert read_now(campaign) == Now(since_s=told.now.since_s, number=2, of=3, title="cell second (1/2)",
                                         attempt_s=told.now.attempt_s)  # fmt: skip
        assert told.now.attempt_s <= time.time()
        told.phase("idle baseline", True, 1)  # as a repeat says it
        assert (read_now(campaign).phase, read_now(campaign).done) == ("idle baseline", 1)
    assert not is_held(campaign)
    assert not campaign.present.exists()


def test_what_a_killed_campaign_did_is_no_longer_said(campaign) -> None:
    campaign.present.write_text('{"since_s":1,"title":"cell first (1/2)"}')
    assert read_now(campaign) is None


def test_results_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such results; testbed run makes them"):
        Watched(tmp_path / "none")
