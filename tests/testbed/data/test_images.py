"""Images of every kind: read as their format says, or refused in one line that names them."""

import io
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from testbed.data import images
from testbed.data.datasets import DatasetSpec, load
from testbed.data.images import decode
from testbed.errors import DataError
from tests.testbed.data.conftest import one_line

RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)


def encoded(picture: Image.Image, form: str = "PNG", **more) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **more)
    return buffer.getvalue()


def png(colour_type: int, depth: int, width: int, height: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of the depths that Pillow does not write; `rows` with the filter byte of each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = b""
    for kind, data in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + body


def deep(colour_type: int, samples: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG whose samples of a pixel are all the ramp's."""
    rows = b"".join(b"\0" + np.repeat(row, samples).astype(">u2").tobytes() for row in RAMP)
    return png(colour_type, 16, 8, 8, rows, *chunks)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(RAMP)),
        deep(0, 1),
        deep(0, 1, (b"tRNS", b"\0\7")),
        encoded(Image.fromarray(RAMP), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
        deep(2, 3),
        deep(4, 2),
        deep(6, 4),
    ],
    ids=["grey", "grey by hand", "grey with a transparent one", "tiff", "tiff big-endian", "rgb", "la", "rgba"],
)
def test_16_bits_are_reduced_to_their_high_8(content, channels):
    pixels = decode(content, "ramp", 8, channels)
    assert pixels.shape == (channels, 8, 8)
    for plane in pixels:
        np.testing.assert_array_equal(plane, RAMP >> 8)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_which_no_value_is_white_are_refused(kind):
    content = encoded(Image.fromarray((np.arange(64).reshape(8, 8) * 1000).astype(kind)), "TIFF")
    with pytest.raises(DataError, match=r"depth\.tif: .*none is said to be white; save it with 8 or 16 bits"):
        decode(content, "depth.tif", 8, 1)


def test_fewer_than_8_bits_palettes_and_cmyk_are_what_they_show():
    bits = Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(decode(encoded(bits), "a", 8, 1)[0], np.eye(8) * 255)
    rows = b"".join(b"\0" + bytes([0x01, 0x23, 0x45, 0x67]) for _ in range(8))
    np.testing.assert_array_equal(decode(png(0, 4, 8, 8, rows), "a", 8, 1)[0, 0], np.arange(8) * 17)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert decode(encoded(palette), "a", 8, 3)[:, 0, 0].tolist() == [10, 200, 30]
    red = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "a", 8, 3)[:, 0, 0]
    assert red[0] > 240
    assert red[1:].max() < 16


def test_transparency_is_dropped_and_counted_where_something_is_transparent():
    found: Counter[str] = Counter()
    colour = np.full((8, 8, 4), (9, 8, 7, 255), np.uint8)
    assert decode(encoded(Image.fromarray(colour)), "opaque", 8, 3, found)[:, 0, 0].tolist() == [9, 8, 7]
    assert not found
    colour[0, 0, 3] = 254
    assert decode(encoded(Image.fromarray(colour)), "a", 8, 3, found)[:, 0, 0].tolist() == [9, 8, 7]
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert decode(encoded(palette, transparency=b"\xff\x10"), "b", 8, 3, found)[:, 0, 0].tolist() == [10, 200, 30]
    assert found == {"transparent": 2}


def test_the_first_picture_of_an_animation_is_read_and_counted():
    found: Counter[str] = Counter()
    first, second = (Image.new("RGB", (8, 8), (grey, grey, grey)) for grey in (0, 255))
    content = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert decode(content, "a", 8, 1, found).max() < 8
    assert found == {"animated": 1}


HALVES = np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 8, axis=0).repeat(8, axis=1)
"""8 rows and 32 columns: the left half black, the right one white."""


@pytest.mark.parametrize(
    ("how", "rows"),
    [
        ("resize", {0: "0011", 7: "0011"}),  # squeezed
        ("crop", {0: "0011", 7: "0011"}),  # the middle 8 columns
        ("pad", {0: "0000", 2: "0000", 3: "0011", 4: "0011", 5: "0000", 7: "0000"}),  # 2 rows of 8
    ],
)
def test_an_image_of_another_aspect_is_resized_cropped_or_padded_as_asked(how, rows):
    pixels = decode(encoded(Image.fromarray(HALVES)), "a", 8, 1, how=how)[0]
    assert {row: "".join("1" if grey > 127 else "0" for grey in pixels[row, ::2]) for row in rows} == rows


@pytest.mark.parametrize("how", ["resize", "crop", "pad"])
def test_an_image_may_become_one_that_is_no_square(how):
    wide = decode(encoded(Image.fromarray(HALVES)), "a", (8, 32), 3, how=how)
    np.testing.assert_array_equal(wide, np.tile(HALVES, (3, 1, 1)))
    assert decode(encoded(Image.fromarray(HALVES)), "a", (20, 9), 1, how=how).shape == (1, 20, 9)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_format_is_read_from_a_folder_and_how_it_was_fitted_is_said(tmp_path, form):
    for label, grey in (("dark", 10), ("bright", 240)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(8):
            picture = Image.new("RGB", (30, 20), (grey,) * 3)
            picture.save(tmp_path / "set" / label / f"{number}.{form.lower()}", form)
    spec = DatasetSpec(name="image_folder", image_size=(8, 12), fit="crop")
    found = load(spec, tmp_path / "set")
    assert found.train.images.shape[1:] == (3, 8, 12)
    assert {int(image.mean()) // 100 for image in found.train.images} == {0, 2}
    assert "3x8x12, scaled with its aspect and cropped in the middle" in found.variant
    assert "cropped" not in load(DatasetSpec(name="image_folder", image_size=(8, 12)), tmp_path / "set").variant


def test_the_first_page_of_a_tiff_is_read_and_counted():
    found: Counter[str] = Counter()
    first, second = (Image.new("L", (8, 8), grey) for grey in (3, 255))
    content = encoded(first, "TIFF", save_all=True, append_images=[second])
    assert decode(content, "a", 8, 1, found).max() == 3
    assert found == {"animated": 1}


def test_how_images_were_read_is_said_in_the_variant_of_a_second_load_too(folder):
    Image.fromarray(RAMP).save(folder / "train/cat/0.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(folder / "test/dog/0.png")
    for _ in range(2):
        variant = load(DatasetSpec(name="image_folder", image_size=8), folder).variant
        assert "1 images of 16-bit grey reduced to their high 8 bits" in variant
        assert "1 images with transparency, which is dropped" in variant
        assert "animated" not in variant


def test_what_an_older_reader_prepared_of_pngs_alone_is_read_again(folder, cache, monkeypatch):
    def preparations(data) -> int:
        load(DatasetSpec(name="image_folder", image_size=8), data)
        return len(list(cache.glob(f"images-{data.name}-*")))

    jpegs = folder.with_name("jpegs")
    for path in folder.rglob("*.png"):
        target = jpegs / path.relative_to(folder).with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").save(target)
    assert (preparations(folder), preparations(jpegs)) == (1, 1)
    monkeypatch.setattr(images, "PNG_READER", 1)
    assert (preparations(folder), preparations(jpegs)) == (2, 1)


def bomb() -> bytes:
    return png(2, 8, 30_000, 30_000, b"\0")


def texts() -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * (1 << 22), zip=True)
    return encoded(Image.new("L", (8, 8)), pnginfo=info)


def truncated() -> bytes:
    content = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"\x89PNG\r\n\x1a\n", bomb(), texts(), truncated(), png(0, 3, 8, 8, b"\0"), png(0, 8, 0, 0, b"")],
    ids=["empty", "text", "signature", "bomb", "long text", "truncated", "no such depth", "no pixels"],
)
def test_what_cannot_be_read_is_one_line_with_its_name(content):
    with pytest.raises(DataError, match=r"^cat/a\.png: this image cannot be read: \S") as caught:
        decode(content, "cat/a.png", 8, 3)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"]), st.data())
@settings(deadline=None, max_examples=150)
def test_any_damage_to_an_image_gives_pixels_or_one_line(form, data):
    content = bytearray(encoded(Image.fromarray(RAMP.astype(np.uint8)), form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    said = one_line(lambda: decode(bytes(content), "a", 8, 3))
    assert said.startswith("a: this image cannot be read: ") or decode(bytes(content), "a", 8, 3).shape == (3, 8, 8)
