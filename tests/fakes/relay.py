"""A TCP relay between an edge and its cloud that fails on command, in the ways in which links do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing sends a reset


class Relay:
    """Carries connections to a local port; every command holds from the next byte on."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._carriers: list[_Carrier] = []
        self._lock = threading.Lock()
        self._counted = threading.Condition(self._lock)
        self._flowing = threading.Event()
        self._flowing.set()
        self._swallows = False
        self._bytes_per_s: float | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.accepted = 0
        self._threads: list[threading.Thread] = []
        self._acceptor = self._run(self._accept, self._listener)

    def cut(self) -> None:
        """Reset every connection; new ones are carried."""
        with self._lock:
            carriers, self._carriers = self._carriers, []
        for carrier in carriers:
            carrier.reset()

    def stall(self) -> None:
        """Keep every connection and what it is given, and hand nothing on until healed."""
        self._flowing.clear()

    def black_hole(self) -> None:
        """Lose whatever comes, on all connections for good, and on new ones until healed; nobody is told."""
        with self._lock:
            self._swallows = True
            for carrier in self._carriers:
                carrier.swallows = True

    def slow(self, bytes_per_s: float) -> None:
        """Hand on no faster than this, until healed."""
        self._bytes_per_s = bytes_per_s

    def refuse(self) -> None:
        """Reset every connection and take no new ones until healed."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()  # else a connection that it has just taken would be missed
        self.cut()

    def heal(self) -> None:
        """Carry again."""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._acceptor = self._run(self._accept, self._listener)
        self._swallows, self._bytes_per_s = False, None
        self._flowing.set()

    def wait_for(self, connections: int, seconds: float = 5.0) -> None:
        """Wait until so many connections were taken in all."""
        with self._counted:
            assert self._counted.wait_for(lambda: self.accepted >= connections, seconds)

    def close(self) -> None:
        """End, with every thread."""
        self.heal()
        self.refuse()
        while self._threads:
            self._threads.pop().join()

    def _run(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                carrier = _Carrier(near, far, swallows=self._swallows)
                self._carriers.append(carrier)
                self.accepted += 1
                self._counted.notify_all()
            for pair in ((near, far), (far, near)):
                self._run(self._pump, carrier, *pair)

    def _pump(self, carrier: _Carrier, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                if (rate := self._bytes_per_s) is not None:
                    time.sleep(len(data) / rate)
                if not carrier.swallows:
                    sink.sendall(data)
        carrier.reset()


class _Carrier:
    """One connection through the relay."""

    def __init__(self, near: socket.socket, far: socket.socket, *, swallows: bool) -> None:
        self.swallows = swallows
        self._ends = (near, far)

    def reset(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()
