"""A made-up bench meter: a real TCP server that answers SCPI, whose power moves, and which may misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from tests.fakes.sysfs import Power, triangle


class FakeMeter:
    """Serves one client after the other.

    Attributes:
        power: what it measures, mW at a time in ns.
        answers: this instead of its power, whatever it is asked.
        ready: as long as it is not set, the meter takes its time over a reading.
        silent: it takes queries and answers none but `*IDN?`.
        hangs_up: it hangs up when it is asked for its power.
        received: all commands so far.
    """

    def __init__(self) -> None:
        self.power: Power = triangle(5000, 9500, 16)
        self.answers: bytes | None = None
        self.ready = threading.Event()
        self.ready.set()
        self.silent = False
        self.hangs_up = False
        self.received: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._clients: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self.ready.set()
        for sock in (self._server, *self._clients):
            # Wakes the thread, which closing alone does not.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self._clients.append(client)
            with contextlib.suppress(OSError):
                self._talk(client)
            client.close()

    def _talk(self, client: socket.socket) -> None:
        for line in client.makefile("rb"):
            command = line.decode().strip()
            self.received.append(command)
            if command == "*IDN?":
                client.sendall(b"Acme,PM1,0042,1.0\n")
            elif command.endswith("?"):
                if self.hangs_up:
                    return
                if self.silent:
                    continue
                self.ready.wait()
                watts = self.power(time.monotonic_ns()) / 1000
                client.sendall(self.answers if self.answers is not None else f"{watts:.6E}\r\n".encode())
