"""Augmentation of a window's frames: mirror, crop, rotate, recolour, darken, blur; all frames of a window alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.config import AugmentConfig
from trainer.data.pictures import pillow, pillow_filter
from trainer.data.store import Frames

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma weights of red, green and blue: ITU-R BT.601."""
_WIDEST_BLUR = 0.02
"""Largest blur radius as a fraction of the frame's width."""
_DARKEST, _NIGHT_NOISE = 0.1, 4.0
"""Smallest fraction of light that remains, and standard deviation of the noise in levels of 255."""


def augment_frames(frames: Frames, config: AugmentConfig, rng: np.random.Generator) -> Frames:
    """Augment [n_frames, height, width, 3]; the random parameters are drawn once for all frames."""
    if config.crop_scale < 1:
        frames = _crop(frames, rng.uniform(config.crop_scale, 1.0), rng.random(2))
    if rng.random() < config.flip_probability:
        frames = frames[:, :, ::-1]
    if config.rotate_probability and rng.random() < config.rotate_probability and frames.shape[1] == frames.shape[2]:
        frames = np.rot90(frames, int(rng.choice((1, 3))), (1, 2))
    if config.colour > 0:
        frames = _recolour(frames, 1 + rng.uniform(-config.colour, config.colour, 3))
    if config.blur_probability and rng.random() < config.blur_probability:
        frames = _blur(frames, rng.uniform(0, _WIDEST_BLUR) * frames.shape[2])
    if config.darken_probability and rng.random() < config.darken_probability:
        frames = _darken(frames, rng.uniform(_DARKEST, 0.6), rng)
    return frames


def _crop(frames: Frames, scale: float, place: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Frames:
    """Crop both sides to `scale` and resize back; `place` is the crop's position, 0…1 from top and left."""
    image = pillow()
    _, height, width, _ = frames.shape
    top, left = (1 - scale) * place * (height, width)
    box = (left, top, left + scale * width, top + scale * height)
    resized = [image.fromarray(frame).resize((width, height), image.Resampling.BILINEAR, box) for frame in frames]
    return np.stack([np.asarray(frame) for frame in resized])


def _blur(frames: Frames, radius: float) -> Frames:
    """Gaussian blur with a radius in pixels."""
    filtered = pillow_filter().GaussianBlur(radius)
    return np.stack([np.asarray(pillow().fromarray(frame).filter(filtered)) for frame in frames])


def _darken(frames: Frames, light: float, rng: np.random.Generator) -> Frames:
    """Scale the brightness by `light` and add noise of a few levels, as sensors show in the dark."""
    noisy: np.ndarray[Any, np.dtype[np.float32]] = frames * np.float32(light)
    noisy += rng.normal(0, _NIGHT_NOISE, frames.shape).astype(np.float32)
    np.clip(noisy, 0, 255, out=noisy)
    return noisy.astype(np.uint8)


def _recolour(frames: Frames, gains: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Frames:
    """Brightness, contrast (about the window's mean luma) and saturation, each scaled by a gain, as one affine map."""
    brightness, contrast, saturation = gains.astype(np.float32)
    pixels = frames.reshape(-1, 3).astype(np.float32)
    # saturation scales a pixel's distance from its own luma, contrast its distance from the mean luma
    matrix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * np.outer(_LUMA, np.ones(3, np.float32))
    mean = pixels.mean(axis=0) @ _LUMA
    out = pixels @ (matrix * (brightness * contrast))
    out += np.float32(brightness * (1 - contrast) * mean + 0.5)
    np.clip(out, 0, 255, out=out)
    return out.astype(np.uint8).reshape(frames.shape)
