"""Pictures to tensors, and what is too quiet or too dark to judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ascstream.frontend import image_tensor, is_dark, is_silent
from engines.manifest import VideoInput

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def video(**fields: Any) -> VideoInput:
    return VideoInput(48, 32, "crop", (0.5,), 1.0, **fields)


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_image_tensor_is_scaled_centred_and_planar(order: Any) -> None:
    image = picture()
    planes = image if order == "rgb" else image[:, :, ::-1]
    expected = ((planes / 255 - MEAN) / STD).transpose(2, 0, 1)
    tensor = image_tensor(image, video(channel_order=order, mean=MEAN, std=STD))
    assert tensor.dtype == np.float32
    assert tensor.shape == (3, 32, 48)
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected, rtol=0, atol=1e-6)


def test_raw_pixels_stay_as_they_are() -> None:
    image = picture()
    tensor = image_tensor(image, video(scale=1.0))
    np.testing.assert_array_equal(tensor, image.transpose(2, 0, 1))


def test_a_view_with_strides_is_as_good() -> None:
    image = picture()
    padded = np.zeros((32, 64, 3), np.uint8)
    padded[:, :48] = image
    np.testing.assert_array_equal(image_tensor(padded[:, :48], video()), image_tensor(image, video()))


@pytest.mark.parametrize(
    "wrong", [np.zeros((48, 32, 3), np.uint8), np.zeros((32, 48), np.uint8), np.zeros((32, 48, 3), np.float32)]
)
def test_another_size_or_type_is_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"expected an image of \[32, 48, 3\] uint8, got \["):
        image_tensor(wrong, video())


def test_silence_is_a_root_mean_square_below_the_level() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(24_000) / 24_000)[None].astype(np.float32)
    assert is_silent(np.zeros((1, 24_000), np.float32), -90)
    assert is_silent(np.zeros((1, 0), np.float32), -90)
    # a full-scale sine is 3.01 dB below a full-scale square
    assert is_silent(tone * 10 ** (-87 / 20), -90)
    assert not is_silent(tone * 10 ** (-86.9 / 20), -90)


def test_one_live_microphone_of_two_is_not_silence() -> None:
    samples = np.zeros((2, 24_000), np.float32)
    samples[1] = 10 ** (-60 / 20)
    assert not is_silent(samples, -90)
    assert not is_silent(samples.T[::2].T, -90)


def test_samples_that_are_no_numbers_are_not_silence() -> None:
    assert not is_silent(np.full((1, 10), np.nan, np.float32), -90)


def test_a_covered_lens_is_dark_and_flat() -> None:
    rng = np.random.default_rng(0)
    black = np.clip(rng.normal(4, 2, (224, 224, 3)), 0, 255).astype(np.uint8)
    assert is_dark(np.zeros((224, 224, 3), np.uint8), 10)
    assert is_dark(black, 10)
    assert not is_dark(black + np.uint8(20), 10)


def test_a_lamp_in_the_night_is_not_a_covered_lens() -> None:
    night = np.full((224, 224, 3), 2, np.uint8)
    assert is_dark(night, 10)
    night[100:107, 100:107] = 255
    assert night.mean() < 3
    assert not is_dark(night, 10)


@pytest.mark.parametrize(("colour", "luma"), [((255, 0, 0), 76.2), ((0, 255, 0), 149.7), ((0, 0, 255), 29.1)])
def test_luma_is_that_of_bt601(colour: tuple[int, int, int], luma: float) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = colour
    assert is_dark(image, luma + 0.1)
    assert not is_dark(image, luma - 0.1)
