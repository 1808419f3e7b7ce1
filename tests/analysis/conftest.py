from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from devices.base.power import Capability, PowerRow, Rail
from devices.base.rowlog import RowLog
from testbed.record.documents import ExitDocument, LinkRef
from testbed.record.exits import accumulate, confidence, exit_timestep
from testbed.record.log import write_json
from testbed.record.reader import Cell, read_cell
from testbed.record.schema import ClockEstimate, ClockLine, ClockRecord, EventRow, NetworkRow
from testbed.record.tables import TABLES, write_table
from testbed.runtime.artefact import OpCounts
from tests.made import records

T = 4
REQUESTS = 40
MS = 1_000_000
SECOND = 1_000 * MS
OFFSET_NS = 7 * SECOND
IDLE_MW = 5000.0

MakeCell = Callable[..., Cell]


def logits_of_all_requests() -> tuple[np.ndarray, np.ndarray]:
    """Logits [T, N, 10] that get surer with time, and labels [N]; the same in every cell and repeat."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, REQUESTS)
    logits = rng.normal(0, 1.6, (T, REQUESTS, 10))
    logits[:, np.arange(REQUESTS), labels] += 1.7
    return logits, labels


@pytest.fixture
def make_cell(tmp_path: Path) -> MakeCell:
    """Writes a cell with the real writers and reads it back.

    The edge draws `busy_mw` throughout a repeat's window and IDLE_MW in its idle phases; request i of a
    repeat takes `latency_ms` + i % 3 ms, and the next starts when it ends. `asked` names the samples of each repeat's
    requests, in their order. `fell_back` are the samples that the edge answered in place of its cloud. What is sent is
    in the network table, 20 rows a second: the edge's, or the cloud's where the link is `shaped_by_user`, without those
    from one of `no_network_s` to the other after the first request. `scenario` says how requests arrive, and
    `arrivals_ms` when, after the beginning of their repeat: then they wait for their turn.
    """

    def make(
        label: str,
        mode: str = "co_inference",
        *,
        latency_ms: float = 20.0,
        busy_mw: float = 6000.0,
        rule: dict[str, Any] | None = None,
        baseline: bool = False,
        emulated: bool = True,
        payload_per_step: int = 32,
        wrong: int = 0,
        outcomes: dict[int, str] | None = None,
        repeats: int = 3,
        state: str = "complete",
        valid: bool | None = True,
        reasons: list[str] | None = None,
        position: int = 0,
        metered: bool = True,
        jitter_mw: float = 0.0,
        cloud_mw: float | None = None,
        limits: dict[str, float] | None = None,
        averaging_ms: float = 0.0,
        code_rates: list[list[float]] | None = None,
        op_counts: OpCounts | None = None,
        asked: Sequence[Sequence[int]] | None = None,
        fell_back: Container[int] | None = None,
        requested: dict[str, Any] | None = None,
        shaped_by_user: bool = False,
        no_network_s: tuple[float, float] | None = None,
        scenario: dict[str, Any] | None = None,
        arrivals_ms: Sequence[float] | None = None,
    ) -> Cell:
        folder = tmp_path / "toy" / label.replace(" ", "-").replace("/", "-").replace("<", "")
        source, scope = ("emulated", "emulated") if emulated else ("ina", "module")
        logits, labels = logits_of_all_requests()
        running = accumulate(logits)
        sure = confidence(running)
        exits = exit_timestep(sure, rule.get("thresholds") or rule["threshold"]) if rule else np.full(REQUESTS, T)
        rng = np.random.default_rng(3)
        logs = {name: RowLog(folder / "parts" / f"{name}.jsonl") for name in TABLES}
        clock = ClockRecord(estimates=[], lines=[])
        events = RowLog(folder / "events.jsonl")
        for repeat in range(repeats if state == "complete" else 1):
            zero = (repeat + 1) * 100 * SECOND
            begin = zero + 3 * SECOND
            first = now = begin + 50 * MS
            carried: list[tuple[int, int, int]] = []
            for number, i in enumerate(range(REQUESTS) if asked is None else asked[repeat]):
                took = round((latency_ms + i % 3) * MS)
                alone = mode == "edge_only" or (fell_back is not None and i in fell_back)
                steps = T if alone and mode != "edge_only" else int(exits[i])
                outcome = (outcomes or {}).get(i, "ok")
                answer = int(running[steps - 1, i].argmax())
                if i < wrong:
                    answer = (int(labels[i]) + 1) % 10
                arrival = None if arrivals_ms is None else first + round(arrivals_ms[number] * MS)
                now = now if arrival is None else max(now, arrival)
                waited = 0 if arrival is None else now - arrival
                sent = 0 if alone else payload_per_step * steps
                cloud = 0.0 if alone else 0.3 * took / MS
                logs["requests"].append(
                    records.request(
                        request_id=number,
                        sample_index=i,
                        repeat=repeat,
                        label=int(labels[i]),
                        prediction=answer if outcome == "ok" else None,
                        outcome=outcome,
                        answered_by=None if outcome != "ok" else "edge" if alone else "cloud",
                        exit_timestep=steps if outcome == "ok" else None,
                        t_arrival_ns=arrival,
                        t_start_ns=now,
                        t_end_ns=now + took,
                        latency_ms=(waited + took) / MS,
                        queue_ms=None if arrival is None else waited / MS,
                        edge_compute_ms=0.4 * took / MS,
                        encode_ms=0.1 * took / MS,
                        network_ms=0.0 if mode == "edge_only" else 0.1 * took / MS,
                        cloud_compute_ms=cloud,
                        payload_up_bytes=sent,
                        payload_down_bytes=40 * steps,
                        wire_up_bytes=sent + 80 * steps if sent else 0,
                        wire_down_bytes=120 * steps,
                    )
                )
                logs["timesteps"].append(
                    *(
                        records.timestep(
                            request_id=number,
                            repeat=repeat,
                            timestep=t,
                            logits=logits[t, i].tolist(),
                            confidence=float(sure[t, i]),
                            payload_bytes=None if alone else payload_per_step,
                        )
                        for t in range(steps)
                    )
                )
                now += took
                if sent:
                    carried.append((now, sent + 80 * steps, 120 * steps))
            measured = now + 50 * MS
            marks = {
                "idle_before": zero,
                "warmup": zero + 2 * SECOND,
                "measure": begin,
                "idle_after": measured,
                "end": measured + 2 * SECOND,
            }
            for node, shift in (("board", 0), ("server", OFFSET_NS)):
                for name, at in marks.items():
                    events.append(
                        EventRow(node=node, t_ns=at + shift, repeat=repeat, event="phase", detail={"phase": name})
                    )
                clock.lines.append(
                    ClockLine(
                        node=node, repeat=repeat, t_ns=zero, offset_ns=shift, bound_ns=50_000, skew_ppm=0.0,
                        skew_bound_ppm=1.0, straight=True,
                    )
                )  # fmt: skip
                clock.estimates.append(
                    ClockEstimate(
                        node=node, repeat=repeat, when="before", t_ns=zero, offset_ns=shift, bound_ns=50_000,
                        rtt_ns=100_000, exchanges=8,
                    )
                )  # fmt: skip
            offset = (repeat - 1) * jitter_mw
            for at in range(zero, measured + 2 * SECOND + 1, 10 * MS):
                busy = begin <= at < measured
                noise = 0.0 if jitter_mw == 0 else rng.normal(0, 40)
                mw = (busy_mw + offset if busy else IDLE_MW) + noise
                if metered:
                    logs["power"].append(
                        PowerRow(node="board", source=source, rail="VDD_IN", scope=scope, t_ns=at, mw=mw)  # type: ignore[arg-type]
                    )
            if cloud_mw is not None:
                # Only while the requests run, on the cloud's own clock: any other window misses some of it.
                for at in range(begin + OFFSET_NS, measured + OFFSET_NS + 1, 10 * MS):
                    logs["power"].append(
                        PowerRow(node="server", source="nvml", rail="GPU", scope="board", t_ns=at, mw=cloud_mw)
                    )
            gap = [first + round(at * SECOND) for at in no_network_s or (-1, -1)]
            for at in range(zero, measured + 2 * SECOND, 50 * MS) if carried else ():
                up, down = (sum(each[side] for each in carried if each[0] <= at) for side in (1, 2))
                node, shift, tx, rx = ("server", OFFSET_NS, down, up) if shaped_by_user else ("board", 0, up, down)
                counters = {"retransmits": 0, "cwnd": 10}
                if not gap[0] <= at <= gap[1]:
                    rtt_ms = 20 + 3 * math.sin(at / SECOND)
                    row = NetworkRow(node=node, t_ns=at + shift, interface="data", tx_bytes=tx, rx_bytes=rx,
                                     rtt_ms=rtt_ms, **counters)  # fmt: skip
                    logs["network"].append(row)
                row = NetworkRow(node="board", t_ns=at, interface="if:wlan0", tx_bytes=up, rx_bytes=down, rtt_ms=None,
                                 retransmits=0)  # fmt: skip
                logs["network"].append(row)
        events.close()
        for name, log in logs.items():
            log.close()
            write_table(folder / f"{name}.parquet", TABLES[name], [log.path])
        write_json(folder / "clock.json", clock)
        spec = records.EMULATED_POWER if emulated else records.INA_POWER
        board = records.profile("board", "emulated" if emulated else "jetson", [spec] if metered else [])
        server = records.profile("server", "host", [] if cloud_mw is None else [records.NVML_POWER])

        def sensor(source: str, rail: str, scope: str) -> Capability:
            return records.capability(source, Rail(name=rail, scope=scope, **(limits or {})), averaging_ms=averaging_ms)

        exit_rule = None if rule is None else ExitDocument(**rule)
        written = records.manifest(
            [
                records.node(board, "edge", repeats=repeats, power=[sensor(source, "VDD_IN", scope)]),
                records.node(server, "cloud", repeats=repeats, power=[sensor("nvml", "GPU", "board")]),
            ],
            mode=mode,
            cell=folder.name,
            label=label,
            exit=exit_rule,
            repeats=repeats,
            model=records.model(code_rates=code_rates, op_counts=op_counts),
            link=LinkRef(requested=requested, curve=True),
            config=records.config(
                mode=mode,
                exit=exit_rule,
                position=position,
                baseline=baseline,
                fallback=None if fell_back is None else "edge_only",
                scenario=replace(records.config().scenario, **(scenario or {})),
            ),
        )
        write_json(folder / "manifest.json", written)
        ended = records.status(
            state=state,
            valid=valid if state == "complete" else None,
            reasons=reasons or [],
            repeats_done=list(range(repeats)) if state == "complete" else [],
        )
        write_json(folder / "status.json", ended)
        return read_cell(folder)

    return make


RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}


@pytest.fixture
def campaign(make_cell: MakeCell) -> list[Cell]:
    """A baseline, its exit, the cloud, co-inference with and without exit, and one that failed."""
    return [
        make_cell("edge only", "edge_only", latency_ms=80, busy_mw=6000, baseline=True, jitter_mw=30),
        make_cell("edge only, exit", "edge_only", latency_ms=45, busy_mw=6000, rule=RULE, position=1,
                  jitter_mw=30),
        make_cell("cloud only", "cloud_only", latency_ms=30, busy_mw=5200, payload_per_step=3072, position=2,
                  jitter_mw=30),
        make_cell("co-inference", latency_ms=25, busy_mw=5600, position=3, wrong=3, jitter_mw=30),
        make_cell("co-inference, exit", latency_ms=12, busy_mw=5600, rule=RULE, position=4, jitter_mw=30),
        make_cell("lossy link", state="failed", reasons=["server: went silent"], position=5),
    ]  # fmt: skip
