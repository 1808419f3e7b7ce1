"""A whole run whose data plane breaks: the edge's connection is cut, or the cloud fails, in the middle of requests."""

from __future__ import annotations

import os

import pytest

from tests.devices.base.installed import install

pytestmark = pytest.mark.timeout(300)

PORT = 27361  # below those that the kernel gives out by itself
MODES = f'''
"""Co-inference whose edge loses its connection in request 5, and co-inference whose cloud fails at its 20th frame."""
import os
import socket
import msgspec
from testbed.modes.co_inference import CoInference, Decoder, Encoder

def lose_connections():
    for fd in os.listdir("/proc/self/fd"):
        try:
            borrowed = socket.socket(fileno=int(fd))
        except OSError:
            continue
        try:
            if borrowed.type == socket.SOCK_STREAM and borrowed.getpeername()[1] == {PORT}:
                borrowed.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            borrowed.detach()

class Cut(Encoder):
    def answer(self, request):
        send_codes = request.send_codes
        def lose_and_send(timestep, codes, coded):
            if (request.number, timestep) == (5, 2):
                lose_connections()
            send_codes(timestep, codes, coded)
        request.send_codes = lose_and_send
        super().answer(request)

class Failing(Decoder):
    frames = 0
    def answer(self, peer, frame):
        self.frames += 1
        if self.frames == 20:
            raise ZeroDivisionError("of a bug")
        return super().answer(peer, frame)

class Cutting(CoInference):
    facts = msgspec.structs.replace(CoInference.facts, name="cutting", title="cutting")
    def edge(self, kit):
        return Cut(kit)

class Breaking(CoInference):
    facts = msgspec.structs.replace(CoInference.facts, name="breaking", title="breaking")
    def cloud(self, kit):
        return Failing(kit)

CUTTING, BREAKING = Cutting(), Breaking()
'''
POINTS = "cutting = breaking_modes:CUTTING\nbreaking = breaking_modes:BREAKING"


@pytest.fixture
def broken(lab):
    """A lab in which both modes are installed."""
    site = lab.folder / "site"
    install(site, "breaking", {"testbed.modes": POINTS}, {"breaking_modes.py": MODES})
    lab.environment["PYTHONPATH"] = os.pathsep.join([str(site), lab.environment["PYTHONPATH"]])
    return lab


def test_a_lost_connection_costs_one_request_and_the_rest_of_the_repeat_is_measured(broken) -> None:
    cloud = broken.device("bench-cloud", data_port=PORT)
    experiment = broken.experiment({"mode": "cutting", "model": "plain", "codec": "packed"}, cloud=cloud)
    done = broken.run("run", experiment, "--results", broken.results, "--no-report")
    (cell,) = broken.cells()
    assert cell.status.state == "complete", done.text
    requests = cell.requests.set_index("request_id")
    assert sorted(requests.index) == list(range(20))
    assert requests.loc[5, "outcome"] == "error"
    assert "no session here" in requests.loc[5, "reason"] or "connection was lost" in requests.loc[5, "reason"]
    assert (requests.drop(5)["outcome"] == "ok").all()
    assert requests.drop(5)["reason"].isna().all()
    # One lost request of twenty is more than a valid cell may have.
    assert done.code == 1
    assert "5.0% of the requests were not answered" in "\n".join(cell.status.reasons)


def test_a_cloud_that_fails_ends_its_repeat_at_once_with_its_reason(broken) -> None:
    cell = {"mode": "breaking", "model": "plain", "codec": "packed"}
    experiment = broken.experiment(cell, scenario={"requests": 2000, "warmup": 1})
    done = broken.run("run", experiment, "--results", broken.results, "--no-report")
    assert done.code == 1, done.text
    (cell,) = broken.cells()
    assert cell.status.state == "failed"
    (reason,) = cell.status.reasons
    assert "cloud bench-cloud, serving: the cloud's data plane failed in answering a frame" in reason
    assert "ZeroDivisionError: of a bug" in reason
    assert len(cell.requests) < 2000
    assert not broken.nodes()
