"""Generate the example clip, ten seconds by a road, then ten in a park: `python examples/make_clip.py PATH`."""

import sys
from fractions import Fraction

import av
import numpy as np

Array = np.ndarray
Colour = tuple[int, ...] | Array
SECONDS, CHANGE, SAMPLE_RATE, FRAME_RATE, WIDTH, HEIGHT = 20, 10.0, 48_000, 25, 640, 360
SPEED_OF_SOUND, PIXELS_A_METRE = 343.0, 20.0
N_SAMPLES = SECONDS * SAMPLE_RATE
CARS = [  # time of passing in s, speed in m/s (negative: leftwards), engine tone in Hz, colour
    (1.2, 14, 88, (190, 50, 45)), (3.0, -12, 74, (235, 235, 230)), (5.1, 15, 96, (45, 80, 150)),
    (6.6, -14, 66, (240, 190, 60)), (8.4, 13, 82, (60, 60, 66)), (9.8, -15, 90, (120, 140, 120)),
]  # fmt: skip
OCTAVES = (32, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)  # in Hz; the noise levels below are in dB at these
TOWN = (20, 23, 19, 16, 11, 11, 3, -8, -20, -33)
NEAR, FAR = (-10, -2, 4, 6, 8, 10, 6, -2, -12, -26), (-10, 2, 6, 8, 8, 6, -4, -16, -30, -50)  # tyre noise
WIND, LEAVES = (28, 28, 23, 18, 11, 7, -1, -9, -20, -32), (-40, -40, -30, -20, -10, -3, 0, -1, -7, -24)
HILLS = [(160, 720, 510, (105, 155, 80)), (540, 760, 540, (90, 142, 70)), (520, 60, 26, (255, 240, 190))]  # and the sun
TREES = [(60, 120, 52), (190, 150, 40), (420, 112, 60), (560, 140, 46)]  # x and y of the crown's centre, its radius


def noise(rng: np.random.Generator, levels: tuple[float, ...], depth: float = 0.0, rate: int = 1) -> Array:
    """Noise with `levels` in dB at OCTAVES; its gain varies randomly by ±`depth` around 1, `rate` times a second."""
    octaves = np.log2(np.fft.rfftfreq(N_SAMPLES, 1 / SAMPLE_RATE)[1:])
    gains = np.append(0.0, 10 ** (np.interp(octaves, np.log2(OCTAVES), levels) / 20))
    samples = np.fft.irfft(np.fft.rfft(rng.standard_normal(N_SAMPLES)) * gains, N_SAMPLES)
    knots = 1 + depth * rng.uniform(-1, 1, SECONDS * rate)
    swell = np.interp(np.arange(N_SAMPLES), np.linspace(0, N_SAMPLES, len(knots)), knots)
    return swell * samples / np.sqrt(np.mean(samples**2))


def pan(samples: Array, position: Array | float) -> Array:
    """Pan mono samples to [2, n_samples] with equal power; position −1 is left, 1 is right."""
    angle = (np.clip(position, -1, 1) + 1) * np.pi / 4
    return np.stack([np.cos(angle) * samples, np.sin(angle) * samples])


def street(rng: np.random.Generator, times: Array) -> Array:
    """The rumble of a town, and cars passing four metres away: tyres and an engine with a Doppler shift."""
    sound = 0.11 * np.stack([noise(rng, TOWN, 0.2) for _ in range(2)])
    for passes_at, speed, tone, _ in CARS:
        along = speed * (times - passes_at)
        distance = np.hypot(4.0, along)
        phase = 2 * np.pi * np.cumsum(tone / (1 + speed * along / distance / SPEED_OF_SOUND)) / SAMPLE_RATE
        engine = sum(np.sin(k * phase) / k for k in range(1, 9))
        closeness = np.clip(6.0 / distance, 0, 1)
        tyres = closeness * noise(rng, NEAR) + (1 - closeness) * noise(rng, FAR)
        sound += pan((0.06 * tyres + 0.015 * engine) * (4.0 / distance), along / distance * 0.8)
    return sound


def park(rng: np.random.Generator) -> Array:
    """Wind, leaves, and birdsong with echoes off the trees."""
    sound = np.stack([0.03 * noise(rng, WIND, 0.6, 4) + 0.001 * noise(rng, LEAVES, 0.95, 20) for _ in "LR"])
    for _ in range(70):
        place, loudness, length = rng.uniform(-0.9, 0.9), rng.uniform(0.002, 0.025), rng.uniform(0.04, 0.18)
        centre, bend, rest = rng.uniform(2500, 5200), rng.uniform(-1800, 1800), rng.uniform(0.02, 0.08)
        inside = np.arange(int(length * SAMPLE_RATE)) / (length * SAMPLE_RATE)
        phase = 2 * np.pi * length * (centre * inside + bend * (inside - 0.5) ** 2)
        syllable = loudness * np.sin(np.pi * inside) ** 2 * (np.sin(phase) + 0.12 * np.sin(2 * phase))
        at, n_syllables = rng.uniform(CHANGE - 0.5, SECONDS - 1.5), int(rng.integers(2, 9))
        for first in (int((at + index * (length + rest)) * SAMPLE_RATE) for index in range(n_syllables)):
            sound[:, first : first + len(inside)] += pan(syllable, place)
    dry = sound.copy()
    for delay, gain in ((0.031, 0.25), (0.047, 0.2), (0.083, 0.14), (0.131, 0.1), (0.197, 0.06)):
        sound[:, int(delay * SAMPLE_RATE) :] += gain * dry[::-1, : -int(delay * SAMPLE_RATE)]
    return sound


def make_sound(rng: np.random.Generator) -> Array:
    """[2, n_samples] float32: the road, then, after a short cross-fade, the park."""
    times = np.arange(N_SAMPLES) / SAMPLE_RATE
    mix = np.clip((times - CHANGE) / 0.1 + 0.5, 0, 1) * np.pi / 2
    return np.tanh(np.cos(mix) * street(rng, times) + np.sin(mix) * park(rng)).astype(np.float32)


def box(image: Array, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """Fill a rectangle, clipped to the image."""
    left, top, right, bottom = (max(0, round(value)) for value in (left, top, right, bottom))
    image[top:bottom, left:right] = colour


def disc(image: Array, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a circle with a soft edge, clipped to the image."""
    left, top = max(0, int(x - radius - 1)), max(0, int(y - radius - 1))
    part = image[top : max(0, int(y + radius + 2)), left : max(0, int(x + radius + 2))]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    part += (np.array(colour) - part) * np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)[..., None]


def make_backgrounds(rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint the static backgrounds, each [360, 640, 3]: the street and the park."""
    road = np.linspace([120, 160, 205], [205, 220, 230], HEIGHT)[:, None].repeat(WIDTH, 1)
    meadow = road.copy()
    for left in range(0, WIDTH, 80):
        top = rng.integers(50, 120)
        box(road, left, top, left + 78, 225, np.array([150, 120, 100]) * rng.uniform(0.7, 1.1))
        for x, y in ((x, y) for x in range(left + 10, left + 68, 20) for y in range(top + 12, 205, 26)):
            box(road, x, y, x + 11, y + 15, np.array([70, 85, 100]) * rng.uniform(0.8, 1.7))
    box(road, 0, 225, WIDTH, 245, (165, 162, 155))
    box(road, 0, 245, WIDTH, HEIGHT, (72, 73, 76))
    for left in range(10, WIDTH, 80):
        box(road, left, 298, left + 40, 303, (225, 225, 215))
    for x, y, radius, colour in HILLS:
        disc(meadow, x, y, radius, colour)
    return road, meadow


def draw_frame(image: Array, time: float) -> None:
    """Draw the moving parts: cars, in step with their sound, or trees swaying in the wind."""
    for passes_at, speed, _, colour in CARS if time < CHANGE else []:
        x, y = WIDTH / 2 + PIXELS_A_METRE * speed * (time - passes_at), 320 if speed > 0 else 272
        box(image, x - 45, y - 20, x + 45, y + 4, colour)
        box(image, x - 26, y - 36, x + 24, y - 20, np.array(colour) * 0.8)
        box(image, x - 20, y - 33, x + 18, y - 21, (150, 190, 205))
        for wheel in (x - 26, x + 26):
            disc(image, wheel, y + 4, 9, (25, 25, 27))
    for x, y, radius in TREES if time >= CHANGE else []:
        box(image, x - 6, y + radius - 8, x + 6, 268, (92, 68, 48))
        for dx, dy, share in ((0, 0, 1.0), (-0.5, 0.25, 0.7), (0.5, 0.2, 0.75), (0.1, -0.5, 0.7)):
            leaves = np.array([60, 120, 55]) * (1 - 0.25 * dy)
            disc(image, x + 3 * np.sin(1.3 * time + x) + dx * radius, y + dy * radius, share * radius, leaves)


def main(path: str) -> None:
    """Encode the clip as H.264 and AAC in MP4, with simulated sensor noise; the bytes are the same every time."""
    rng = np.random.default_rng(2020)
    sound, backgrounds, grain = make_sound(rng), make_backgrounds(rng), rng.normal(0, 2.5, (2 * HEIGHT, WIDTH, 3))
    with av.open(path, "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", FRAME_RATE, options={"crf": "24", "preset": "fast", "threads": "1"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", SAMPLE_RATE, layout="stereo", bit_rate=128_000)
        for index, part in enumerate(np.split(sound, SECONDS * FRAME_RATE, axis=1)):
            draw_frame(image := backgrounds[index / FRAME_RATE >= CHANGE].copy(), index / FRAME_RATE)
            pixels = np.clip(image + grain[rng.integers(HEIGHT) :][:HEIGHT], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, index * part.shape[1], Fraction(1, SAMPLE_RATE)
            container.mux(video.encode(frame) + audio.encode(block))
        container.mux(video.encode() + audio.encode())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python examples/make_clip.py PATH", file=sys.stderr)
        raise SystemExit(2)
    main(sys.argv[1])
