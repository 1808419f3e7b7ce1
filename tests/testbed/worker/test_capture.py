"""A capture holds the headers of the data port's packets alone, and says why where there is none."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import WorkerError
from testbed.worker import capture
from testbed.worker.capture import SNAP_BYTES, Capture

FAKE = """#!{python}
import signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.stderr.write("fake: verbose output suppressed\\n{first}")
sys.stderr.flush()
{then}
"""
COUNTS = "7 packets captured\n9 packets received by filter\n2 packets dropped by kernel\n"
UNTIL_ENDED = f"""
def end(*_):
    sys.stderr.write({COUNTS!r})
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
sys.stdout.write("pcap")
sys.stdout.flush()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
signal.pause()
"""
LISTENS = "fake: listening on lo, link-type EN10MB\\n"

Fake = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SETTLE_S", 0.0)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A program that says `first` as tcpdump would, and then does `then`; returns its path."""

    def make(first: str = LISTENS, then: str = UNTIL_ENDED) -> str:
        path = tmp_path / "tcpdump"
        path.write_text(FAKE.format(python=sys.executable, first=first, then=then))
        path.chmod(0o755)
        return str(path)

    return make


def test_a_capture_ends_with_its_counts_and_once(tmp_path: Path, fake: Fake) -> None:
    capturing = Capture(tmp_path / "node", "lo", 5, fake(LISTENS, UNTIL_ENDED))
    capturing.check()
    assert capturing.close() == (7, 2)
    assert capturing.close() is None
    assert (tmp_path / "node" / "data.pcap").read_bytes() == b"pcap"


def test_no_tcpdump_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"there is no tcpdump on this node; install it .*or take"):
        Capture(tmp_path, "lo", 5, "no-such-tcpdump")


def test_no_permission_is_an_error_that_says_what_to_do(tmp_path: Path, fake: Fake) -> None:
    said = "tcpdump: lo: You don't have permission to perform this capture on that device\\n(socket: not permitted)\\n"
    with pytest.raises(
        WorkerError, match=r"cannot capture on lo: .*You don't have permission.* \(socket: not permitted\); sudo setcap"
    ):
        Capture(tmp_path / "node", "lo", 5, fake(said, "sys.exit(1)"))
    assert not (tmp_path / "node" / "data.pcap").exists()


def test_a_capture_that_never_begins_is_an_error(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "START_S", 0.5)
    with pytest.raises(WorkerError, match=r"did not begin to capture on lo within 0\.5 s"):
        Capture(tmp_path, "lo", 5, fake("", UNTIL_ENDED))


def test_a_capture_that_ends_by_itself_is_told(tmp_path: Path, fake: Fake) -> None:
    capturing = Capture(tmp_path, "lo", 5, fake(LISTENS + "fake: No space left on device\\n", "sys.exit(1)"))
    capturing._process.wait(10)  # noqa: SLF001
    for ask in (capturing.check, capturing.close):
        with pytest.raises(WorkerError, match="ended before the measurement did: fake: No space left on device"):
            ask()
    assert capturing.close() is None


def test_a_capture_ends_with_the_process_that_began_it(tmp_path: Path, fake: Fake) -> None:
    script = (
        "import sys; from pathlib import Path; from testbed.worker.capture import Capture\n"
        "capturing = Capture(Path(sys.argv[1]), 'lo', 5, sys.argv[2])\n"
        "print(capturing._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), fake(LISTENS, UNTIL_ENDED)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        watch = os.pidfd_open(pid)
        owner.send_signal(signal.SIGKILL)
        try:
            assert select.select([watch], [], [], 10)[0], "tcpdump lives on"
        finally:
            os.close(watch)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("tcpdump", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="needs tcpdump and root",
)
def test_the_real_tcpdump_captures_headers_of_the_port_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SETTLE_S", 1.1)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        capturing = Capture(tmp_path, "lo", listener.getsockname()[1])
        for server, data in ((listener, b"secret" * 200), (other, b"other" * 200)):
            with socket.create_connection(server.getsockname()) as edge, server.accept()[0] as cloud:
                edge.sendall(data)
                assert len(cloud.recv(len(data), socket.MSG_WAITALL)) == len(data)
        captured = capturing.close()
    assert captured is not None
    assert captured.dropped == 0
    content = (tmp_path / "data.pcap").read_bytes()
    (snapped,) = struct.unpack_from("=I", content, 16)
    assert snapped == SNAP_BYTES
    lengths, at = [], 24
    while at < len(content):
        kept, whole = struct.unpack_from("=II", content, at + 8)
        assert kept <= SNAP_BYTES
        lengths.append(whole)
        at += 16 + kept
    assert len(lengths) == captured.packets
    assert 1200 + 52 <= max(lengths) <= 1200 + 14 + 60
    assert b"other" not in content
    assert content.count(b"secret") <= 10
