"""Sound of the synthetic scenes: noise, engines, voices, steps and birds, mixed as typical of each scene."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 48_000
_FULL = (1 << 23) - 1
"""Largest 24-bit sample."""
_PEAK = 0.7
"""Maximum peak; louder clips are scaled down to it."""
_ABSENT = -90.0
"""Level in dB that marks an ingredient as absent: it is not generated."""
_PAD = 240
"""Clips are generated at a multiple of this many samples and then cut, so that the transform is always fast."""

Stereo = NDArray[np.float32]
"""[2, n_samples] float32."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Levels of a scene's ingredients, in dB relative to each other."""

    noise: float
    """Background noise."""
    slope: float
    """Spectral slope of that noise, in dB per octave above 60 Hz."""
    engine: float = _ABSENT
    """Harmonics of an engine."""
    engine_hertz: float = 40.0
    """Fundamental frequency of the engine."""
    traffic: float = _ABSENT
    """Noise of passing vehicles, swelling within seconds."""
    voices: float = _ABSENT
    """Many voices, with a syllable rhythm."""
    steps: float = _ABSENT
    """Footsteps."""
    birds: float = _ABSENT
    """Bird chirps."""
    squeal: float = _ABSENT
    """Wheels in a curve: a high tone that comes and goes."""
    music: float = _ABSENT
    """Slow chords, or a gong before an announcement."""


MIXES = {  # similar on purpose: bus and tram, metro and tram, the two streets; airport hall and mall share much
    "airport": Mix(0, -5, engine=-22, engine_hertz=98, voices=-4, steps=-10, music=-14),
    "bus": Mix(2, -8, engine=0, engine_hertz=34, traffic=-10, voices=-14),
    "metro": Mix(6, -7, engine=-8, engine_hertz=52, squeal=-12, voices=-16),
    "metro_station": Mix(0, -6, traffic=-2, voices=-8, steps=-6, squeal=-18, music=-22),
    "park": Mix(-4, -7, traffic=-14, voices=-20, steps=-16, birds=-4),
    "public_square": Mix(0, -6, traffic=-8, voices=-6, steps=-10, birds=-16),
    "shopping_mall": Mix(-2, -5, voices=-2, steps=-12, music=-6),
    "street_pedestrian": Mix(-1, -6, traffic=-12, voices=-4, steps=-2, birds=-22),
    "street_traffic": Mix(0, -6, engine=-12, engine_hertz=46, traffic=2, voices=-18, steps=-18),
    "tram": Mix(2, -8, engine=-6, engine_hertz=70, traffic=-16, squeal=-8, voices=-12),
}
"""The mix of each scene."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location: its variation of the scene, the same in all of its clips."""

    mix: Mix
    """The scene's mix with this location's own levels."""
    level: float
    """Loudness in dBFS; the real corpus ranges from −61 to −25."""
    tilt: float
    """Spectral tilt in dB per octave around 1 kHz, as rooms and streets differ."""


def draw_place(scene: str, rng: np.random.Generator) -> Place:
    """Draw a location of a scene, varying every level by some dB."""
    mix = MIXES[scene]
    values = {}
    for field in fields(Mix):
        value = getattr(mix, field.name)
        if field.name == "slope":
            values[field.name] = value + rng.normal(0, 0.8)
        elif field.name == "engine_hertz":
            values[field.name] = value * 2 ** rng.normal(0, 0.2)
        else:
            values[field.name] = value + rng.normal(0, 4.0) if value > _ABSENT else value
    return Place(Mix(**values), rng.uniform(-50, -30), rng.normal(0, 1.0))


def make_sound(place: Place, n_samples: int, rng: np.random.Generator) -> Stereo:
    """Generate sound [2, n_samples] float32 of a location.

    Args:
        place: The location.
        n_samples: Length at 48 kHz.
        rng: Random generator of this clip.
    """
    mix = place.mix
    n = -(-n_samples // _PAD) * _PAD
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0) / 60.0).astype(np.float32)
    tilt = place.tilt * (octaves - np.float32(np.log2(1000 / 60)))
    sound = _gain(mix.noise) * _noise(mix.slope * octaves + tilt, n, rng)
    if mix.traffic > _ABSENT:
        sound += _gain(mix.traffic) * _swell(n, 0.4, rng) * _noise(-4 * octaves + tilt, n, rng)
    if mix.voices > _ABSENT:
        sound += _gain(mix.voices) * _voices(octaves + np.float32(np.log2(60)), n, rng)
    if mix.engine > _ABSENT:
        sound += _gain(mix.engine) * _tone(mix.engine_hertz * (1 + 0.04 * _wander(n, 0.5, rng)), _ENGINE)
    if mix.squeal > _ABSENT:
        hertz = rng.uniform(1800, 3600) * (1 + 0.02 * _wander(n, 2.0, rng))
        sound += _gain(mix.squeal) * _swell(n, 0.6, rng) * _tone(hertz, _PURE)
    if mix.music > _ABSENT:
        sound += _gain(mix.music) * _music(n, rng)
    if mix.steps > _ABSENT:
        _add_steps(sound, _gain(mix.steps), rng)
    if mix.birds > _ABSENT:
        _add_birds(sound, _gain(mix.birds), rng)
    return _levelled(sound[:, :n_samples], place.level + rng.normal(0, 1.5))


def to_pcm24(samples: Stereo) -> bytes:
    """Samples as interleaved little-endian 24-bit PCM; n_samples × 2 × 3 bytes."""
    whole = np.rint(samples.T * _FULL).astype("<i4")
    return np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _wave(harmonics: list[float]) -> NDArray[np.float32]:
    """One period of a tone with these harmonic amplitudes, 2,048 samples, RMS 1."""
    phase = 2 * np.pi * np.arange(2048) / 2048
    wave = np.sum([level * np.sin((k + 1) * phase + k) for k, level in enumerate(harmonics)], axis=0)
    return np.asarray(wave / np.sqrt(np.mean(wave**2)), np.float32)


_ENGINE = _wave([1.0, 0.8, 0.5, 0.6, 0.3, 0.25, 0.2, 0.1])
_PURE = _wave([1.0, 0.1])


def _gain(level: float) -> np.float32:
    """Convert a level in dB to a factor."""
    return np.float32(10 ** (level / 20))


def _noise(levels: NDArray[np.float32], n: int, rng: np.random.Generator) -> Stereo:
    """[2, n] noise with this magnitude spectrum in dB, RMS 1, independent in the left and right channels."""
    gains = np.float32(10) ** (levels / np.float32(20))
    gains[0] = 0
    parts = rng.standard_normal((2, gains.size, 2), dtype=np.float32) * gains[:, None]
    noise: Stereo = np.fft.irfft(parts.view(np.complex64)[..., 0], n).astype(np.float32)
    noise /= np.sqrt(np.mean(np.square(noise)))
    return noise


def _wander(n: int, rate: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """[n] in −1…1, linear between random values, `rate` of them per second."""
    knots = rng.uniform(-1, 1, max(2, int(n / SAMPLE_RATE * rate) + 2))
    return np.interp(np.arange(n, dtype=np.float32), np.linspace(0, n, knots.size), knots).astype(np.float32)


def _swell(n: int, rate: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """[n] in 0…1, mostly low: something passes now and then."""
    return np.square(np.maximum(0.1, _wander(n, rate, rng)))


def _tone(hertz: NDArray[np.float32], wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n] periodic tone whose frequency follows `hertz`."""
    phase = np.cumsum(hertz * np.float32(wave.size / SAMPLE_RATE), dtype=np.float64)
    return wave.take(phase.astype(np.int64) & (wave.size - 1))


def _voices(octaves: NDArray[np.float32], n: int, rng: np.random.Generator) -> Stereo:
    """[2, n] noise around 500 to 900 Hz, modulated like syllables, about four per second."""
    levels = np.float32(-9) * np.abs(octaves - np.float32(np.log2(rng.uniform(500, 900))))
    voices = _noise(levels, n, rng)
    voices *= np.float32(0.4) + np.abs(_wander(n, 8.0, rng))
    return voices


def _music(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """[n] two notes at a time, one second each, decaying."""
    n_notes = -(-n // SAMPLE_RATE)
    notes = 220.0 * 2 ** (rng.choice([0, 3, 5, 7, 10, 12, 15], (2, n_notes)) / 12)
    fade: NDArray[np.float32] = np.tile(np.exp(-2.5 * np.arange(SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE), n_notes)[
        :n
    ]
    hertz = np.repeat(notes.astype(np.float32), SAMPLE_RATE, axis=1)[:, :n]
    fade *= _tone(hertz[0], _PURE) + _tone(hertz[1], _PURE)
    return fade


def _add_steps(sound: Stereo, gain: np.float32, rng: np.random.Generator) -> None:
    """Add walkers, each with its own pace, stereo position and click sound, in place."""
    length = 2400
    fall = np.exp(-np.arange(length, dtype=np.float32) / 260)
    for _ in range(int(rng.integers(1, 5))):
        click = 6 * gain * fall * rng.standard_normal(length, dtype=np.float32)
        sides = _sides(rng)
        pace = SAMPLE_RATE * rng.uniform(0.45, 0.65)
        for start in np.arange(rng.uniform(0, pace), sound.shape[1] - length, pace).astype(int):
            sound[:, start : start + length] += sides * click


def _add_birds(sound: Stereo, gain: np.float32, rng: np.random.Generator) -> None:
    """Add chirps that rise or fall, in calls of several syllables, in place."""
    length = 3600
    inside = np.arange(length, dtype=np.float32) / length
    for _ in range(max(2, round(sound.shape[1] / SAMPLE_RATE * 0.8))):
        hertz = rng.uniform(2500, 5500) + rng.uniform(-1800, 1800) * inside
        chirp = 3 * gain * np.sin(np.pi * inside) ** 2 * _tone(hertz.astype(np.float32), _PURE)
        sides = _sides(rng)
        first = int(rng.integers(max(1, sound.shape[1] - 6 * length)))
        for start in range(first, first + int(rng.integers(2, 6)) * length, length):
            part = sound[:, start : start + length]
            part += sides * chirp[: part.shape[1]]


def _sides(rng: np.random.Generator) -> Stereo:
    """[2, 1] equal-power gains that pan a sound to a random stereo position."""
    left = rng.uniform(0.1, 0.9)
    return np.sqrt(np.array([[left], [1 - left]], np.float32))


def _levelled(sound: Stereo, level: float) -> Stereo:
    """Scale the sound to `level` dBFS, or lower if it would exceed the maximum peak."""
    rms, peak = float(np.sqrt(np.mean(np.square(sound)))), float(np.abs(sound).max())
    return sound * np.float32(min(10 ** (level / 20) / rms, _PEAK / peak))
