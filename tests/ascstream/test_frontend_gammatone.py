"""Gammatone energies against the biquads they stand for, run by scipy in float64, and against a published package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.signal
from numpy.typing import NDArray
from support.recordings import data_folder, recording

from ascstream.features.gammatone import centre_frequencies, power_response
from ascstream.frontend import Gammatone, audio_tensor
from engines.errors import ManifestError
from engines.manifest import AudioInput, GammatoneFeature, Normalisation

RATE = 44_100
SPEC = GammatoneFeature("gammatone", "fft", 1764, 882, 64, 0.0, 22_050.0)
SETTLED = 5
"""Hops until biquads started from zero have forgotten it."""


def cascade(centre: float) -> NDArray[np.float64]:
    """Slaney's four biquads [4, 6] with unity gain at the centre, from his coefficients, not ours."""
    period = 1 / RATE
    decay = np.exp(-1.019 * 2 * np.pi * (centre / 9.26449 + 24.7) * period)
    phase = 2 * np.pi * centre * period
    roots = (3 + 2**1.5) ** 0.5, (3 - 2**1.5) ** 0.5
    sections = np.array(
        [
            [period, -period * decay * (np.cos(phase) + g * np.sin(phase)), 0, 1, -2 * np.cos(phase) * decay, decay**2]
            for g in (roots[0], -roots[0], roots[1], -roots[1])
        ]
    )
    _, gain = scipy.signal.sosfreqz(sections, worN=[centre], fs=RATE)
    sections[0, :3] /= np.abs(gain[0])
    return sections


def by_biquads(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """RMS in dB of every 40-ms hop after each filter: [n_bands, n_hops], filtered from the first sample on."""
    starts = np.arange(0, len(samples) - SPEC.window_length + 1, SPEC.hop_length)
    rows = []
    for centre in centre_frequencies(SPEC):
        filtered = scipy.signal.sosfilt(cascade(centre), samples.astype(np.float64))
        energy = np.concatenate(([0.0], np.cumsum(np.square(filtered))))
        rows.append((energy[starts + SPEC.window_length] - energy[starts]) / SPEC.window_length)
    return 10 * np.log10(np.maximum(rows, 1e-20))


def noise(seconds: float = 1.0, n_channels: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((n_channels, round(seconds * RATE)))).astype(np.float32)


def test_centres_are_those_of_the_reference_system() -> None:
    centres = centre_frequencies(SPEC)
    np.testing.assert_allclose(centres[[0, 1, 2, -3, -2, -1]], [20511.9, 19080, 17746.9, 35.2, 17.0, 0.0], atol=0.06)


def test_weights_are_the_response_of_the_biquads() -> None:
    centres = centre_frequencies(SPEC)
    frequencies = np.linspace(0, RATE / 2, 501)
    ours = power_response(centres, frequencies, RATE)
    for row, centre in zip(ours, centres, strict=True):
        _, response = scipy.signal.sosfreqz(cascade(centre), worN=frequencies, fs=RATE)
        np.testing.assert_allclose(row, np.abs(response) ** 2, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(np.diag(power_response(centres, centres, RATE)), 1, rtol=1e-12)


@pytest.mark.parametrize(("band", "limit"), [(0, 0.05), (10, 0.05), (31, 0.15), (45, 0.4)])
@pytest.mark.parametrize("amplitude", [1.0, 1e-3])
def test_a_steady_tone_at_a_centre_has_its_own_level(band: int, limit: float, amplitude: float) -> None:
    """40 ms of a tone are wider than a tone: a narrow filter misses some of it."""
    centre = centre_frequencies(SPEC)[band]
    tone = amplitude * np.sin(2 * np.pi * centre * np.arange(RATE) / RATE)
    levels = Gammatone(SPEC, RATE)(tone[None].astype(np.float32))[0, band]
    np.testing.assert_allclose(levels, 20 * np.log10(amplitude / 2**0.5), rtol=0, atol=limit)


def assert_near_biquads(samples: NDArray[np.float32], mean: float, p95: float, upper_p99: float) -> None:
    """Differences in dB: the mean and 95th percentile of all bands, the 99th percentile of those above 1.6 kHz."""
    ours = Gammatone(SPEC, RATE)(samples)[0, :, SETTLED:]
    difference = np.abs(ours - by_biquads(samples[0])[:, SETTLED:])
    upper = centre_frequencies(SPEC) > 1_600
    assert difference.mean() <= mean
    assert np.percentile(difference, 95) <= p95
    assert np.percentile(difference[upper], 99) <= upper_p99


def test_noise_is_near_what_the_biquads_give() -> None:
    assert_near_biquads(noise(3.0), mean=0.7, p95=3.2, upper_p99=0.8)


@pytest.mark.data
@pytest.mark.parametrize("name", ["busy-street", "airport", "inside-a-train"])
def test_recordings_are_near_what_the_biquads_give(name: str) -> None:
    samples = recording(f"scenes_audio/moodist/{name}.mp3", RATE, 5.0)[:, 2 * RATE :]
    assert_near_biquads(samples, mean=0.8, p95=3.5, upper_p99=1.2)


def test_silence_is_200_db_down_and_the_tensor_finite() -> None:
    silence = np.zeros((2, RATE), np.float32)
    np.testing.assert_allclose(Gammatone(SPEC, RATE)(silence), -200, atol=1e-4)
    half = noise(n_channels=2)
    half[:, RATE // 2 :] = 0
    for samples in (silence, half):
        audio = AudioInput(RATE, "left,right,difference", SPEC, Normalisation("min_max", floor_db=80.0))
        tensor = audio_tensor(samples, audio)
        assert np.isfinite(tensor).all()
        assert tensor.min() == -1


def test_the_level_of_the_input_does_not_matter_after_min_max() -> None:
    audio = AudioInput(RATE, "left,right,difference", SPEC, Normalisation("min_max"), context_seconds=0.02)
    samples = noise(1.02, n_channels=2)
    loud, quiet = audio_tensor(samples, audio), audio_tensor(0.013 * samples, audio)
    assert loud.shape == (3, 64, 50)
    np.testing.assert_allclose(loud, quiet, rtol=0, atol=1e-5)


def test_row_order() -> None:
    low_first = replace(SPEC, row_order="low_to_high")
    np.testing.assert_allclose(
        Gammatone(low_first, RATE)(noise())[:, ::-1], Gammatone(SPEC, RATE)(noise()), rtol=0, atol=2e-5
    )


def test_biquads_are_refused() -> None:
    audio = AudioInput(RATE, "mono", replace(SPEC, form="iir"))
    with pytest.raises(ManifestError, match=r'feature\.form: expected "fft", the one this version computes, got "iir"'):
        audio_tensor(noise(), audio)


def test_samples_too_few_for_a_hop_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1764 samples, got 1763"):
        Gammatone(SPEC, RATE)(np.zeros((1, 1763), np.float32))


def vectors(name: str) -> tuple[Any, Any]:
    """Inputs and results of one function of the published package."""
    content = scipy.io.loadmat(data_folder() / "gammatone" / f"test_{name}_data.mat", squeeze_me=True)
    return content[f"{name.replace('filterbank', 'erb_filterbank')}_inputs"], content[
        f"{name.replace('filterbank', 'erb_filterbank')}_results"
    ]


@pytest.mark.data
def test_centres_equal_the_published_package() -> None:
    for (low, high, n_bands), expected in zip(*vectors("erbspace"), strict=True):
        spec = replace(SPEC, f_min=float(low), f_max=float(high), n_bands=int(n_bands))
        np.testing.assert_allclose(centre_frequencies(spec), np.atleast_1d(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.data
def test_responses_equal_the_published_package() -> None:
    for (rate, centres), expected in zip(*vectors("erb_filter"), strict=True):
        frequencies = np.linspace(0, float(rate) / 2, 101)
        ours = power_response(np.atleast_1d(centres).astype(np.float64), frequencies, int(rate))
        for row, (a0, a11, a12, a13, a14, a2, b0, b1, b2, gain) in zip(ours, np.atleast_2d(expected), strict=True):
            sections = np.array([[a0, a1, a2, b0, b1, b2] for a1 in (a11, a12, a13, a14)])
            _, response = scipy.signal.sosfreqz(sections, worN=frequencies, fs=float(rate))
            np.testing.assert_allclose(row, np.abs(response / gain) ** 2, rtol=1e-6, atol=1e-15)


@pytest.mark.data
def test_the_biquads_of_these_tests_are_those_of_the_published_package() -> None:
    """Its coefficients filter its signals to its results in scipy as well: the reference above is the right one."""
    for (coefficients, wave), expected in zip(*vectors("filterbank"), strict=True):
        for (a0, a11, a12, a13, a14, a2, b0, b1, b2, gain), row in zip(coefficients, expected, strict=True):
            sections = np.array([[a0, a1, a2, b0, b1, b2] for a1 in (a11, a12, a13, a14)])
            filtered = scipy.signal.sosfilt(sections, wave) / gain
            np.testing.assert_allclose(filtered, row, rtol=1e-6, atol=1e-9 * np.abs(row).max())
