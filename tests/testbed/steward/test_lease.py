"""A node has one holder at a time, whoever asks, and never for longer than the lease lasts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.steward.lease import Lease, LeaseHeld


def lease(path: Path, campaign: str, ttl_s: float = 60) -> Lease:
    return Lease(path / "lease", f"{campaign}@workstation", f"table-{campaign}", campaign, ttl_s)


def test_second_campaign_is_told_whose_the_node_is_and_until_when(tmp_path) -> None:
    lease(tmp_path, "a").take()

    with pytest.raises(LeaseHeld, match=r"in use by a@workstation \(experiment table-a, since \d{4}-.*\); .* ends at"):
        lease(tmp_path, "b").take()


def test_lease_that_was_given_back_is_free(tmp_path) -> None:
    first = lease(tmp_path, "a")
    first.take()
    first.release()

    assert lease(tmp_path, "b").take() is None


def test_expired_lease_is_taken_over_and_its_holder_finds_out(tmp_path) -> None:
    first, second = lease(tmp_path, "a", ttl_s=0.05), lease(tmp_path, "b")
    first.take()
    time.sleep(0.1)

    assert second.take()["campaign"] == "a"

    with pytest.raises(LeaseHeld, match="in use by b@"):
        first.take()
    first.release()  # which must not free what is another's by now
    with pytest.raises(LeaseHeld):
        lease(tmp_path, "c").take()


def test_lease_of_before_a_reboot_is_over(tmp_path) -> None:
    lease(tmp_path, "a").take()
    path = tmp_path / "lease"
    claim = json.loads(path.read_text())
    path.write_text(json.dumps(claim | {"boot": "another"}))

    assert lease(tmp_path, "b").take()["campaign"] == "a"


def test_new_connection_of_the_same_campaign_keeps_the_lease_when_the_lost_one_gives_it_back(tmp_path) -> None:
    lost, new = lease(tmp_path, "a"), lease(tmp_path, "a")
    lost.take()
    new.take()

    lost.release()

    with pytest.raises(LeaseHeld):
        lease(tmp_path, "b").take()


def test_lease_file_that_is_damaged_holds_nobody(tmp_path) -> None:
    (tmp_path / "lease").write_text('{"owner": "a@work')

    assert lease(tmp_path, "b").take() is None


def test_of_many_that_ask_at_once_one_gets_it(tmp_path) -> None:
    script = (
        "import sys; from testbed.steward.lease import *\n"
        "sys.stdin.read()\n"
        "try: Lease(Path(sys.argv[1]), 'o', 'e', sys.argv[2]).take()\n"
        "except LeaseHeld: sys.exit(3)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lease")]
    asking = [subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE) for number in range(8)]
    for process in asking:
        process.stdin.close()

    assert sorted(process.wait() for process in asking) == [0] + 7 * [3]
