"""A host as people write it."""

import pytest

from testbed.deploy.connect import parts


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("orin", {"host": "orin"}),
        ("me@orin:2222", {"username": "me", "host": "orin", "port": 2222}),
        ("me@lab@orin", {"username": "me@lab", "host": "orin"}),
        ("fe80::1", {"host": "fe80::1"}),
        ("me@[fe80::1]:22", {"username": "me", "host": "fe80::1", "port": 22}),
        ("10.0.0.7:22", {"host": "10.0.0.7", "port": 22}),
    ],
)
def test_user_host_and_port_are_told_apart(target, expected) -> None:
    assert parts(target) == expected
