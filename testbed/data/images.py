"""Decoding of image files, once: the arrays are kept as prepared data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from testbed.data.cache import mapped, new_array, prepared
from testbed.data.files import Listing, contents
from testbed.errors import DataError


def decode(content: bytes, name: str, image_size: int, channels: int) -> NDArray[np.uint8]:
    """An image file as uint8 [C, S, S].

    Raises:
        DataError: it cannot be read; the message says its name.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return fit(picture, image_size, channels)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{name}: this image cannot be read: {error}") from error


def fit(picture: Image.Image, image_size: int, channels: int) -> NDArray[np.uint8]:
    """A picture as uint8 [C, S, S]: RGB or luma (ITU-R 601), bilinear, its aspect not kept."""
    picture = picture.convert("RGB" if channels == 3 else "L")
    if picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.asarray(picture)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def decoded(listing: Listing, image_size: int, channels: int) -> tuple[NDArray[np.uint8], str]:
    """All images of a listing: uint8 [N, C, S, S] mapped from the prepared data, and the digest they are kept under.

    Raises:
        DataError: an image cannot be read.
    """
    shape = (len(listing), channels, image_size, image_size)

    def make(folder: Path) -> dict[str, int]:
        images = new_array(folder / "images.npy", shape)
        for position, (name, content) in enumerate(contents(listing)):
            images[position] = decode(content, name, image_size, channels)
        return {"images": len(images), "classes": len(listing.classes)}

    made_from = {"images": listing.digest, "image_size": image_size, "channels": channels}
    folder = prepared(f"images-{listing.source.stem}", made_from, make)
    images = mapped(folder / "images.npy")
    return images, folder.name
