"""Pictures of the synthetic scenes: a static place in typical colours, moving people and vehicles, varying light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

FRAME_RATE = 25
WIDTH, HEIGHT = 192, 108
_SHAKE = 6
"""How far the camera moves in each direction, in pixels."""

Colour: TypeAlias = tuple[int, int, int]
Picture: TypeAlias = NDArray[np.uint8]
"""[height, width, 3] uint8 RGB."""


@dataclass(frozen=True, slots=True)
class Look:
    """The appearance of a scene."""

    above: Colour
    """Sky or ceiling."""
    behind: Colour
    """Walls or houses."""
    floor: Colour
    """The ground."""
    windows: int = 0
    """Number of bright or dark openings in the walls."""
    lamps: int = 0
    """Number of lights on the ceiling."""
    poles: int = 0
    """Number of vertical bars from top to bottom, like grab poles."""
    trees: int = 0
    """Number of trees: crowns on trunks."""
    people: int = 0
    """Mean number of people walking by."""
    vehicles: int = 0
    """Mean number of vehicles driving by."""


_SKY, _ASPHALT, _PAVING = (170, 195, 220), (80, 82, 86), (160, 152, 142)
LOOKS = {  # similar on purpose, as in the sound: bus and tram, metro and tram, the two streets and the square
    "airport": Look((215, 218, 222), (190, 195, 200), (150, 150, 152), windows=6, lamps=10, people=6),
    "bus": Look((150, 150, 148), (70, 85, 120), (95, 95, 100), windows=5, lamps=3, poles=3, people=1),
    "metro": Look((185, 185, 180), (60, 62, 70), (90, 85, 80), windows=5, lamps=6, poles=5, people=1),
    "metro_station": Look((95, 95, 100), (135, 128, 115), (110, 108, 105), lamps=8, poles=2, people=4, vehicles=1),
    "park": Look(_SKY, (95, 135, 80), (110, 150, 85), trees=7, people=1),
    "public_square": Look(_SKY, (175, 155, 130), _PAVING, windows=12, trees=2, people=6),
    "shopping_mall": Look((225, 215, 200), (205, 175, 140), (190, 180, 170), windows=8, lamps=12, people=6),
    "street_pedestrian": Look(_SKY, (165, 135, 115), _PAVING, windows=16, people=8),
    "street_traffic": Look(_SKY, (150, 130, 118), _ASPHALT, windows=12, trees=2, people=2, vehicles=4),
    "tram": Look((165, 165, 160), (90, 95, 85), (90, 90, 92), windows=6, lamps=3, poles=4, people=1),
}
"""The appearance of each scene."""


@dataclass(frozen=True, slots=True)
class View:
    """One location as the camera sees it, the same in all of its clips."""

    background: Picture
    """The static picture, with a margin for the camera's movement."""
    people: int
    """Mean number of people, as in the scene's `Look`."""
    vehicles: int
    """Mean number of vehicles, as in the scene's `Look`."""


@dataclass(frozen=True, slots=True)
class _Mover:
    """An object that crosses the picture."""

    top: int
    """Top edge."""
    height: int
    """In pixels."""
    width: int
    """In pixels."""
    start: float
    """Left edge in the first frame."""
    speed: float
    """Pixels per frame, positive to the right."""
    colour: NDArray[np.uint8]
    """RGB colour."""


def draw_view(scene: str, rng: np.random.Generator) -> View:
    """Draw a location of a scene: its colours, its horizon and the position of everything in it."""
    look = LOOKS[scene]
    height, width = HEIGHT + 2 * _SHAKE, WIDTH + 2 * _SHAKE
    cast = rng.normal(0, 12, 3)
    above, behind, floor = (np.array(colour) + cast + rng.normal(0, 10, 3) for colour in
                            (look.above, look.behind, look.floor))  # fmt: skip
    wall, ground = int(height * rng.uniform(0.2, 0.4)), int(height * rng.uniform(0.6, 0.75))
    canvas = np.empty((height, width, 3))
    canvas[:wall], canvas[wall:ground], canvas[ground:] = above, behind, floor
    canvas[ground:] *= np.linspace(0.85, 1.1, height - ground)[:, None, None]
    for left in np.linspace(0, width, look.windows, endpoint=False).astype(int):
        top = wall + int(rng.integers(2, 8))
        size = max(4, int(0.6 * width / look.windows))
        canvas[top : ground - int(rng.integers(4, 14)), left + 2 : left + 2 + size] = behind * rng.uniform(0.5, 1.5)
    for left in rng.integers(0, width - 14, look.lamps):
        canvas[(row := int(rng.integers(0, max(1, wall - 4)))) : row + 3, left : left + 14] = 245
    for left in rng.integers(0, width - 4, look.poles):
        canvas[:, left : left + 3] = (200, 180, 60) if rng.random() < 0.5 else (160, 162, 165)
    rows, columns = np.ogrid[:height, :width]
    for _ in range(look.trees):
        x, y, radius = rng.integers(width), rng.integers(wall, ground), rng.integers(12, 26)
        canvas[y:ground, max(0, x - 2) : x + 2] = (90, 70, 50)
        canvas[np.hypot(columns - x, rows - y) < radius] = np.array((60, 115, 55)) * rng.uniform(0.7, 1.3)
    return View(np.clip(canvas, 0, 255).astype(np.uint8), look.people, look.vehicles)


def make_frames(view: View, n_frames: int, rng: np.random.Generator) -> Iterator[Picture]:
    """Yield the frames of one clip, 25 per second: the place in this clip's light, with moving objects."""
    background = np.clip(view.background * rng.uniform(0.6, 1.25), 0, 255).astype(np.uint8)
    movers = [_draw_person(rng) for _ in range(rng.poisson(view.people))]
    movers += [_draw_vehicle(rng) for _ in range(rng.poisson(view.vehicles))]
    sway = _SHAKE * (1 + np.sin(2 * np.pi * (np.arange(n_frames)[:, None] / rng.uniform(30, 90, 2) + rng.random(2))))
    for number, (x, y) in enumerate(sway.astype(int)):
        image = background[y : y + HEIGHT, x : x + WIDTH].copy()
        for mover in movers:
            left = int(mover.start + mover.speed * number) % (WIDTH + mover.width) - mover.width
            image[mover.top : mover.top + mover.height, max(0, left) : max(0, left + mover.width)] = mover.colour
        yield image


def write_video(path: Path, frames: Iterable[Picture]) -> None:
    """Encode frames as H.264 in an MP4 without sound."""
    options = {"crf": "28", "preset": "ultrafast", "threads": "1", "g": str(FRAME_RATE)}
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", FRAME_RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _draw_person(rng: np.random.Generator) -> _Mover:
    """A walking figure of random height."""
    height = int(rng.integers(24, 60))
    speed = rng.choice((-1, 1)) * rng.uniform(0.2, 1.2)
    return _Mover(HEIGHT - 8 - height, height, height // 3, rng.uniform(0, WIDTH), speed, _paint(rng))


def _draw_vehicle(rng: np.random.Generator) -> _Mover:
    """A moving box."""
    width = int(rng.integers(40, 90))
    speed = rng.choice((-1, 1)) * rng.uniform(2.0, 6.0)
    return _Mover(
        int(rng.integers(60, 78)), int(rng.integers(18, 28)), width, rng.uniform(0, WIDTH), speed, _paint(rng)
    )


def _paint(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random colour."""
    return rng.integers(20, 230, 3, dtype=np.uint8)
