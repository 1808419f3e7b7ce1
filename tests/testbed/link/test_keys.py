"""A libzmq that was built without CURVE, and whoever needs it."""

from __future__ import annotations

import errno

import pytest
import zmq

from testbed.errors import LinkError
from testbed.link.client import DataClient
from testbed.link.keys import KeyPair, new_keypair
from testbed.link.messages import WorkerStart
from testbed.link.server import DataServer
from testbed.worker.agent import Agent
from testbed.worker.check.software import check_curve

KEYS = KeyPair("a" * 40, "b" * 40)
LINE = r"^this pyzmq has no CURVE: its libzmq \S+ was built without; install the wheel .* pyzmq$"
START = WorkerStart(control_endpoint="tcp://127.0.0.1:1", control_public="a" * 40, keys=KEYS, node="a", silence_s=1.0)


@pytest.fixture
def without_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyzmq built against a libzmq without libsodium behaves."""

    def unsupported() -> tuple[bytes, bytes]:
        raise zmq.ZMQError(errno.EOPNOTSUPP)

    monkeypatch.setattr(zmq, "curve_keypair", unsupported)
    monkeypatch.setattr(zmq, "has", lambda what: what != "curve")


@pytest.mark.parametrize(
    "use",
    [
        new_keypair,
        lambda: DataServer("127.0.0.1", 0, KEYS, [], on_event=lambda name, detail: None),
        lambda: DataClient("tcp://127.0.0.1:1", KEYS, KEYS.public),
        lambda: Agent("run", START).serve(),
    ],
    ids=["keys", "cloud", "edge", "worker"],
)
def test_whoever_needs_curve_says_in_one_line_what_to_install(without_curve, use) -> None:
    with pytest.raises(LinkError, match=LINE):
        use()


def test_without_keys_there_is_no_need_for_it(without_curve) -> None:
    with DataServer("127.0.0.1", 0, None, [], on_event=lambda name, detail: None) as server:
        DataClient(server.endpoint, None, None).close()


def test_keys_that_cannot_be_made_for_another_reason_are_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> tuple[bytes, bytes]:
        raise zmq.ZMQError(errno.EMFILE)

    monkeypatch.setattr(zmq, "curve_keypair", failing)
    with pytest.raises(LinkError, match="libzmq makes no CURVE keys: Too many open files"):
        new_keypair()


def test_a_check_looks_at_it_on_the_node(without_curve) -> None:
    (line,) = check_curve()
    assert (line.state, line.what) == ("failed", "CURVE")
    assert "has no CURVE" in line.seen
    assert line.fix.startswith("install the wheel from PyPI")


def test_a_check_says_that_it_is_there() -> None:
    (line,) = check_curve()
    assert line.state == "ok"
