"""Events that a peer can cause at will: the first ones are told of, then ever fewer, with how many there were."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from testbed.link.sockets import OnEvent

WHOLE = 20
"""How many events of a kind are told of, each as it is."""

WHOLE_OF_A_PEER = 5
"""How many of those may be one peer's, so that one that floods leaves room for the others."""

MAX_KINDS = 64


class Sparing:
    """Tells `on_event` of the first events of a kind (name and reason), then of the 32nd, the 64th and so on.

    Those after the first carry `so_far`: how many there were. From any thread.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Any]] = Counter()
        self._told: Counter[tuple[str, Any]] = Counter()
        self._of_peers: Counter[tuple[str, Any, Any]] = Counter()

    def __call__(self, name: str, detail: dict[str, Any]) -> bool:
        """Take in an event; returns whether it was told of."""
        kind = (name, detail.get("reason"))
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MAX_KINDS:
                kind = (name, None)
            self._counts[kind] += 1
            so_far = self._counts[kind]
            of_peer = (*kind, detail.get("peer", detail.get("address")))
            if self._told[kind] < WHOLE and (of_peer[-1] is None or self._of_peers[of_peer] < WHOLE_OF_A_PEER):
                self._told[kind] += 1
                self._of_peers[of_peer] += 1
            elif so_far & (so_far - 1):
                return False
            else:
                detail = {**detail, "so_far": so_far}
        self._on_event(name, detail)
        return True
