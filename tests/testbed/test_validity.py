"""Each validity gate passes what is sound and names what is not, with its number and limit."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from testbed.record.schema import EventRow
from testbed.validity import reasons

MS = 1_000_000


def cell(*, power=None, outcomes=("ok",) * 100, boots=("a", "a")):
    """A cell of one repeat: 0.5 s idle, 2 s of measuring, 0.5 s idle, sampled at 100 Hz."""
    t_ns = np.arange(0, 3000, 10) * MS
    samples = pd.DataFrame({"node": "board", "source": "emulated", "rail": "VDD", "t_ns": t_ns, "mw": 5000.0})
    measuring = (t_ns >= 500 * MS) & (t_ns < 2500 * MS)
    samples.loc[measuring, "mw"] = 6000.0
    if power is not None:
        samples = power(samples)
    start = 500 * MS + np.arange(len(outcomes)) * 20 * MS
    requests = pd.DataFrame({"repeat": 0, "outcome": outcomes, "t_start_ns": start, "t_end_ns": start + 19 * MS})
    phases = {"idle_before": 0, "measure": 500, "idle_after": 2500, "end": 3000}
    events = [
        EventRow(node="board", t_ns=ms * MS, repeat=0, event="phase", detail={"phase": name})
        for name, ms in phases.items()
    ]
    edge = {
        "name": "board",
        "profile": {"power": [{"source": "emulated", "rate_hz": 100}]},
        "repeats": {str(n): {"hello": {"facts": {"boot_id": boot}}} for n, boot in enumerate(boots)},
    }
    manifest = SimpleNamespace(nodes={"edge": edge})
    return SimpleNamespace(manifest=manifest, requests=requests, power=samples, events=events)


def test_a_sound_cell_has_no_reasons_against_it():
    assert reasons(cell()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": ("ok",) * 98 + ("timeout", "error")}, r"2\.0% of the requests .* \(limit 1%\)"),
        (
            {"power": lambda rows: rows[(rows.t_ns < 1000 * MS) | (rows.t_ns > 1100 * MS)]},
            r"VDD, repeat 0: 1[012]0 ms without a power sample \(limit 50 ms\)",
        ),
        ({"power": lambda rows: rows.iloc[::20]}, r"1\d power samples while measuring \(limit 20\)|\(limit 20\)"),
        (
            {"power": lambda rows: rows.assign(mw=rows.mw + 400 * (rows.t_ns >= 2500 * MS))},
            r"idle baselines 8\.0% apart \(limit 5%\)",
        ),
        ({"boots": ("a", "b")}, "rebooted between repeats"),
    ],
)
def test_an_unsound_cell_is_told_why(change, message):
    found = reasons(cell(**change))
    assert len(found) == 1
    assert re.search(message, found[0])
