"""Turns a picture, already at the network's input size, into the network's input tensor."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ascstream.records import Image
from engines.manifest import VideoInput


def image_tensor(image: Image, video: VideoInput) -> NDArray[np.float32]:
    """(pixel · scale − mean) / std, with one plane per colour.

    Args:
        image: [height, width, 3] uint8, RGB.
        video: Gives the size, the order of the planes, scale, mean and std.

    Returns:
        [3, height, width] float32.

    Raises:
        ValueError: The image has another shape or dtype.
    """
    expected = (video.height, video.width, 3)
    if image.shape != expected or image.dtype != np.uint8:
        raise ValueError(f"expected an image of {list(expected)} uint8, got {list(image.shape)} {image.dtype}")
    gain, offset = _gain_and_offset(video.scale, video.mean, video.std)
    out = np.empty((3, video.height, video.width), np.float32)
    planes = image.transpose(2, 0, 1)
    np.multiply(planes if video.channel_order == "rgb" else planes[::-1], gain, out=out)
    out += offset
    return out


@lru_cache(maxsize=16)
def _gain_and_offset(
    scale: float, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gain and offset, [3, 1, 1] each, such that pixel · gain + offset is the same map."""
    divisor = np.array(std)
    gain = (scale / divisor).astype(np.float32).reshape(3, 1, 1)
    offset = (-np.array(mean) / divisor).astype(np.float32).reshape(3, 1, 1)
    gain.flags.writeable = offset.flags.writeable = False
    return gain, offset
