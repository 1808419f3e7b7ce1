"""Spikes ↔ bytes. A code is a uint8 array of zeros and ones [C', H', W'].

A decoder is handed whatever arrived, so it checks all of it: a payload that no encoder makes is a
`CodecError`, and nothing larger than the shape asks for is ever allocated.
"""

from testbed.link.codec.book import CodecBook, Encode
from testbed.link.codec.entropy import Entropy
from testbed.link.codec.plain import Float32, Packed
from testbed.link.codec.protocol import Codec, CodecError
from testbed.link.codec.registry import codec_named, codec_names
from testbed.link.codec.sparse import Sparse

__all__ = [
    "Codec",
    "CodecBook",
    "CodecError",
    "Encode",
    "Entropy",
    "Float32",
    "Packed",
    "Sparse",
    "codec_named",
    "codec_names",
]
