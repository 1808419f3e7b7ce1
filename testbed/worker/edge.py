"""The edge's work: it owns the requests, the clock that times them, and the decision to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.activity import Activity
from testbed.errors import LinkError, WorkerError
from testbed.link import frames, messages
from testbed.link.codec import CodecBook
from testbed.link.frames import Frame, Kind
from testbed.link.messages import Load
from testbed.link.tcpinfo import ConnectionMeter, Counters
from testbed.link.transport import DataClient, LinkTimeout
from testbed.record.documents import BackboneForm, Finished, Loaded
from testbed.record.exits import Accumulate, Floats, Policy, accumulate, confidence
from testbed.record.schema import NetworkRow, Outcome, RequestRow, TimestepRow
from testbed.runtime.artefact import verify
from testbed.runtime.bundle import load_bundle
from testbed.runtime.onnx import OnnxGraph
from testbed.worker.backbone import Backbone, currents
from testbed.worker.station import PROGRESS_S, Station

MAX_RESULT_BYTES = 1 << 20

PASS_STRIDE = 1 << 20
"""What a request's id grows by with each pass over the samples after the first, so that no two requests of a cell
share one."""

MAX_REQUEST_ID = 0xFFFF_0000
"""Above are those of the warm-up; a frame has 32 bits for it."""


@dataclass
class Step:
    """What happened in one timestep; None where it does not apply."""

    logits: NDArray[np.float32]
    code_spikes: int | None = None
    code_bits: int | None = None
    payload_bytes: int | None = None
    t_send_ns: int | None = None
    t_reply_ns: int | None = None
    cloud_ns: int | None = None


@dataclass
class Trace:
    """One request while it runs: its timesteps so far and where its time went, in nanoseconds."""

    edge_ns: int = 0
    encode_ns: int = 0
    network_ns: int = 0
    cloud_ns: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    steps: list[Step] = field(default_factory=list)


class EdgeWork:
    """One repeat of one cell, on the edge."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self._station = Station(load, node, cancel)
        self._config = load.config
        folder = Path(load.artefact)
        self._card = verify(folder, load.artefact_hash)
        if load.bundle is None:
            raise WorkerError("an edge needs the evaluation bundle")
        self._bundle = load_bundle(Path(load.bundle), load.bundle_hash)
        if list(self._bundle.inputs.shape[1:]) != self._card.sample_shape:
            raise WorkerError(
                f"{load.bundle}: inputs of shape {list(self._bundle.inputs.shape[1:])} do not fit the model's "
                f"{self._card.sample_shape}"
            )
        runtime = load.profile.runtime
        form: BackboneForm | None = None
        self._run: Callable[[int, NDArray[np.uint8], Trace], None]
        if load.config.mode == "co_inference":
            self._stem = OnnxGraph(folder / "stem.onnx", runtime.threads, runtime.provider)
            self._half = OnnxGraph(folder / "edge.onnx", runtime.threads, runtime.provider)
            book = CodecBook(self._card.code_shape, self._card.code_rates)
            self._encode = book.encoder(load.config.codec or "")
            self._run = self._co_inference
        elif load.config.mode == "cloud_only":
            self._run = self._cloud_only
        elif load.config.exit is not None:
            self._stem = OnnxGraph(folder / "full_stem.onnx", runtime.threads, runtime.provider)
            self._half = OnnxGraph(folder / "full_step.onnx", runtime.threads, runtime.provider)
            self._run = self._edge_steps
        else:
            self._backbone = Backbone(folder, self._card, runtime.threads, runtime.provider)
            form = BackboneForm(form=self._backbone.form, trial_ms=self._backbone.trial_ms)
            self._run = self._edge_whole
        self._client: DataClient | None = None
        if load.data_endpoint is not None:
            self._client = DataClient(
                load.data_endpoint, load.data_keys, load.data_server_public, load.config.timeout_ms
            )
            self._client.connect()
            self._meter = ConnectionMeter(load.data_endpoint)
            self._counted = self._meter.read()
        self.loaded = messages.Loaded(
            data_endpoint=None, detail=Loaded(power=self._station.capabilities, backbone=form)
        )

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def warm_up(self, samples: Sequence[int]) -> None:
        """Run samples without recording them: caches, allocators and TCP windows settle."""
        self._station.phase("warmup")
        for offset, sample in enumerate(samples):
            if self._station.cancel.is_set():
                return
            self._request(0xFFFF_FFFF - offset, sample)

    def measure(self, order: messages.Measure, report: Callable[[int], None]) -> int:
        """Run and record samples in order until done or cancelled; returns how many requests were measured.

        Each sample is run equally often, so that accuracies of cells that took more passes or fewer compare.
        """
        self._station.phase("measure")
        requests, timesteps = self._station.log("requests"), self._station.log("timesteps")
        total, done, spent_s, reported_ns = len(order.samples), 0, 0.0, 0
        start_ns = time.monotonic_ns()
        while done < total or done % total or spent_s < order.min_duration_s:
            if self._station.cancel.is_set():
                break
            number = order.first_request_id + done % total + done // total * PASS_STRIDE
            if number > MAX_REQUEST_ID:
                raise WorkerError(
                    f"{total} requests a repeat are too few: run over and over, they do not last for "
                    f"{order.min_duration_s:.3g} s; raise scenario.requests"
                )
            request, steps = self._request(number, order.samples[done % total])
            timesteps.append(*steps)
            requests.append(request)
            if self._client is not None:
                self._station.log("network").append(self._network_row())
            done, spent_s = done + 1, (request.t_end_ns - start_ns) / 1e9
            if request.t_end_ns - reported_ns > PROGRESS_S * 1e9:
                reported_ns = request.t_end_ns
                self._station.check_sampler()
                share = min(1.0, spent_s / order.min_duration_s) if order.min_duration_s else 1.0
                report(min(done, total, round(total * share)))
        return done

    def finish(self) -> Finished:
        """Close the data plane and the record."""
        self._station.phase("end")
        if self._client is not None:
            self._client.close()
            self._client = None
        return self._station.finish()

    def _request(self, request: int, sample: int) -> tuple[RequestRow, list[TimestepRow]]:
        x = np.ascontiguousarray(self._bundle.inputs[sample : sample + 1])
        trace = Trace()
        outcome: Outcome = "ok"
        t_start_ns = time.monotonic_ns()
        try:
            self._run(request, x, trace)
        except LinkTimeout:
            outcome = "timeout"
        except LinkError as error:
            outcome = "error"
            self._station.event("request_failed", request=request, message=str(error))
        t_end_ns = time.monotonic_ns()
        self._station.set(Activity.IDLE)
        if self._client is not None and trace.steps and len(trace.steps) < self._card.timesteps:
            self._client.send(frames.pack(Frame(Kind.END, request)))
        return self._rows(request, sample, trace, outcome, t_start_ns, t_end_ns)

    def _co_inference(self, request: int, x: NDArray[np.uint8], trace: Trace) -> None:
        start_ns = time.monotonic_ns()
        self._station.set(Activity.COMPUTE)
        state = self._half.initial_state()
        for timestep, current in enumerate(currents(self._stem, x, self._card.timesteps)):
            code, state = self._half.step(current, state)
            computed_ns = self._station.slowdown.stretch(start_ns)
            codec, payload = self._encode(code[0], timestep)
            encoded_ns = self._station.slowdown.stretch(computed_ns)
            trace.edge_ns += computed_ns - start_ns
            trace.encode_ns += encoded_ns - computed_ns
            frame = Frame(Kind.STEP, request, timestep, codec, payload)
            step, _ = self._exchange(frame, trace)
            step.code_bits = int(code.size)
            step.code_spikes = int(np.count_nonzero(code))
            if self._confident(trace):
                return
            start_ns = time.monotonic_ns()
            self._station.set(Activity.COMPUTE)

    def _cloud_only(self, request: int, x: NDArray[np.uint8], trace: Trace) -> None:
        _, logits = self._exchange(Frame(Kind.INPUT, request, payload=x.tobytes()), trace)
        if len(logits) != self._card.timesteps:
            raise LinkError(f"the cloud answered {len(logits)} timesteps, not {self._card.timesteps}")
        trace.steps += [Step(row) for row in logits[1:]]

    def _edge_whole(self, request: int, x: NDArray[np.uint8], trace: Trace) -> None:
        start_ns = time.monotonic_ns()
        self._station.set(Activity.COMPUTE)
        logits = self._backbone.run(x)
        trace.edge_ns = self._station.slowdown.stretch(start_ns) - start_ns
        trace.steps += [Step(row) for row in logits]

    def _edge_steps(self, request: int, x: NDArray[np.uint8], trace: Trace) -> None:
        start_ns = time.monotonic_ns()
        self._station.set(Activity.COMPUTE)
        state = self._half.initial_state()
        for current in currents(self._stem, x, self._card.timesteps):
            logits, state = self._half.step(current, state)
            computed_ns = self._station.slowdown.stretch(start_ns)
            trace.edge_ns += computed_ns - start_ns
            trace.steps.append(Step(logits[0]))
            if self._confident(trace):
                return
            start_ns = time.monotonic_ns()

    def _exchange(self, frame: Frame, trace: Trace) -> tuple[Step, NDArray[np.float32]]:
        """Send one frame and wait for its result: the first timestep's `Step`, and all logits of the answer."""
        assert self._client is not None
        data = frames.pack(frame)
        trace.up_bytes += len(frame.payload)
        self._station.set(Activity.RADIO)
        t_send_ns = time.monotonic_ns()
        reply = self._client.request(data)
        while True:
            answer = frames.unpack(reply, MAX_RESULT_BYTES)
            if (answer.request, answer.timestep) == (frame.request, frame.timestep):
                break
            reply = self._client.recv()  # the late answer to a request that had timed out
        t_reply_ns = time.monotonic_ns()
        trace.down_bytes += len(answer.payload)
        if answer.kind is Kind.REFUSED:
            raise LinkError(f"the cloud refused timestep {frame.timestep}: {frames.unpack_reason(answer.payload)}")
        cloud_ns, logits = frames.unpack_result(answer.payload, len(self._card.classes))
        trace.cloud_ns += cloud_ns
        trace.network_ns += t_reply_ns - t_send_ns - cloud_ns
        step = Step(
            logits[0],
            payload_bytes=len(frame.payload),
            t_send_ns=t_send_ns,
            t_reply_ns=t_reply_ns,
            cloud_ns=cloud_ns,
        )
        trace.steps.append(step)
        return step, logits

    def _confident(self, trace: Trace) -> bool:
        rule, done = self._config.exit, len(trace.steps)
        if rule is None or done == self._card.timesteps:
            return False
        logits = np.stack([step.logits for step in trace.steps])
        sure = confidence(accumulate(logits, rule.accumulate)[-1], rule.policy)
        return bool(sure >= rule.thresholds[done - 1])

    def _rows(
        self, request: int, sample: int, trace: Trace, outcome: Outcome, t_start_ns: int, t_end_ns: int
    ) -> tuple[RequestRow, list[TimestepRow]]:
        prediction: int | None = None
        confidences: Floats = np.zeros(0)
        policy: Policy = "max_softmax" if self._config.exit is None else self._config.exit.policy
        how: Accumulate = "mean" if self._config.exit is None else self._config.exit.accumulate
        if trace.steps:
            accumulated = accumulate(np.stack([step.logits for step in trace.steps]), how)
            confidences = confidence(accumulated, policy)
            if outcome == "ok":
                prediction = int(accumulated[-1].argmax())
        wire = self._wire_since_last()
        row = RequestRow(
            request_id=request,
            node=self._station.node,
            sample_index=sample,
            repeat=self._station.repeat,
            label=int(self._bundle.labels[sample]),
            prediction=prediction,
            outcome=outcome,
            exit_timestep=len(trace.steps) if outcome == "ok" else None,
            t_start_ns=t_start_ns,
            t_end_ns=t_end_ns,
            latency_ms=(t_end_ns - t_start_ns) / 1e6,
            edge_compute_ms=trace.edge_ns / 1e6,
            encode_ms=trace.encode_ns / 1e6,
            network_ms=trace.network_ns / 1e6,
            cloud_compute_ms=trace.cloud_ns / 1e6,
            payload_up_bytes=trace.up_bytes,
            payload_down_bytes=trace.down_bytes,
            wire_up_bytes=wire[0],
            wire_down_bytes=wire[1],
        )
        steps = [
            TimestepRow(
                request_id=request,
                node=self._station.node,
                repeat=self._station.repeat,
                timestep=number,
                logits=[float(value) for value in step.logits],
                confidence=float(confidences[number]),
                code_spikes=step.code_spikes,
                code_bits=step.code_bits,
                payload_bytes=step.payload_bytes,
                t_send_ns=step.t_send_ns,
                t_reply_ns=step.t_reply_ns,
                cloud_compute_ms=None if step.cloud_ns is None else step.cloud_ns / 1e6,
            )
            for number, step in enumerate(trace.steps)
        ]
        return row, steps

    def _wire_since_last(self) -> tuple[int, int]:
        """Bytes on the wire, up and down, since the last request; (0, 0) without a data plane."""
        if self._client is None:
            return 0, 0
        before, self._counted = self._counted, self._meter.read()
        return self._counted.tx_bytes - before.tx_bytes, self._counted.rx_bytes - before.rx_bytes

    def _network_row(self) -> NetworkRow:
        counted: Counters = self._counted
        return NetworkRow(
            node=self._station.node,
            t_ns=time.monotonic_ns(),
            interface="data",
            tx_bytes=counted.tx_bytes,
            rx_bytes=counted.rx_bytes,
            rtt_ms=counted.rtt_ms,
            retransmits=counted.retransmits,
        )
