"""Augmentation of samples does what it says: gains in dB, filters where they belong, both channels alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import AugmentConfig
from trainer.data.augment import SampleAugmenter, lead_samples, mix_in, quick_length

RATE, N_SAMPLES, LEAD = 24_000, 27_000, 3_000
NOTHING = AugmentConfig(
    mono_probability=0,
    gain_db=0,
    response_probability=0,
    tilt_probability=0,
    lowpass_probability=0,
    noise_probability=0,
    mix_probability=0,
    mixup=0,
    style_probability=0,
    band_mask=0,
    hop_mask=0,
)


def config(**changes: float) -> AugmentConfig:
    from dataclasses import replace

    return replace(NOTHING, **changes)


def noise(seed: int = 0, n: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, N_SAMPLES)).astype(np.float32)


def augmented(settings: AugmentConfig, stretches: np.ndarray, responses=(), seed: int = 0) -> np.ndarray:
    """Each row of `stretches` [n, N_SAMPLES] as a window of its own."""
    augment = SampleAugmenter(settings, RATE, N_SAMPLES, LEAD, responses)
    rng = np.random.default_rng(seed)
    return np.concatenate([augment(row[None], rng) for row in stretches])


def power(samples: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(samples.size, 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].mean())


def test_nothing_switched_on_changes_nothing() -> None:
    stretches = noise()
    np.testing.assert_allclose(augmented(NOTHING, stretches), stretches[:, LEAD:], atol=1e-5)


def test_gains_stay_within_their_range_and_use_it() -> None:
    stretches = np.repeat(noise(), 200, axis=0)
    decibels = 20 * np.log10(augmented(config(gain_db=12), stretches).std(axis=1) / stretches[0, LEAD:].std())
    assert -12.01 <= decibels.min() < -9
    assert 9 < decibels.max() <= 12.01


def test_a_response_is_a_convolution() -> None:
    response = np.zeros(100, np.float32)
    response[[0, 60]] = 0.8, 0.6
    stretches = noise()
    got = augmented(config(response_probability=1), stretches, [response])
    expected = np.convolve(stretches[0], response)[LEAD:N_SAMPLES]
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def test_a_low_pass_takes_only_what_lies_above() -> None:
    stretches = noise(1, 20)
    for samples in augmented(config(lowpass_probability=1, lowpass_hertz=6000), stretches, seed=3):
        assert power(samples, 100, 5000) == pytest.approx(power(stretches[0, LEAD:], 100, 5000), rel=0.2)
    steep = augmented(config(lowpass_probability=1, lowpass_hertz=11_999), stretches[:1])
    assert power(steep[0], 100, 11_000) == pytest.approx(power(stretches[0, LEAD:], 100, 11_000), rel=0.2)


def test_added_noise_keeps_its_distance() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(N_SAMPLES) / RATE).astype(np.float32)[None]
    for seed in range(20):
        rest = augmented(config(noise_probability=1, noise_snr_db=10), tone, seed=seed)[0] - tone[0, LEAD:]
        decibels = 10 * np.log10(np.mean(tone**2) / np.mean(rest**2))
        assert 9 < decibels < 51


def test_a_window_mixed_in_is_never_louder() -> None:
    rng = np.random.default_rng(0)
    first, second = noise(1)[0], 30 * noise(2)[0]
    for _ in range(20):
        added = mix_in(first, second, rng) - first
        assert -10.1 < 20 * np.log10(added.std() / first.std()) < 0.1


def test_stereo_has_one_filter_and_noise_of_its_own_in_each_channel() -> None:
    left = noise()
    stretch = np.concatenate([left, left])
    settings = config(gain_db=6, tilt_probability=1, tilt_db=4, lowpass_probability=1, lowpass_hertz=4000)
    augment = SampleAugmenter(settings, RATE, N_SAMPLES, LEAD, ())
    both = augment(stretch, np.random.default_rng(2))
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    np.testing.assert_allclose(both[:1], augment(left, np.random.default_rng(2)), atol=1e-5)
    assert np.abs(both[0] - left[0, LEAD:]).max() > 0.1
    noisy = SampleAugmenter(config(noise_probability=1, noise_snr_db=0), RATE, N_SAMPLES, LEAD, ())
    rest = noisy(stretch, np.random.default_rng(3)) - stretch[:, LEAD:]
    assert abs(np.corrcoef(rest)[0, 1]) < 0.05


def test_a_mono_microphone_gives_both_channels_their_mean() -> None:
    stretch = np.concatenate([noise(1), noise(2)])
    always = SampleAugmenter(config(mono_probability=1), RATE, N_SAMPLES, LEAD, ())(stretch, np.random.default_rng(0))
    np.testing.assert_allclose(always, np.tile(stretch.mean(axis=0)[LEAD:], (2, 1)), atol=1e-6)
    never = SampleAugmenter(config(mono_probability=0), RATE, N_SAMPLES, LEAD, ())(stretch, np.random.default_rng(0))
    np.testing.assert_allclose(never, stretch[:, LEAD:], atol=1e-6)


def test_a_quiet_low_cut_at_a_high_rate_overflows_nothing() -> None:
    augment = SampleAugmenter(config(lowpass_probability=1, lowpass_hertz=30), 96_000, 27_000, 3_000, ())
    for seed in range(5):
        assert np.isfinite(augment(noise(), np.random.default_rng(seed))).all()


@given(at_least=st.integers(2, 200_000))
def test_a_quick_length_is_even_and_of_small_factors(at_least: int) -> None:
    length = quick_length(at_least)
    assert at_least <= length <= 1.2 * at_least + 2
    assert length % 2 == 0
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


def test_filters_alone_want_a_lead() -> None:
    assert lead_samples(config(gain_db=6, noise_probability=1), RATE, 24_000) == 0
    assert lead_samples(config(tilt_probability=1), RATE, 24_000) == 3_000
    assert 24_000 <= lead_samples(config(tilt_probability=1), 48_000, 480_000) <= 27_000
