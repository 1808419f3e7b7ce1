"""The boundary to Pillow, and the decoding of image files, once: the arrays are kept as prepared data."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from testbed.data.cache import counts, mapped, new_array, prepared, said
from testbed.data.disk import cause
from testbed.data.files import Listing, contents
from testbed.data.size import Size, sides
from testbed.errors import DataError

Fit: TypeAlias = Literal["resize", "crop", "pad"]

FITS: dict[Fit | None, str] = {
    "crop": ", scaled with its aspect and cropped in the middle",
    "pad": ", scaled with its aspect and padded with black",
}
"""What a variant says of how images were fitted; nothing where they were resized."""

SAID = {
    "deep": "images of 16-bit grey reduced to their high 8 bits",
    "transparent": "images with transparency, which is dropped",
    "animated": "images of several pictures, of which the first is read",
}
"""What the counts of a preparation say in a variant: how images were read that have no plain 8-bit pixels."""

PNG_READER = 2
"""Goes up when other pixels are read from PNG files; 2 reads 16-bit grey."""


@dataclass(frozen=True)
class Decoded:
    """Images of a listing.

    Attributes:
        images: uint8 [N, C, H, W], mapped from the prepared data.
        digest: what they are kept under.
        notes: what a variant says of how they were read.
    """

    images: NDArray[np.uint8]
    digest: str
    notes: tuple[str, ...]


def decode(
    content: bytes,
    name: str,
    size: Size,
    channels: int,
    found: Counter[str] | None = None,
    how: Fit = "resize",
) -> NDArray[np.uint8]:
    """An image file as uint8 [C, H, W].

    Args:
        content: of the file.
        name: for messages.
        size: H and W.
        channels: C, 3 or 1.
        found: counts what is in `SAID`.
        how: as of `fit`.

    Raises:
        DataError: it cannot be read; the message says its name.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            if found is not None:
                found.update(_kinds(picture))
            return fit(_eight_bits(picture), size, channels, how)
    except Exception as error:  # Pillow raises SyntaxError, ValueError, struct.error and others on damaged files
        raise DataError(f"{name}: this image cannot be read: {cause(error)}") from error


def fit(picture: Image.Image, size: Size, channels: int, how: Fit = "resize") -> NDArray[np.uint8]:
    """A picture of 8 bits as uint8 [C, H, W]: RGB or luma (ITU-R 601), bilinear.

    `resize` does not keep its aspect. `crop` scales it until it covers the size, and takes the middle; `pad` scales it
    until it fits in, and lays it in the middle of black.
    """
    picture = picture.convert("RGB" if channels == 3 else "L")
    height, width = sides(size)
    if picture.size != (width, height):
        if how == "resize":
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        else:
            fitted = ImageOps.fit if how == "crop" else ImageOps.pad
            picture = fitted(picture, (width, height), Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.asarray(picture)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def decoded(listing: Listing, size: Size, channels: int, how: Fit | None = None) -> Decoded:
    """All images of a listing; `how` as of `fit`, which is `resize` where nothing is said.

    Raises:
        DataError: an image cannot be read.
    """
    shape = (len(listing), channels, *sides(size))

    def make(folder: Path) -> dict[str, int]:
        images = new_array(folder / "images.npy", shape)
        found: Counter[str] = Counter()
        for position, (name, content) in enumerate(contents(listing)):
            images[position] = decode(content, name, size, channels, found, how or "resize")
        return {"images": len(images), "classes": len(listing.classes), **found}

    made_from: dict[str, object] = {"images": listing.digest, "image_size": size, "channels": channels}
    if how not in (None, "resize"):
        made_from["fit"] = how
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
    # A JPEG of several pictures (MPO) has its picture first, and a PNG its still one; WebP has no still one. The pages
    # of a TIFF are pictures of their own.
    if picture.format in ("WEBP", "TIFF") and getattr(picture, "is_animated", False):
        kinds.append("animated")
    return kinds
