"""Simulated events: a still seen by a dynamic vision sensor (DVS) that makes three saccades.

After N-MNIST and N-Caltech101 (Orchard et al. 2015, arXiv 1507.07629), whose sensor moved along an isosceles triangle
in three saccades of 100 ms before a monitor. The sensor is the log-intensity model of Lichtsteiner et al. 2008
(doi 10.1109/JSSC.2007.914337) as ESIM samples it (Rebecq et al. 2018, CoRL): a pixel remembers the log intensity of its
last event and fires when the present one differs by a threshold, and log intensity is linear between two samples.
Events made this way are simulated, and every data set made of them says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from testbed.data.spec import DvsSpec

MODEL_VERSION = 1
"""Raise it with any change of the events that a given image and DvsSpec give: prepared recordings are kept by it."""

SACCADE_US = 100_000
"""Duration of one saccade (Orchard et al. 2015)."""

CORNERS = np.array([(-1.0, 1.0), (0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
"""The triangle's corners (x, y) in units of `saccade_pixels`: down, up and back along the base."""

STEP_PIXELS = 0.25
"""The longest way between two samples of the log intensity; ESIM bounds the displacement the same way."""

DARK = 0.02
"""Added to intensities in 0..1 before the logarithm, as a dark current bounds a sensor's contrast: 5 of 255 levels."""


@dataclass(frozen=True)
class Events:
    """Events of several recordings, sorted by recording and then by time.

    Attributes:
        recording: int32 [E], which recording an event belongs to.
        t: int32 [E], microseconds since the recording began.
        x: uint8 [E], column.
        y: uint8 [E], row.
        p: uint8 [E], 1 for ON (brighter), 0 for OFF.
    """

    recording: NDArray[np.int32]
    t: NDArray[np.int32]
    x: NDArray[np.uint8]
    y: NDArray[np.uint8]
    p: NDArray[np.uint8]


def path(saccade_pixels: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sampled positions [K, 2] (x, y in pixels) of the sensor, and their times [K] in microseconds.

    A saccade starts and ends at rest: its speed over time is a raised cosine, so its position is
    τ − sin(2πτ)/2π of the way at the share τ of its duration. Samples are equally far apart, not equally long.
    """
    tau = np.linspace(0.0, 1.0, 1001)
    way = tau - np.sin(2 * np.pi * tau) / (2 * np.pi)
    positions, times = [CORNERS[:1] * saccade_pixels], [np.zeros(1)]
    for number, (start, end) in enumerate(pairwise(CORNERS)):
        length = float(np.hypot(*(end - start))) * saccade_pixels
        share = np.linspace(0.0, 1.0, int(np.ceil(length / STEP_PIXELS)) + 1)[1:]
        positions.append((start + share[:, None] * (end - start)) * saccade_pixels)
        times.append((number + np.interp(share, way, tau)) * SACCADE_US)
    return np.concatenate(positions), np.concatenate(times)


def simulate(images: NDArray[np.uint8], seeds: Sequence[int], dvs: DvsSpec) -> Events:
    """The events of images uint8 [N, H, W] (luma), one recording each.

    Args:
        images: beyond their edges they go on as at the edge, so that the frame of the picture makes no events.
        seeds: one per image: decides what the pixels remember when the recording begins.
        dvs: sensor and saccades. `dvs.seed` decides the thresholds of the sensor's pixels, the same for all images.
    """
    count, height, width = images.shape
    positions, times = path(dvs.saccade_pixels)
    margin = int(np.ceil(dvs.saccade_pixels)) + 1
    framed = np.pad(images, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    padded = framed.astype(np.float32) * np.float32(1 / 255) + np.float32(DARK)
    spread = np.random.default_rng([dvs.seed, height, width]).normal(0.0, dvs.threshold_sigma, (height, width))
    threshold = np.clip(dvs.threshold + spread, dvs.threshold / 5, None).astype(np.float32)
    thresholds = np.tile(threshold.ravel(), count)

    before = _log_intensity(padded, positions[0], margin, height, width)
    start = np.stack([np.random.default_rng(seed).random((height, width), dtype=np.float32) for seed in seeds])
    memory = before + (start - 0.5) * threshold
    fired = np.full(images.size, -np.inf)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]] = []
    for step in range(1, len(times)):
        now = _log_intensity(padded, positions[step], margin, height, width)
        change = now - memory
        pixels = np.flatnonzero(np.abs(change) >= threshold)
        size, was, rise = thresholds[pixels], before.ravel()[pixels], change.ravel()[pixels] > 0
        sign = np.where(rise, np.float32(1), np.float32(-1))
        steps = np.floor(np.abs(change.ravel()[pixels]) / size)
        remembered = memory.ravel()[pixels]
        slope = (times[step] - times[step - 1]) / (now.ravel()[pixels] - was)
        for crossing in range(1, int(steps.max(initial=0)) + 1):
            level = remembered + sign * np.float32(crossing) * size
            t = times[step - 1] + np.clip((level - was) * slope, 0.0, times[step] - times[step - 1])
            # As ESIM does: a pixel in its refractory period follows the intensity and stays silent.
            fires = (steps >= crossing) & (t - fired[pixels] >= dvs.refractory_us)
            fired[pixels[fires]] = t[fires]
            found.append((pixels[fires], t[fires], rise[fires]))
        memory.ravel()[pixels] = remembered + sign * steps * size
        before = now
    pixel = np.concatenate([events[0] for events in found] or [np.empty(0, np.int64)])
    t = np.concatenate([events[1] for events in found] or [np.empty(0)]).astype(np.int64)
    rise = np.concatenate([events[2] for events in found] or [np.empty(0, np.bool_)])
    recording, inside = np.divmod(pixel, height * width)
    order = np.argsort(recording << 32 | t, kind="stable")
    y, x = np.divmod(inside[order], width)
    return Events(
        recording[order].astype(np.int32),
        t[order].astype(np.int32),
        x.astype(np.uint8),
        y.astype(np.uint8),
        rise[order].astype(np.uint8),
    )


def _log_intensity(
    padded: NDArray[np.float32], position: NDArray[np.float64], margin: int, height: int, width: int
) -> NDArray[np.float32]:
    """Log intensity [N, H, W] seen at a position of the sensor, bilinear between the image's pixels."""
    left, top = np.floor(position).astype(int) + margin
    right_share, down_share = (position - np.floor(position)).astype(np.float32)
    rows = padded[:, top : top + height + 1]
    upper, lower = rows[:, :-1], rows[:, 1:]
    seen = upper + down_share * (lower - upper) if down_share else upper
    seen = seen[:, :, left : left + width + 1]
    near, far = seen[:, :, :-1], seen[:, :, 1:]
    logarithm: NDArray[np.float32] = np.log(near + right_share * (far - near))
    return logarithm
