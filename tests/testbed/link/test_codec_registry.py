"""Codecs of other packages: installed beside the testbed, found by name and by number."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.base.errors import TestbedError
from testbed.link.codec import CodecBook, CodecError, codec_names
from testbed.link.codec.registry import plain_codecs
from tests.devices.base.installed import install

OWN = ("float32", "packed", "sparse", "entropy", "auto")
BYTES = """
import numpy as np

class Bytes:
    name, wire_id = "bytes", 64

    def encode(self, code):
        return code.tobytes()

    def decode(self, payload, shape):
        return np.frombuffer(payload, np.uint8).reshape(shape)

    def payload_bytes(self, shape):
        return int(np.prod(shape))

class Taken(Bytes):
    wire_id = 2

class Nameless(Bytes):
    name = "other"

CODEC, TAKEN, NAMELESS, AGAIN = Bytes(), Taken(), Nameless(), Bytes()
AGAIN.name = "again"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    plain_codecs.cache_clear()
    yield tmp_path
    plain_codecs.cache_clear()
    sys.modules.pop("codecs_of_a_lab", None)


def add(site: Path, *entries: str) -> None:
    install(site, "lab-codecs", {"testbed.codecs": "\n".join(entries)}, {"codecs_of_a_lab.py": BYTES})


def test_a_codec_of_a_package_is_named_last_and_its_payload_is_known_by_its_number(site):
    add(site, "bytes = codecs_of_a_lab:CODEC")
    assert codec_names() == (*OWN, "bytes")
    book = CodecBook((2, 1, 3), None)
    code = np.array([[[1, 0, 1]], [[0, 0, 1]]], np.uint8)
    wire_id, payload = book.encoder("bytes")(code, 0)
    assert (wire_id, payload) == (64, bytes([1, 0, 1, 0, 0, 1]))
    assert np.array_equal(book.decode(64, payload, 0), code)


def test_without_the_package_its_name_and_number_are_refused(site):
    assert codec_names() == OWN
    book = CodecBook((2, 1, 3), None)
    with pytest.raises(CodecError, match="no codec named 'bytes'; there is float32, packed, sparse, entropy, auto"):
        book.encoder("bytes")
    with pytest.raises(CodecError, match="no codec has the number 64"):
        book.decode(64, b"", 0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("packed = codecs_of_a_lab:CODEC", "'packed' of testbed.codecs may not be named so"),
        ("auto = codecs_of_a_lab:CODEC", "'auto' of testbed.codecs may not be named so"),
        ("bytes = codecs_of_a_lab:TAKEN", "has wire_id 2; take one from 64 to 255"),
        ("bytes = codecs_of_a_lab:NAMELESS", "must be an object with name='bytes'"),
        ("bytes = codecs_of_a_lab:Bytes", "must be an object with name='bytes'"),
        ("bytes = codecs_of_a_lab:BYTES", "BYTES"),
    ],
)
def test_what_is_no_codec_is_one_line_that_says_what_to_do(site, entry, message):
    add(site, entry)
    with pytest.raises(TestbedError, match=message) as caught:
        codec_names()
    assert "\n" not in str(caught.value)


def test_two_codecs_with_one_number_are_refused(site):
    add(site, "again = codecs_of_a_lab:AGAIN", "bytes = codecs_of_a_lab:CODEC")
    with pytest.raises(CodecError, match=r"'bytes' of testbed\.codecs has the wire_id 64 of 'again'"):
        codec_names()
