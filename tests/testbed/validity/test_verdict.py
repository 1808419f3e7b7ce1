"""Each validity gate passes what is just sound and names what is just not, with its number and limit."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from devices.base.power import Rail
from devices.power.lateness import Lateness
from devices.power.sampled import SourceReport
from devices.power.sampler import SamplerReport
from devices.power.source import SelfCheck
from devices.schedule import Timekeeping
from testbed.record.faults import FaultRecord
from testbed.record.noderecord import BoardFacts, Cooling, NodeRecord
from testbed.record.schema import ClockEstimate, ClockLine, EventRow
from testbed.validity import reasons
from tests.made import records

MS = 1_000_000
REPEATS = 2
T_MS = np.arange(0, 3000, 10)
MEASURING = (T_MS >= 500) & (T_MS < 2500)


def samples(node="board", source="ina", rail="VDD_IN", scope="module", busy_mw=6000.0):
    """100 Hz over each repeat: 0.5 s of idle, 2 s of measuring, 0.5 s of idle; noisy as a sensor is."""
    rng = np.random.default_rng(4)
    mw = np.where(MEASURING, busy_mw, busy_mw - 1000) + rng.choice([-41.0, 0.0, 41.0], len(T_MS))
    rows = {"node": node, "source": source, "rail": rail, "scope": scope, "mw": mw}
    return pd.concat([pd.DataFrame(rows | {"t_ns": (repeat * 10_000 + T_MS) * MS}) for repeat in range(REPEATS)])


def readings(node="board", interface="if:eth0"):
    """20 Hz over each repeat, of an interface."""
    t_ms = np.concatenate([repeat * 10_000 + np.arange(0, 3000, 50) for repeat in range(REPEATS)])
    return pd.DataFrame({"node": node, "interface": interface, "t_ns": t_ms * MS})


def silent(first_ms, last_ms):
    """No reading of the edge's interface from one time to the other; the others' go on."""

    def change(rows):
        kept = rows[(rows.t_ns < first_ms * MS) | (rows.t_ns > last_ms * MS)]
        return pd.concat([kept, readings(interface="data"), readings(node="server")])

    return {"network": change}


def cell(**changes):
    """A sound cell of two repeats whose edge a sensor meters. A change is a function of what it changes."""
    marks = {"idle_before": 0, "measure": 500, "idle_after": 2500, "end": 3000}
    events = [
        EventRow(node=node, t_ns=(repeat * 10_000 + ms) * MS, repeat=repeat, event="phase", detail={"phase": name})
        for name, ms in marks.items()
        for node in ("board", "server")
        for repeat in range(REPEATS)
    ]
    starts_ms = np.concatenate([repeat * 10_000 + 500 + 20 * np.arange(100) for repeat in range(REPEATS)])
    requests = pd.DataFrame(
        {
            "repeat": np.repeat(np.arange(REPEATS), 100),
            "node": "board",
            "outcome": "ok",
            "t_start_ns": starts_ms * MS,
            "t_end_ns": (starts_ms + 19) * MS,
        }
    )
    rail = Rail(name="VDD_IN", scope="module", gain=0.01, offset_mw=50.0, lsb_mw=41.0)
    said = records.node_repeat(
        [records.capability("ina", rail, averaging_ms=6.6)],
        before=BoardFacts(boot_id="a", throttle={"oc1": 3}, temperature_c={"tj": 40.0}),
        after=BoardFacts(throttle={"oc1": 3}, temperature_c={"tj": 45.0}),
    )
    board = records.profile("board", "jetson", [records.INA_POWER])
    edge = NodeRecord(id="board", role="edge", profile=board, repeats={str(n): said for n in range(REPEATS)})
    cloud = NodeRecord(id="server", role="cloud", profile=records.profile("server", "host"))
    parts = {
        "requests": requests,
        "power": samples(),
        "network": readings(),
        "events": events,
        "clock": [estimate("before", 0), estimate("after", 900_000)],
        "clock_lines": [clock_line(100.0), *steady_lines()],
        "nodes": {"board": edge, "server": cloud},
        "mode": "co_inference",
    }
    for name, change in changes.items():
        changed = change(parts[name])
        parts[name] = parts[name] if changed is None else changed
    manifest = records.manifest(parts.pop("nodes").values(), repeats=REPEATS, mode=parts.pop("mode"))
    return SimpleNamespace(manifest=manifest, **parts)


def estimate(when, wall_offset_ns):
    return ClockEstimate(
        node="board", repeat=0, when=when, t_ns=0, offset_ns=0, bound_ns=1, rtt_ns=2, exchanges=1,
        wall_offset_ns=wall_offset_ns,
    )  # fmt: skip


def clock_line(skew_ppm):
    return ClockLine(
        node="board", repeat=0, t_ns=0, offset_ns=0, bound_ns=1, skew_ppm=skew_ppm, skew_bound_ppm=5.0, straight=True
    )


def steady_lines():
    """The clocks that no test of clocks is about."""
    return [
        replace(clock_line(0.0), node=node, repeat=repeat)
        for node, repeat in (("board", 1), ("server", 0), ("server", 1))
    ]


def failing(count):
    def change(rows):
        rows.loc[rows.index[:count], "outcome"] = "timeout"

    return {"requests": change}


def without(first_ms, last_ms):
    """No sample from one time to the other."""
    return {"power": lambda rows: rows[(rows.t_ns < first_ms * MS) | (rows.t_ns > last_ms * MS)]}


def stalled(first_ms, last_ms, mw=6017.0):
    def change(rows):
        rows.loc[(rows.t_ns >= first_ms * MS) & (rows.t_ns <= last_ms * MS), "mw"] = mw
        return rows

    return {"power": change}


def repeats(change, *numbers, node="board"):
    """Nodes of which one said something else in these repeats, or in all of them."""

    def changed(nodes):
        told = nodes[node]
        said = {n: change(each) if n in numbers or not numbers else each for n, each in told.repeats.items()}
        nodes[node] = replace(told, repeats=said)

    return changed


def slower(milliseconds):
    """A sensor that averages so long, at rest as long as it needs."""

    def change(said):
        power = [replace(said.loaded.power[0], averaging_ms=milliseconds)]
        return replace(said, loaded=replace(said.loaded, power=power))

    return {"nodes": repeats(change)}


def warmer_baseline(milliwatts):
    def change(rows):
        rows["mw"] = np.where(rows.t_ns % (10_000 * MS) < 500 * MS, 5000.0, rows.mw)
        after = (rows.t_ns >= 2500 * MS) & (rows.t_ns < 5000 * MS)
        rows["mw"] = np.where(after, 5000.0 + milliwatts, rows.mw)
        rows["mw"] = np.where(rows.t_ns >= 12_500 * MS, 5000.0, rows.mw)
        return rows

    return {"power": change}


def resting_from(milliseconds):
    def change(events):
        late = [replace(event, t_ns=event.t_ns + milliseconds * MS) for event in events if event.t_ns == 0]
        return [*late, *(event for event in events if event.t_ns > 0)]

    return {"events": change}


def second_source(milliwatts, scope="module", source="scpi"):
    spec = records.NVML_POWER if source == "nvml" else records.METER_POWER
    more = records.capability(source, Rail(name="INPUT", scope=scope))

    def nodes(nodes):
        edge = nodes["board"]
        nodes["board"] = replace(edge, profile=replace(edge.profile, power=[*edge.profile.power, spec]))
        repeats(lambda said: replace(said, loaded=replace(said.loaded, power=[*said.loaded.power, more])))(nodes)

    rows = samples(source=source, rail="INPUT", scope=scope, busy_mw=milliwatts)
    return {"nodes": nodes, "power": lambda power: pd.concat([power, rows])}


def with_facts(said, when, **facts):
    """What a node said, with other facts of its board at the start (`hello`) or at the end (`finished`)."""
    field = {"hello": "board", "finished": "facts"}[when]
    document = getattr(said, when)
    return replace(said, **{when: replace(document, **{field: replace(getattr(document, field), **facts)})})


def said(when, **facts):
    return {"nodes": repeats(lambda told: with_facts(told, when, **facts), "1")}


def cooled_down(gave_up):
    cooling = Cooling(waited_s=300.2, temperature_c={"tj": 52.0, "cpu": 47.0}, as_warm_as={"tj": 45.0, "cpu": 47.0},
                      gave_up=gave_up)  # fmt: skip
    return {"nodes": repeats(lambda told: replace(told, cooling=cooling), "1")}


def left_out(readings, rail="VDD_IN"):
    """A source whose sampler did not believe so many readings of a rail, beside 990 that it did."""
    late = Lateness(p50=0, p99=0, max=0)
    source = SourceReport(
        source="ina", rails=["VDD_IN"], samples=990, implausible={rail: readings}, missed=0, lateness_us=late,
        check=SelfCheck(),
    )  # fmt: skip
    report = SamplerReport(samples=990, missed=0, lateness_us=late, histogram={}, sources=[source])
    limits = Rail(name="VDD_IN", scope="module", gain=0.01, offset_mw=50.0, lsb_mw=41.0, max_mw=120_000.0)
    part = Rail(name="VDD_SOC", scope="rail")

    def change(told):
        power = [replace(told.loaded.power[0], rails=[limits, part])]
        return replace(told, loaded=replace(told.loaded, power=power), finished=replace(told.finished, sampler=report))

    return {"nodes": repeats(change, "1")}


def overran(stages, overruns):
    """A host that kept so badly to the time of the board that it emulates, in each repeat."""
    kept = Timekeeping(
        stages=stages,
        overruns=overruns,
        worst_overrun_ms=2.5,
        modelled_ms=1000.0,
        woken_late_ms=9.0,
        worst_woken_late_ms=90.0,
    )
    late = repeats(lambda said: replace(said, finished=replace(said.finished, timekeeping=kept)))
    return {"nodes": late}


def braked_throughout(state):
    """A brake that is on from the beginning to the end, which no difference shows."""
    throttle = {"cpufreq cur_state": state}

    def change(told):
        return with_facts(with_facts(told, "hello", throttle=throttle), "finished", throttle=throttle)

    return {"nodes": repeats(change, "1")}


def emulated(nodes):
    played = records.profile("board", "emulated", [records.EMULATED_POWER])
    nodes["board"] = replace(nodes["board"], profile=played)
    repeats(lambda told: with_facts(told, "finished", temperature_c={"tj": 90.0}), "1")(nodes)


def modelled(_):
    return samples(source="emulated", scope="emulated")


def metered_cloud(nodes):
    power = [records.capability("nvml", Rail(name="GPU", scope="board"), averaging_ms=25.0)]
    server = records.profile("server", "host", [records.NVML_POWER])
    nodes["server"] = records.node(server, "cloud", repeats=REPEATS, power=power)


def cloud_samples(first_ms, last_ms):
    more = without(first_ms, last_ms)["power"](samples(node="server", source="nvml", rail="GPU", scope="board"))
    return {"nodes": metered_cloud, "power": lambda rows: pd.concat([rows, more])}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="nothing"),
        pytest.param(cooled_down(gave_up=False), id="as warm as at the first repeat"),
        pytest.param(failing(2), id="1% of the requests failed"),
        pytest.param(overran(200, 2), id="1% of the stages took longer than modelled"),
        pytest.param(overran(0, 0), id="an emulated node that computes nothing"),
        pytest.param(without(1001, 1049), id="50 ms without a sample"),
        pytest.param(stalled(1000, 1490), id="the same reading for half a second"),
        pytest.param(stalled(0, 2990, mw=0.0), id="a rail that is off"),
        pytest.param(slower(100.0), id="20 averaging times fit into the window"),
        pytest.param(warmer_baseline(249), id="baselines 5% apart"),
        pytest.param(second_source(6310), id="a second source 5% off"),
        pytest.param(second_source(9000, "wall"), id="a second source that measures something else"),
        pytest.param(second_source(9000, source="nvml"), id="a card beside what it is not a part of"),
        pytest.param(braked_throughout(0), id="a brake that is off"),
        pytest.param(said("hello", throttle={}), id="throttle counters not known"),
        pytest.param(said("hello", temperature_c={}), id="temperatures not known"),
        pytest.param({"nodes": emulated, "power": modelled}, id="the host of an emulated board got hot"),
        pytest.param({"clock": lambda found: [estimate("before", None), *found]}, id="wall clock not recorded"),
        pytest.param({"clock_lines": lambda _: [clock_line(-1004.0)]}, id="1000 ppm of skew within its bound"),
        pytest.param(cloud_samples(1001, 1049), id="a metered cloud"),
        pytest.param(left_out(10), id="1% of the readings were not believed"),
        pytest.param(left_out(500, "VDD_SOC"), id="readings of a part were not believed"),
        pytest.param(silent(701, 1699), id="1 s without a reading of the network"),
        pytest.param({"network": lambda _: readings(interface="if:wlan0")}, id="no data connection, as in an outage"),
    ],
)
def test_a_cell_that_just_passes_has_no_reasons_against_it(change):
    assert reasons(cell(**change)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (failing(3), r"1\.5% of the requests were not answered \(limit 1%\)"),
        (
            overran(200, 3),
            r"board: host too slow for this board: 1\.5% of the edge's stages took longer than modelled, the worst by "
            r"2\.5 ms \(limit 1%\)",
        ),
        (without(1001, 1059), r"board: ina, repeat 0, VDD_IN: 60 ms without a power sample \(limit 50 ms\)"),
        (stalled(1000, 1510), r"board: ina, repeat 0, VDD_IN: the same reading for 510 ms \(limit 500 ms\)"),
        (slower(106.0), r"19\.9 independent readings .*\(200 power samples, averaged over 106 ms each; limit 20\)"),
        ({"power": lambda rows: rows.iloc[::11]}, r"1[89]\.0 independent readings while measuring .* limit 20\)"),
        (warmer_baseline(251), r"ina, repeat 0: idle baselines 5\.0% apart \(limit 5%\)"),
        (
            resting_from(490),
            r"repeat 0: 0 power samples of the idle baseline before that count \(limit 2\); raise idle_s",
        ),
        (second_source(6330), r"ina, repeat 0: \d+ mW, scpi \d+ mW of the same module, 5\.\d% apart \(limit 5%\)"),
        (said("finished", throttle={"oc1": 4}), r"edge board, repeat 1: throttled: oc1 went from 3 to 4 \(limit"),
        (braked_throughout(2), r"edge board, repeat 1: throttled: cpufreq cur_state was 2 \(limit 0\)"),
        (
            said("finished", temperature_c={"tj": 45.1}),
            r"edge board, repeat 1: still warming up: tj from 40\.0 to 45\.1 °C \(limit 5 °C more\)",
        ),
        (
            cooled_down(gave_up=True),
            r"edge board, repeat 1: gave up cooling down after 300 s: tj at 52\.0 °C, and at 45\.0 °C before the first",
        ),
        (
            {"clock": lambda found: [*found, estimate("during", -200_000)]},
            r"board, repeat 0: its wall clock was set by 1\.1 ms \(limit 1 ms\)",
        ),
        ({"clock_lines": lambda _: [clock_line(-1006.0)]}, r"clock ran -1006 ± 5 ppm off .* \(limit 1000 ppm\)"),
        (said("hello", boot_id="b"), "edge board was rebooted between repeats"),
        (cloud_samples(1001, 1059), r"server: nvml, repeat 0, GPU: 60 ms without a power sample"),
        (
            left_out(11),
            r"board: ina, repeat 1, VDD_IN: 11 readings, 1\.1% of all, are none that it can give \(above 120 W, or "
            r"below zero\) and were left out \(limit 1%\)",
        ),
        ({"power": lambda rows: rows.iloc[:0]}, r"board: ina, repeat 0: no power samples"),
        (silent(701, 1749), r"board, repeat 0: 1050 ms without a reading of its network interface \(limit 1000 ms\)"),
        (silent(1000, 99_999), r"board, repeat 0: 1549 ms without a reading"),
        (silent(-1, 10_000 * REPEATS), r"board, repeat 1: 1999 ms without a reading"),
    ],
)
def test_a_cell_that_just_fails_is_told_why(change, message):
    found = reasons(cell(**change))
    assert any(re.search(message, reason) for reason in found), found
    # The same gate may speak for both repeats, and no other gate for anything.
    assert len({re.sub(r"repeat \d|[\d.]+", "", reason) for reason in found}) == 1, found


def test_an_edge_that_was_killed_as_asked_for_is_not_blamed_for_its_silence():
    struck = cell(**silent(701, 1749))
    killed = {"0": [FaultRecord(fault="edge_killed", from_ns=0, until_ns=1)]}
    struck.manifest = replace(struck.manifest, faults=killed)
    assert reasons(struck) == []
    struck.manifest = replace(struck.manifest, faults={"1": killed["0"]})
    assert reasons(struck) != []


def test_an_edge_alone_has_no_network_to_record():
    assert reasons(cell(network=lambda rows: rows.iloc[:0], mode=lambda _: "edge_only")) == []


def test_an_edge_alone_is_not_judged_by_its_clouds_sensor():
    change = cloud_samples(1001, 1059)
    assert reasons(cell(**change, mode=lambda _: "edge_only")) == []
