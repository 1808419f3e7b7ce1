"""What the link costs beside the least that could do the same work, measured side by side in one run.

Only ratios mean anything across machines: the two that are compared take turns in short blocks, so
that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import product
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import zmq
from numpy.typing import NDArray

from testbed.link import frames
from testbed.link.client import DataClient
from testbed.link.codec import Codec, CodecBook, Packed, codec_names
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.kinds import Kind
from testbed.link.server import DataServer

Keys: TypeAlias = KeyPair | None
RoundTrip: TypeAlias = Callable[[], object]

SIZES = (64, 64 * 1024)
ROUNDS, BLOCKS, PER_BLOCK = 9, 6, 100
ROUND_TRIP_TARGET = 1.3
SHAPES = ((8, 4, 4), (64, 8, 8), (64, 32, 32))
PACKING_TARGET = 0.9
CODES = ((8, 4, 4), (16, 8, 8), (64, 16, 16))
SPIKE_RATES = (0.02, 0.1, 0.3)
ENTROPY_TARGET, ENTROPY_BYTES = 1.05, 4
TIMEOUT_MS = 30_000


def run() -> None:
    """Print all tables."""
    round_trips()
    print()
    packing()
    print()
    codecs()


def round_trips() -> None:
    """Round trips between two processes; a message has `size` bytes, header included, each way.

    Where the scheduler puts two processes decides as much as what they do, so each round starts new ones.
    """
    print(f"Data-plane round trip; bare: a DEALER-ROUTER echo; target: ours <= {ROUND_TRIP_TARGET}x bare")
    print(f"{'message':>8} {'CURVE':>6} {'raw TCP us':>11} {'bare us':>9} {'ours us':>9} {'ours/bare':>10}")
    for size in SIZES:
        for curve in (False, True):
            rounds = [_round(size, curve, ours_first=bool(index % 2)) for index in range(ROUNDS)]
            bare, ours = (median(times) for times in zip(*rounds, strict=True))
            ratio = median(ours / bare for bare, ours in rounds)
            with _raw_tcp(size, None, None) as round_trip:
                (raw,) = _medians_us([round_trip])
            print(
                f"{size:>7}B {'on' if curve else 'off':>6} {raw:>11.1f} {bare:>9.1f} {ours:>9.1f} "
                f"{ratio:>9.2f}x  {'met' if ratio <= ROUND_TRIP_TARGET else 'MISSED'}"
            )


def packing() -> None:
    """Code to payload and back, beside numpy alone on the same array.

    `arrays` is packbits and unpackbits, which leave out what a payload needs; `bytes` adds that: tobytes,
    frombuffer, reshape.
    """
    print(f"Packing + unpacking; speed relative to numpy; target: >= {PACKING_TARGET}x of arrays")
    print(f"{'bits':>8} {'arrays us':>10} {'bytes us':>9} {'ours us':>9} {'vs arrays':>10} {'vs bytes':>9}")
    codec = Packed()
    for shape in SHAPES:
        code = (np.random.default_rng(0).random(shape) < 0.2).astype(np.uint8)
        tasks = (partial(_arrays, code), partial(_bytes, code), partial(_coded, codec, code))
        arrays, through_bytes, ours = _medians_us(tasks)
        verdict = "met" if arrays / ours >= PACKING_TARGET else "MISSED"
        print(
            f"{code.size:>8} {arrays:>10.2f} {through_bytes:>9.2f} {ours:>9.2f} {arrays / ours:>9.2f}x "
            f"{through_bytes / ours:>8.2f}x  {verdict}"
        )


def codecs() -> None:
    """Bytes and times of every codec on one code, its channels' rates spread around a mean rate.

    `entropy` in the head of a block is the code's zero-order entropy under these rates. constriction's range coder,
    where there is a wheel of it, is given the same rates; its times leave out shapes and bytes.
    """
    print(f"Codecs; target of entropy: <= {ENTROPY_TARGET}x the zero-order entropy of the code + {ENTROPY_BYTES} bytes")
    for shape, mean in product(CODES, SPIKE_RATES):
        rng = np.random.default_rng(0)
        rates = mean * rng.uniform(0.1, 1.6, shape[0])
        spread = np.broadcast_to(rates[:, None, None], shape)
        code = (rng.random(shape) < spread).astype(np.uint8)
        least = float(-np.log2(np.where(code, spread, 1 - spread)).sum()) / 8
        print(f"code {list(shape)}, spike rate {mean:.0%}, entropy {least:.1f} bytes")
        print(f"{'':>14} {'bytes':>7} {'x entropy':>10} {'encode us':>10} {'decode us':>10}")
        book = CodecBook(shape, [rates.tolist()])
        for name in codec_names():
            encode = partial(book.encoder(name), code, 0)
            wire_id, payload = encode()
            times = _medians_us((encode, partial(book.decode, wire_id, payload, 0)))
            reached = len(payload) <= ENTROPY_TARGET * least + ENTROPY_BYTES
            verdict = ("met" if reached else "MISSED") if name == "entropy" else ""
            print(_codec_line(name, len(payload), least, times) + verdict)
        if find_spec("constriction"):
            print(_codec_line("constriction", *_constriction(code, spread, least)))


def _codec_line(name: str, size: int, least: float, times: Sequence[float]) -> str:
    return f"{name:>14} {size:>7} {size / least:>9.2f}x {times[0]:>10.1f} {times[1]:>10.1f}  "


def _constriction(code: NDArray[np.uint8], rates: NDArray[np.float64], least: float) -> tuple[int, float, list[float]]:
    import constriction  # no importable submodules

    model, queue = constriction.stream.model, constriction.stream.queue

    symbols, flat, bernoulli = code.ravel().astype(np.int32), rates.ravel(), model.Bernoulli(perfect=False)

    def encode() -> NDArray[np.uint32]:
        coder = queue.RangeEncoder()
        coder.encode(symbols, bernoulli, flat)
        return coder.get_compressed()

    words = encode()
    return words.nbytes, least, _medians_us((encode, lambda: queue.RangeDecoder(words).decode(bernoulli, flat)))


def _round(size: int, curve: bool, *, ours_first: bool) -> tuple[float, float]:
    """Median round trips of the bare echo and of ours, with new processes."""
    server, client = (new_keypair(), new_keypair()) if curve else (None, None)
    with ExitStack() as stack:
        peers = [stack.enter_context(peer(size, server, client)) for peer in (_bare, _ours)]
        if ours_first:
            ours, bare = _medians_us(peers[::-1])
        else:
            bare, ours = _medians_us(peers)
    return bare, ours


def _coded(codec: Codec, code: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return codec.decode(codec.encode(code), code.shape)


def _arrays(code: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(np.packbits(code))


def _bytes(code: NDArray[np.uint8]) -> NDArray[np.uint8]:
    payload = np.packbits(code).tobytes()
    return np.unpackbits(np.frombuffer(payload, np.uint8)).reshape(code.shape)


def _medians_us(tasks: Sequence[RoundTrip]) -> list[float]:
    """Median time of each task, their blocks interleaved."""
    times: list[list[int]] = [[] for _ in tasks]
    for block in range(BLOCKS + 1):
        for task, spent in zip(tasks, times, strict=True):
            for _ in range(PER_BLOCK):
                start = time.perf_counter_ns()
                task()
                end = time.perf_counter_ns()
                if block:  # the first block warms up
                    spent.append(end - start)
    return [median(spent) / 1000 for spent in times]


@contextmanager
def _served(serve: Callable[..., None], *args: Any) -> Iterator[str]:
    """Run an echo server in a process of its own; gives its endpoint."""
    processes = multiprocessing.get_context("spawn")
    here, there = processes.Pipe()
    process = processes.Process(target=serve, args=(there, *args), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()
        here.close()


@contextmanager
def _ours(size: int, server: Keys, client: Keys) -> Iterator[RoundTrip]:
    message = Frame(Kind.STEP, 1, 0, 2, bytes(size - frames.HEADER_BYTES))
    public = None if server is None else server.public
    allowed = [] if client is None else [client.public]
    with (
        _served(_serve_ours, server, allowed) as endpoint,
        DataClient(endpoint, client, public) as link,
    ):
        link.connect(Deadline(TIMEOUT_MS))
        yield lambda: frames.unpack(link.request(frames.pack(message), Deadline(TIMEOUT_MS)), size)


def _serve_ours(pipe: Connection, keys: Keys, allowed: list[str]) -> None:
    with DataServer("127.0.0.1", 0, keys, allowed, on_event=print) as server:
        pipe.send(server.endpoint)
        while True:
            received = server.recv(1000)
            if received is not None:
                peer, data = received
                frame = frames.unpack(data, len(data))
                server.send(peer, frames.pack(frame._replace(kind=Kind.RESULT)))


@contextmanager
def _bare(size: int, server: Keys, client: Keys) -> Iterator[RoundTrip]:
    message = bytes(size)
    with (
        _served(_serve_bare, server) as endpoint,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.linger = 0
        if server is not None and client is not None:
            dealer.curve_serverkey = server.public.encode()
            dealer.curve_publickey, dealer.curve_secretkey = client.public.encode(), client.secret.encode()
        dealer.connect(endpoint)

        def round_trip() -> bytes:
            dealer.send(message)
            return dealer.recv()

        yield round_trip


def _serve_bare(pipe: Connection, keys: Keys) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        if keys is not None:
            router.curve_server = True
            router.curve_secretkey = keys.secret.encode()
        port = router.bind_to_random_port("tcp://127.0.0.1")
        pipe.send(f"tcp://127.0.0.1:{port}")
        while True:
            peer, data = router.recv(), router.recv()
            router.send(peer, zmq.SNDMORE)
            router.send(data)


@contextmanager
def _raw_tcp(size: int, server: Keys, client: Keys) -> Iterator[RoundTrip]:
    message, buffer = bytes(size), bytearray(size)
    with _served(_serve_raw_tcp, size) as port, socket.create_connection(("127.0.0.1", int(port))) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def round_trip() -> None:
            link.sendall(message)
            _fill(link, buffer)

        yield round_trip


def _serve_raw_tcp(pipe: Connection, size: int) -> None:
    buffer = bytearray(size)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(str(listener.getsockname()[1]))
        link, _ = listener.accept()
        with link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                _fill(link, buffer)
                link.sendall(buffer)


def _fill(link: socket.socket, buffer: bytearray) -> None:
    view = memoryview(buffer)
    while view:
        read = link.recv_into(view)
        if not read:
            raise SystemExit
        view = view[read:]


if __name__ == "__main__":
    run()
