"""What a network is trained on: batches that are the same for the same seed, wherever they are made."""

import numpy as np
import pytest
import torch

from testbed.data.datasets import Samples
from testbed.snn.batches import Augmentation, Batches


def numbered(count: int, side: int) -> torch.Tensor:
    """Images whose every pixel is another value, never 0."""
    values = np.arange(count * side * side) % 255 + 1
    return torch.from_numpy(values.astype(np.uint8).reshape(count, 1, side, side))


def test_without_padding_flip_or_cutout_the_images_are_left_alone():
    images = numbered(5, 6)
    assert torch.equal(Augmentation(0, flip=False).apply(images, 6, np.random.default_rng(0)), images)


def test_a_crop_is_a_window_of_the_padded_image():
    images = numbered(40, 6)
    crops = Augmentation(2, flip=False).apply(images, 6, np.random.default_rng(0))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    for number, crop in enumerate(crops.numpy()):
        windows = np.lib.stride_tricks.sliding_window_view(padded[number, 0], (6, 6)).reshape(-1, 6, 6)
        assert (windows == crop[0]).all((1, 2)).any()


def test_crops_move_down_and_right_apart_from_each_other():
    position = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(50, 1, 8, 8)
    corners = Augmentation(0, flip=False).apply(position, 4, np.random.default_rng(0))[:, 0, 0, 0].tolist()
    assert {corner // 8 for corner in corners} == {corner % 8 for corner in corners} == set(range(5))
    assert any(corner // 8 != corner % 8 for corner in corners)


def test_half_of_the_images_are_mirrored():
    images = numbered(400, 4)
    flipped = Augmentation(0, flip=True).apply(images, 4, np.random.default_rng(3))
    mirrored = [bool(torch.equal(one, other.flip(-1))) for one, other in zip(flipped, images, strict=True)]
    same = [bool(torch.equal(one, other)) for one, other in zip(flipped, images, strict=True)]
    assert sum(mirrored) + sum(same) == 400
    assert 150 < sum(mirrored) < 250


def test_cutout_blanks_one_square_of_each_image():
    blanked = Augmentation(0, flip=False, cutout=4).apply(numbered(200, 12), 12, np.random.default_rng(1))
    for image in blanked[:, 0].numpy():
        rows, columns = np.flatnonzero((image == 0).any(1)), np.flatnonzero((image == 0).any(0))
        assert 0 < len(rows) <= 5  # two each way from the centre, less what lies outside
        assert 0 < len(columns) <= 5
        assert (image[np.ix_(rows, columns)] == 0).all()
        assert (image == 0).sum() == len(rows) * len(columns)
    assert (blanked == 0).sum((1, 2, 3)).max() == 25


@pytest.mark.parametrize("frames", [None, 3])
def test_frames_of_one_sample_are_cropped_alike(frames):
    images = numbered(6, 8) if frames is None else numbered(6, 8)[:, None].expand(6, frames, 1, 8, 8)
    crops = Augmentation(3, flip=True, cutout=2).apply(images, 8, np.random.default_rng(2))
    assert crops.shape == images.shape
    if frames is not None:
        assert all(torch.equal(crops[:, 0], crops[:, t]) for t in range(frames))


def test_two_devices_share_the_batch_that_one_would_see():
    samples = Samples(numbered(64, 4).numpy(), np.arange(64))

    def epoch(rank: int, world: int) -> list[torch.Tensor]:
        batches = Batches(
            samples,
            16,
            Augmentation(1, flip=True),
            epoch=lambda: 7,
            size=lambda _: 4,
            seed=(5,),
            rank=rank,
            world=world,
        )
        return [labels for _, labels in batches]

    for whole, even, odd in zip(epoch(0, 1), epoch(0, 2), epoch(1, 2), strict=True):
        assert torch.equal(whole[::2], even)
        assert torch.equal(whole[1::2], odd)


def test_images_that_are_no_squares_are_cropped_flipped_and_blanked_along_both_sides():
    images = torch.arange(6 * 10, dtype=torch.uint8).reshape(1, 1, 6, 10).expand(200, 1, 6, 10).contiguous() + 1
    whole = Augmentation(0, flip=True).apply(images, (6, 10), np.random.default_rng(0))
    seen = {tuple(image[0, 0, :2].tolist()) for image in whole}
    assert seen == {(1, 2), (10, 9)}
    cropped = Augmentation(2, flip=False, cutout=4).apply(images, (6, 10), np.random.default_rng(1))
    assert cropped.shape == (200, 1, 6, 10)
    corners = Augmentation(0, flip=False).apply(images, (4, 5), np.random.default_rng(2))[:, 0, 0, 0]
    assert set(corners.tolist()) == {1 + 10 * row + column for row in range(3) for column in range(6)}
