"""What is left of a deadline."""

from __future__ import annotations

import time

from testbed.link.deadline import Deadline


def test_what_remains_shrinks_and_is_never_negative() -> None:
    deadline = Deadline(100_000)
    first = deadline.remaining_ms
    assert 0 < first <= 100_000
    assert not deadline.expired
    time.sleep(0.005)
    assert deadline.remaining_ms < first
    assert deadline.timeout_ms == 100_000
    brief = Deadline(1)
    time.sleep(0.005)
    assert brief.remaining_ms == 0
    assert brief.expired


def test_nothing_remains_only_once_it_has_expired(monkeypatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 7)
    deadline = Deadline(1)
    for now_ns, left_ms in ((7, 1), (1_000_006, 1), (1_000_007, 0), (9_000_000, 0)):
        monkeypatch.setattr(time, "monotonic_ns", lambda now_ns=now_ns: now_ns)
        assert deadline.remaining_ms == left_ms
        assert deadline.expired == (left_ms == 0)
