"""The boundary to Pillow, and the decoding of image files, once: the arrays are kept as prepared data."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from testbed.data.cache import counts, mapped, new_array, prepared, said
from testbed.data.disk import cause
from testbed.data.files import Listing, contents
from testbed.errors import DataError

SAID = {
    "deep": "images of 16-bit grey reduced to their high 8 bits",
    "transparent": "images with transparency, which is dropped",
    "animated": "animated images, of which the first picture is read",
}
"""What the counts of a preparation say in a variant: how images were read that have no plain 8-bit pixels."""

PNG_READER = 2
"""Goes up when other pixels are read from PNG files; 2 reads 16-bit grey."""


@dataclass(frozen=True)
class Decoded:
    """Images of a listing.

    Attributes:
        images: uint8 [N, C, S, S], mapped from the prepared data.
        digest: what they are kept under.
        notes: what a variant says of how they were read.
    """

    images: NDArray[np.uint8]
    digest: str
    notes: tuple[str, ...]


def decode(
    content: bytes, name: str, image_size: int, channels: int, found: Counter[str] | None = None
) -> NDArray[np.uint8]:
    """An image file as uint8 [C, S, S].

    Args:
        content: of the file.
        name: for messages.
        image_size: S.
        channels: C, 3 or 1.
        found: counts what is in `SAID`.

    Raises:
        DataError: it cannot be read; the message says its name.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            if found is not None:
                found.update(_kinds(picture))
            return fit(_eight_bits(picture), image_size, channels)
    except Exception as error:  # Pillow raises SyntaxError, ValueError, struct.error and others on damaged files
        raise DataError(f"{name}: this image cannot be read: {cause(error)}") from error


def fit(picture: Image.Image, image_size: int, channels: int) -> NDArray[np.uint8]:
    """A picture of 8 bits as uint8 [C, S, S]: RGB or luma (ITU-R 601), bilinear, its aspect not kept."""
    picture = picture.convert("RGB" if channels == 3 else "L")
    if picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.asarray(picture)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def decoded(listing: Listing, image_size: int, channels: int) -> Decoded:
    """All images of a listing.

    Raises:
        DataError: an image cannot be read.
    """
    shape = (len(listing), channels, image_size, image_size)

    def make(folder: Path) -> dict[str, int]:
        images = new_array(folder / "images.npy", shape)
        found: Counter[str] = Counter()
        for position, (name, content) in enumerate(contents(listing)):
            images[position] = decode(content, name, image_size, channels, found)
        return {"images": len(images), "classes": len(listing.classes), **found}

    made_from: dict[str, object] = {"images": listing.digest, "image_size": image_size, "channels": channels}
    if any(PurePosixPath(name).suffix.lower() == ".png" for name in listing.names):
        made_from["png_reader"] = PNG_READER
    folder = prepared(f"images-{listing.source.stem}", made_from, make)
    return Decoded(mapped(folder / "images.npy"), folder.name, said(counts(folder), SAID))


def _eight_bits(picture: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel: Pillow itself clips 16-bit grey at 255, and halves 16-bit colour rightly.

    Raises:
        ValueError: its format does not say which value is white.
    """
    if _is_deep(picture):
        return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        kind = "floating-point numbers" if picture.mode == "F" else "32-bit integers"
        raise ValueError(f"its pixels are {kind}, of which none is said to be white; save it with 8 or 16 bits")
    # Transparency is dropped; Pillow would warn that it cannot carry it over.
    picture.info.pop("transparency", None)
    return picture


def _is_deep(picture: Image.Image) -> bool:
    """Whether it is 16-bit grey; Pillow before 11 opens such a PNG as 32-bit integers."""
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG")


def _kinds(picture: Image.Image) -> list[str]:
    kinds = ["deep"] if _is_deep(picture) else []
    if not kinds and picture.has_transparency_data and (np.asarray(picture.convert("RGBA"))[..., 3] < 255).any():
        kinds.append("transparent")
    # A JPEG of several pictures (MPO) has its picture first, and a PNG its still one; WebP has no still one.
    if picture.format == "WEBP" and getattr(picture, "is_animated", False):
        kinds.append("animated")
    return kinds
