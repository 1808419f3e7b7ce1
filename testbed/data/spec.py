"""What the `dataset:` block of a recipe may say, and which of it belongs to which data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic

from testbed.config import MOST_SEED, Strict
from testbed.data.size import Size, sides
from testbed.importing import FileAndName

Name = Literal[
    "digits",
    "image_folder",
    "cifar10",
    "caltech101",
    "cifar10_dvs",
    "n_caltech101",
    "digits_dvs",
    "image_folder_dvs",
    "event_folder",
    "import",
]
SIMULATED = ("digits_dvs", "image_folder_dvs")
EVENTS = ("cifar10_dvs", "n_caltech101", "event_folder", *SIMULATED)
FOLDERS = ("image_folder", "image_folder_dvs", "event_folder")
OWN = "import"

BELONGS: dict[str, tuple[str, ...]] = {
    "import": (OWN,),
    "title": (*FOLDERS, OWN),
    "path": tuple(name for name in get_args(Name) if not name.startswith("digits")),
    "split": (*FOLDERS, "cifar10", "caltech101", "cifar10_dvs", "n_caltech101"),
    "test": (*FOLDERS, "caltech101", "cifar10_dvs", "n_caltech101"),
    "classes": ("caltech101", "n_caltech101"),
    "fit": ("image_folder", "image_folder_dvs", "caltech101"),
    "frames": (*EVENTS, OWN),
    "split_by": EVENTS,
    "dvs": SIMULATED,
    "layout": ("event_folder",),
    "sensor": ("event_folder",),
    "unordered": ("event_folder",),
}
"""Keys that only some data sets have; every other key belongs to all of them."""

SPLITS: dict[str, tuple[str, ...]] = {
    "cifar10": ("published",),
    "caltech101": ("random",),
    "n_caltech101": ("random",),
}
"""Data sets that have only one kind of split."""

GESTURE_SENSOR = (128, 128)
MOST_SIMULATED = 256
"""Simulated recordings are written in the 40-bit format, whose coordinates have 8 bits."""

TEST_SHARE = {"cifar10_dvs": 0.1, "n_caltech101": 0.1}
"""Test share of a random split where the recipe names none, as papers on these two have it; 0.2 for the others."""


LEAST_SIDE, MOST_SIDE = 8, 1024


def _image_size(value: Any) -> Size:
    both = value if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in both):
        raise ValueError("expected a number of pixels, or [HEIGHT, WIDTH]")
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in both):  # said once, and not for each form it may have
        raise ValueError(f"expected sides from {LEAST_SIDE} to {MOST_SIDE} pixels")
    height, width = both
    return height if height == width else (height, width)


_Pixels = Annotated[int, pydantic.Field(ge=LEAST_SIDE, le=MOST_SIDE)]
ImageSize = Annotated[_Pixels | tuple[_Pixels, _Pixels], pydantic.BeforeValidator(_image_size)]
Side = Annotated[int, pydantic.Field(ge=8, le=4096)]


class DvsSpec(Strict):
    """The sensor and the saccades of simulated events (see testbed.data.saccades)."""

    threshold: float = pydantic.Field(
        default=0.2, ge=0.05, le=2.0, description="change of log intensity that fires an event"
    )
    threshold_sigma: float = pydantic.Field(
        default=0.021,
        ge=0.0,
        le=0.1,
        description="spread of the threshold over pixels; 2.1% in Lichtsteiner et al. 2008",
    )
    refractory_us: int = pydantic.Field(
        default=1000, ge=0, le=100_000, description="time in which a pixel stays silent"
    )
    saccade_pixels: float = pydantic.Field(
        default=3.0, gt=0.0, le=16.0, description="half the width of the saccade triangle"
    )
    seed: int = pydantic.Field(default=0, ge=0, le=MOST_SEED)


class DatasetSpec(Strict):
    """The `dataset:` block of a recipe."""

    name: Name
    function: FileAndName | None = pydantic.Field(
        None,
        alias="import",
        description="FILE.py:FUNCTION in place of a name: a function of your own that gives arrays",
    )
    title: str | None = pydantic.Field(None, description="how figures and tables name a folder, or data of your own")
    path: Path | None = pydantic.Field(None, description="folder or archive; --data overrides it")
    image_size: ImageSize = pydantic.Field(32, description="the side of a square, or [HEIGHT, WIDTH]")
    fit: Literal["resize", "crop", "pad"] | None = pydantic.Field(
        None,
        description="images of another shape: resized without keeping their aspect (default), or scaled with it and "
        "then cropped in the middle or padded with black",
    )
    channels: int = pydantic.Field(
        3, ge=1, le=64, description="2 (OFF, ON) for events, 1 for digits, 1 or 3 for images, any for data of your own"
    )
    seed: int = pydantic.Field(0, ge=0, le=MOST_SEED, description="decides every random split")
    validation: float = pydantic.Field(0.1, gt=0, lt=0.5, description="share of the training samples held back")
    split: Literal["random", "published"] | None = pydantic.Field(
        None, description="into train and test; cifar10_dvs must say which, since its numbers differ by it"
    )
    test: float | None = pydantic.Field(None, gt=0, lt=0.9, description="share of the test set in a random split")
    classes: Literal["all", 10] | None = pydantic.Field(
        None,
        description="10: labels 5,3,0,1,94,2,12,19,55,23 of the sorted class names, as co-inference papers have it",
    )
    max_per_class: int | None = pydantic.Field(
        None, ge=4, le=1_000_000, description="at most so many samples a class, for quick runs"
    )
    frames: int | None = pydantic.Field(None, ge=1, le=64, description="frames per recording: the recipe's timesteps")
    split_by: Literal["number", "time"] | None = pydantic.Field(
        None, description="frames of equal event counts, or of equal duration"
    )
    dvs: DvsSpec | None = None
    layout: Literal["classes", "dvs128_gesture"] | None = pydantic.Field(
        None, description="of an event folder: a folder for each class (default), or as DVS128 Gesture is published"
    )
    sensor: tuple[Side, Side] | None = pydantic.Field(
        None, description="[HEIGHT, WIDTH] in pixels of the sensor that recorded an event folder"
    )
    unordered: Literal["refuse", "sort"] | None = pydantic.Field(
        None, description="a recording of an event folder whose times go back: an error (default), or put in order"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get(OWN) is not None:
            values = {"name": OWN, **values}
        if not isinstance(name := values.get("name"), str):
            return values
        defaults: dict[str, Any] = {}
        if name in EVENTS:
            defaults = {"channels": 2, "split_by": "number"}
        elif name == "digits":
            defaults = {"channels": 1}
        if name in SIMULATED:
            defaults["dvs"] = {}
        if name == "event_folder":
            defaults |= {"layout": "classes", "unordered": "refuse"}
            if values.get("layout") == "dvs128_gesture":
                defaults |= {"split": "published", "sensor": list(GESTURE_SENSOR)}
        if name in BELONGS["classes"]:
            defaults["classes"] = "all"
        if name in SPLITS:
            defaults["split"] = SPLITS[name][0]
        given = {key: value for key, value in values.items() if value is not None}
        return {**defaults, **given}

    @pydantic.model_validator(mode="after")
    def _belongs(self) -> DatasetSpec:
        for key, names in BELONGS.items():
            if getattr(self, "function" if key == OWN else key) is not None and self.name not in names:
                raise ValueError(f"{key} does not belong to {self.name}, only to {', '.join(names)}")
        if self.name == OWN:
            if self.function is None:
                raise ValueError("data of your own need import: FILE.py:FUNCTION (and no name)")
            return self
        channels = {"digits": (1,)}.get(self.name, (2,) if self.name in EVENTS else (1, 3))
        if self.channels not in channels:
            raise ValueError(f"{self.name} has channels {' or '.join(map(str, channels))}, not {self.channels}")
        if self.name in SIMULATED and max(self.size) > MOST_SIMULATED:
            raise ValueError(f"a simulated sensor has at most {MOST_SIMULATED} rows and columns")
        if self.name == "event_folder" and self.sensor is None:
            raise ValueError("event_folder needs sensor: [HEIGHT, WIDTH], the pixels of the sensor that recorded it")
        if self.layout == "dvs128_gesture" and self.split == "random":
            raise ValueError("the layout dvs128_gesture has only the published split")
        if self.name in EVENTS and self.frames is None:
            raise ValueError(
                f"{self.name} needs frames: how many frames a recording is cut into (the recipe's timesteps)"
            )
        if self.split is not None and self.split not in SPLITS.get(self.name, (self.split,)):
            raise ValueError(f"{self.name} has only the {SPLITS[self.name][0]} split")
        if self.name == "cifar10_dvs" and self.split is None:
            raise ValueError(
                "cifar10_dvs needs split: random, or published (recordings 0-99 of each class are the test set); "
                "its numbers differ by it"
            )
        if self.test is not None and self.split == "published":
            raise ValueError("test is the share of a random split; the published split has its own test set")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _said(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not belong to this data set, so that a new key changes no digest of other recipes."""
        values: dict[str, Any] = handler(self)
        keep = ("title", "path")
        return {key: value for key, value in values.items() if value is not None or key in keep}

    @property
    def size(self) -> tuple[int, int]:
        """(Height, width) of a sample."""
        return sides(self.image_size)

    @property
    def test_share(self) -> float:
        """Share of the samples that a random split gives to the test set."""
        return self.test if self.test is not None else TEST_SHARE.get(self.name, 0.2)
