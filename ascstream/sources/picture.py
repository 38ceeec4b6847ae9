"""Turns a decoded frame into the picture a bundle wants: scaled by FFmpeg, rotated upright, cropped."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from ascstream.records import Image
from ascstream.sources.base import VideoWants

_MAX_SCALED_PIXELS = 1 << 26
"""The largest size a manifest may want, 4096 × 4096, times four to allow for what cropping removes."""
_SCALERS = {
    "bilinear": Interpolation.BILINEAR,
    "bicubic": Interpolation.BICUBIC,
    "area": Interpolation.AREA,
    "lanczos": Interpolation.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How to scale and crop a displayed picture."""

    width: int
    """Width to scale the upright picture to, in pixels."""
    height: int
    """Height to scale the upright picture to, in pixels."""
    left: int
    """Columns to crop from the left of the scaled picture."""
    top: int
    """Rows to crop from the top of the scaled picture."""


def lay_out(width: Fraction, height: Fraction, wants: VideoWants) -> Layout:
    """Compute scaled size and crop for a picture displayed at `width` × `height` square pixels.

    With crop, the short side becomes `short_side`, or more if the crop would not fit; the long side is rounded down
    and the crop is centred with rounding to even, as torchvision's Resize and CenterCrop do.
    """
    if wants.fit == "squash":
        return Layout(wants.width, wants.height, 0, 0)
    short_side = wants.short_side or max(wants.width, wants.height)
    scale = max(short_side / min(width, height), wants.width / width, wants.height / height)
    scaled_width, scaled_height = int(width * scale), int(height * scale)
    left, top = round((scaled_width - wants.width) / 2), round((scaled_height - wants.height) / 2)
    return Layout(scaled_width, scaled_height, left, top)


class PictureMaker:
    """Makes pictures of the wanted form from decoded frames of any size, format and orientation."""

    def __init__(self, wants: VideoWants) -> None:
        self._wants = wants
        self._reformatter = VideoReformatter()

    def make(self, frame: av.VideoFrame, pixel_aspect: Fraction) -> Image:
        """Scale, rotate and crop one frame.

        Args:
            frame: The frame as decoded.
            pixel_aspect: Width of a pixel divided by its height.

        Returns:
            [height, width, 3], contiguous.

        Raises:
            ValueError: The frame is so long and thin that scaling its short side would exhaust memory.
        """
        quarter_turns = round(frame.rotation / 90) % 4
        shown = (frame.width * pixel_aspect, Fraction(frame.height))
        layout = lay_out(*(shown[::-1] if quarter_turns % 2 else shown), self._wants)
        width, height = layout.width, layout.height
        if width * height > _MAX_SCALED_PIXELS:
            raise ValueError(f"expected at most {_MAX_SCALED_PIXELS} scaled pixels, got {width} × {height}")
        if quarter_turns % 2:
            width, height = height, width
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=_SCALERS[self._wants.interpolation],
            threads=1,
        )
        plane: Any = scaled.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, : 3 * width]
        upright = np.rot90(rows.reshape(height, width, 3), quarter_turns)
        cut = upright[layout.top : layout.top + self._wants.height, layout.left : layout.left + self._wants.width]
        return np.ascontiguousarray(cut)
