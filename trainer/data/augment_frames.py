"""What is done to a window's frames in training: mirrored, cut and scaled back, other light; all of a window alike."""

from __future__ import annotations

import numpy as np

from trainer.config import AugmentConfig
from trainer.data.pictures import pillow
from trainer.data.store import Frames

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue: ITU-R BT.601."""


def augment_frames(frames: Frames, config: AugmentConfig, rng: np.random.Generator) -> Frames:
    """[n_frames, height, width, 3] to the same: one draw for all of them."""
    if config.crop_scale < 1:
        frames = _crop(frames, rng.uniform(config.crop_scale, 1.0), rng.random(2))
    if rng.random() < config.flip_probability:
        frames = frames[:, :, ::-1]
    if config.colour > 0:
        frames = _recolour(frames, 1 + rng.uniform(-config.colour, config.colour, 3))
    return frames


def _crop(frames: Frames, scale: float, place: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Frames:
    """A part of `scale` of both sides, anywhere, scaled back; `place`: 0…1 from the top and from the left."""
    image = pillow()
    _, height, width, _ = frames.shape
    top, left = (1 - scale) * place * (height, width)
    box = (left, top, left + scale * width, top + scale * height)
    resized = [image.fromarray(frame).resize((width, height), image.Resampling.BILINEAR, box) for frame in frames]
    return np.stack([np.asarray(frame) for frame in resized])


def _recolour(frames: Frames, gains: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Frames:
    """Brightness, contrast (about the window's mean luma) and saturation, each times a gain, as one affine map."""
    brightness, contrast, saturation = gains.astype(np.float32)
    pixels = frames.reshape(-1, 3).astype(np.float32)
    # saturation: a pixel's distance from its own luma; contrast: from the mean luma
    matrix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * np.outer(_LUMA, np.ones(3, np.float32))
    mean = pixels.mean(axis=0) @ _LUMA
    out = pixels @ (matrix * (brightness * contrast))
    out += np.float32(brightness * (1 - contrast) * mean + 0.5)
    np.clip(out, 0, 255, out=out)
    return out.astype(np.uint8).reshape(frames.shape)
