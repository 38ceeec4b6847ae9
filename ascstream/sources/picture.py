"""A decoded frame to the picture a bundle wants: scaled by FFmpeg, turned upright, cut to size."""

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
"""The largest size a manifest may want, 4096 × 4096, four times over for what a cut takes away."""
_SCALERS = {
    "bilinear": Interpolation.BILINEAR,
    "bicubic": Interpolation.BICUBIC,
    "area": Interpolation.AREA,
    "lanczos": Interpolation.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a displayed picture becomes the wanted one."""

    width: int
    """Scale the upright picture to this width,"""
    height: int
    """and this height, in pixels;"""
    left: int
    """then cut this many columns off its left"""
    top: int
    """and rows off its top."""


def lay_out(width: Fraction, height: Fraction, wants: VideoWants) -> Layout:
    """Find size and cut for a picture displayed at `width` × `height` square pixels.

    With crop, the short side becomes `short_side`, or more where the cut would reach outside; the long side is rounded
    down and the cut is central, rounded to even, as torchvision's Resize and CenterCrop do.
    """
    if wants.fit == "squash":
        return Layout(wants.width, wants.height, 0, 0)
    short_side = wants.short_side or max(wants.width, wants.height)
    scale = max(short_side / min(width, height), wants.width / width, wants.height / height)
    scaled_width, scaled_height = int(width * scale), int(height * scale)
    left, top = round((scaled_width - wants.width) / 2), round((scaled_height - wants.height) / 2)
    return Layout(scaled_width, scaled_height, left, top)


class PictureMaker:
    """Makes wanted pictures from decoded frames of any size, format and orientation."""

    def __init__(self, wants: VideoWants) -> None:
        self._wants = wants
        self._reformatter = VideoReformatter()

    def make(self, frame: av.VideoFrame, pixel_aspect: Fraction) -> Image:
        """Scale, turn and cut one frame.

        Args:
            frame: As decoded.
            pixel_aspect: Width by height of one pixel.

        Returns:
            [height, width, 3], contiguous.

        Raises:
            ValueError: It is so long and thin that scaling its short side would fill the memory.
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
