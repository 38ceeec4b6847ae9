"""Frames of a window are mirrored, cut and recoloured together; light changes as it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.config import AugmentConfig
from trainer.data.augment_frames import augment_frames

NOTHING = AugmentConfig(flip_probability=0, crop_scale=1, colour=0)


def picture(seed: int = 0, n: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(60, 190, (n, 4, 5, 3)).astype(np.uint8)
    return smooth.repeat(8, axis=1).repeat(8, axis=2)


def test_nothing_switched_on_changes_nothing() -> None:
    frames = picture()
    assert augment_frames(frames, NOTHING, np.random.default_rng(0)) is frames


def test_a_mirror_turns_left_and_right() -> None:
    frames = picture()
    turned = augment_frames(frames, replace(NOTHING, flip_probability=1), np.random.default_rng(0))
    np.testing.assert_array_equal(turned, frames[:, :, ::-1])


@pytest.mark.parametrize("settings", [replace(NOTHING, crop_scale=0.5), replace(NOTHING, colour=0.4)])
def test_all_frames_of_a_window_are_treated_alike(settings: AugmentConfig) -> None:
    frames = np.repeat(picture(n=1), 3, axis=0)
    for seed in range(5):
        treated = augment_frames(frames, settings, np.random.default_rng(seed))
        assert (treated.shape, treated.dtype) == (frames.shape, np.uint8)
        np.testing.assert_array_equal(treated[0], treated[1])
        np.testing.assert_array_equal(treated[0], treated[2])
        assert np.abs(treated.astype(int) - frames).max() > 5


def test_a_crop_shows_a_part_of_the_picture() -> None:
    ramp = np.zeros((1, 40, 60, 3), np.uint8)
    ramp[..., 0] = np.arange(40)[:, None] * 5
    ramp[..., 1] = np.arange(60) * 4
    settings = replace(NOTHING, crop_scale=0.5)
    for seed in range(10):
        part = augment_frames(ramp, settings, np.random.default_rng(seed)).astype(float)
        for channel, axis, size, slope in ((0, 1, 40, 5), (1, 2, 60, 4)):
            values = part[..., channel].mean(axis=(0, 3 - axis))
            reached = (values[-1] - values[0]) / slope / (size - 1)
            assert 0.45 < reached <= 1.0
            assert (np.diff(values) >= 0).all()


def test_light_changes_within_its_range() -> None:
    grey = np.full((1, 16, 16, 3), 100, np.uint8)
    brightness = [
        float(augment_frames(grey, replace(NOTHING, colour=0.3), np.random.default_rng(seed)).mean()) / 100
        for seed in range(200)
    ]
    assert 0.69 <= min(brightness) < 0.75
    assert 1.25 < max(brightness) <= 1.31
    strong = augment_frames(picture(), replace(NOTHING, colour=1.0), np.random.default_rng(1))
    assert strong.dtype == np.uint8


def test_a_quarter_turn_goes_either_way() -> None:
    frames = picture()[:, :, :32]
    settings = replace(NOTHING, rotate_probability=1.0)
    turned = [augment_frames(frames, settings, np.random.default_rng(seed)) for seed in range(8)]
    ways = [np.rot90(frames, quarters, (1, 2)) for quarters in (1, 3)]
    matches = [[np.array_equal(one, way) for way in ways] for one in turned]
    assert all(sum(match) == 1 for match in matches)
    assert {match.index(True) for match in matches} == {0, 1}
    wide = picture()
    assert augment_frames(wide, settings, np.random.default_rng(0)) is wide  # its shape would change


def test_the_dark_has_a_part_of_the_light_and_noise() -> None:
    frames = np.full((2, 64, 64, 3), 200, np.uint8)
    means = []
    for seed in range(12):
        dark = augment_frames(frames, replace(NOTHING, darken_probability=1.0), np.random.default_rng(seed))
        assert 3 < dark.std() < 5
        means.append(dark.mean())
    assert 15 < min(means) < max(means) < 121


def test_a_blur_keeps_the_light_and_loses_the_detail() -> None:
    frames = np.tile(np.array([[[40], [200]], [[200], [40]]], np.uint8), (1, 50, 50, 3)).reshape(1, 100, 100, 3)
    spread = []
    for seed in range(12):
        soft = augment_frames(frames, replace(NOTHING, blur_probability=1.0), np.random.default_rng(seed))
        assert abs(soft.mean() - 120) < 1
        spread.append(soft.std())
    assert min(spread) < 5 < frames.std()
