"""A cloud's end in a process of its own: echoes every message. Reads its set-up as JSON from stdin."""

from __future__ import annotations

import json
import sys

from testbed.link.keys import KeyPair
from testbed.link.server import DataServer


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    keys = KeyPair(**setup["keys"]) if setup["keys"] else None
    with DataServer("127.0.0.1", 0, keys, setup["allowed"], on_event=lambda name, detail: None) as server:
        print(server.endpoint, flush=True)
        while True:
            received = server.recv(-1)
            if received is not None:
                peer, data = received
                server.send(peer, data)
                if data == b"stop":
                    # LINGER is 0: closed only once the client has its answer and says so.
                    sys.stdin.readline()
                    return


if __name__ == "__main__":
    main()
