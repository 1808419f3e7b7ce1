"""What is kept goes by itself once nothing has used it for long, and not before."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from testbed.steward import kept
from testbed.steward.kept import CODES, UNUSED_DAYS, Gone, Kept, left_changed
from testbed.steward.store import Store

NOW_S = 2_000_000_000.0
DAY_S = 86400.0


class Calendar:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s

    def pass_days(self, days: float) -> None:
        self.now_s += days * DAY_S


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def store(tmp_path: Path, calendar: Calendar) -> Store:
    return Store(tmp_path / "node", now=calendar)


def put(store: Store, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    store.put(sha256, len(data), io.BytesIO(data).read)
    return sha256


def thing(store: Store, kind: str, name: str, size: int = 10) -> Path:
    folder = store.root / kind / name
    folder.mkdir(parents=True)
    (folder / "content").write_bytes(bytes(size))
    store.kept.used(folder)
    return folder


def test_a_folder_that_a_campaign_asks_for_stays_and_the_one_beside_it_goes(store: Store, calendar: Calendar) -> None:
    wanted, forgotten = (store.assemble(name, {"model": put(store, name.encode())}) for name in ("wanted", "forgotten"))
    calendar.pass_days(UNUSED_DAYS - 1)
    assert store.folder("wanted") == wanted
    calendar.pass_days(2)
    assert store.drop_unused() == {"folders": Gone(1, 0), "files": Gone(1, len("forgotten"))}
    assert (wanted / "model").read_text() == "wanted"
    assert not forgotten.exists()


def test_an_environment_and_code_in_use_stay(store: Store, calendar: Calendar) -> None:
    store.environment("key", {}, lambda part: None)
    thing(store, "code", "current")
    calendar.pass_days(UNUSED_DAYS + 1)
    assert store.interpreter("key") is not None
    assert store.unpack("current").is_dir()
    assert store.drop_unused() == {}
    calendar.pass_days(UNUSED_DAYS + 1)
    assert store.drop_unused().keys() == {"environments", "code"}
    assert store.interpreter("key") is None


def test_of_the_code_only_the_versions_used_last_stay(store: Store, calendar: Calendar) -> None:
    for number in range(CODES + 2):
        thing(store, "code", str(number), 100)
        calendar.pass_days(0.1)
    store.unpack("0")
    assert store.drop_unused() == {"code": Gone(2, 200)}
    assert {path.name for path in (store.root / "code").iterdir()} == {"0", "3", "4"}


def test_what_was_left_half_made_goes_at_once(store: Store) -> None:
    thing(store, "environments", "key.17.part")
    (store.root / "files" / "abc.17.part").write_bytes(bytes(5))
    assert store.drop_unused() == {"environments": Gone(1, 10), "files": Gone(1, 5)}


def test_a_lost_run_stays_as_long_as_everything_else(store: Store, calendar: Calendar) -> None:
    record = thing(store, "runs", "run/board")
    store.kept.used(record.parent)
    calendar.pass_days(UNUSED_DAYS - 1)
    assert store.drop_unused() == {}
    calendar.pass_days(2)
    assert store.drop_unused() == {"runs": Gone(1, 10)}


def test_a_board_whose_clock_started_in_1970_loses_nothing_when_it_is_set(store: Store, calendar: Calendar) -> None:
    record = thing(store, "runs", "run/board")
    os.utime(record.parent, (1000, 1000))
    assert store.drop_unused() == {}
    calendar.pass_days(UNUSED_DAYS - 1)
    assert store.drop_unused() == {}
    calendar.pass_days(2)
    assert store.drop_unused().keys() == {"runs"}


def test_another_campaigns_folder_is_not_looked_into(tmp_path: Path, store: Store, calendar: Calendar) -> None:
    other = Store(tmp_path / "other", now=calendar)
    theirs = thing(other, "environments", "key")
    calendar.pass_days(UNUSED_DAYS + 1)
    store.drop_unused()
    assert theirs.is_dir()


def test_clean_removes_all_but_what_lost_runs_recorded_and_says_the_bytes_of_each_kind(store: Store) -> None:
    sha256 = put(store, bytes(1000))
    store.assemble("digest", {"model": sha256})
    thing(store, "environments", "key", 300)
    (store.root / "outputs" / "graph-content").write_bytes(bytes(20))
    record = thing(store, "runs", "run/board", 7)
    (store.root / "runs" / "nothing" / "board").mkdir(parents=True)
    removed, lost = store.clear(runs=False)
    assert removed == {
        "files": Gone(1, 0),
        "folders": Gone(1, 1000),
        "environments": Gone(1, 300),
        "outputs": Gone(1, 20),
    }
    assert lost == {record: 7}
    assert [path.name for path in store.root.rglob("*")] == ["runs", "run", "board", "content"]
    assert store.clear(runs=True) == ({"runs": Gone(1, 7)}, {})
    assert not store.root.exists()


def test_clean_leaves_what_is_not_the_testbeds(store: Store) -> None:
    (store.root / "neucodex.lease").touch()
    store.clear(runs=True)
    assert [path.name for path in store.root.iterdir()] == ["neucodex.lease"]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    inside = tmp_path / "root" / "environments" / "key"
    inside.mkdir(parents=True)
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "file")
    Kept(tmp_path / "root").clear(["environments"])
    assert not inside.exists()
    assert (outside / "file").read_text() == "kept"


def test_an_environment_that_is_half_removed_no_longer_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = store.environment("key", {}, lambda part: None)
    begun: list[Path] = []

    def power_cut(path: Path) -> int:
        begun.append(path)
        raise OSError

    monkeypatch.setattr(kept, "_unlink", power_cut)
    with pytest.raises(OSError):  # noqa: PT011  (what it says does not matter)
        store.kept.remove(environment.parents[1])
    assert begun
    assert store.interpreter("key") is None
    monkeypatch.undo()
    assert store.drop_unused().keys() == {"environments"}
    assert not list((store.root / "environments").iterdir())


def test_settings_that_are_left_changed_are_named_with_whose_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/neucodex-testbed"
    folder.mkdir(parents=True)
    (folder / "1-2.journal").write_text('{"type":"journal","owner":"run 7, repeat 2","boot_id":null,"t_unix":0}\n')
    (folder / "1-3.journal").write_text("")
    assert left_changed(tmp_path) == [
        f"{folder}/1-2.journal (run 7, repeat 2)",
        f"{folder}/1-3.journal (whose it is cannot be read)",
    ]
