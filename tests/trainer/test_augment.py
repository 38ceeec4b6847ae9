"""Augmentation does what it says: gains in dB, filters where they belong, masks of at most their length."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.config import AugmentConfig
from trainer.data.augment import SampleAugmenter, mask, mix_in, mix_styles, mix_up

RATE, N_SAMPLES, LEAD = 24_000, 27_000, 3_000
NOTHING = AugmentConfig(
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
    augment = SampleAugmenter(settings, RATE, N_SAMPLES, LEAD, responses)
    return augment(stretches, np.random.default_rng(seed))


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


def test_masks_are_at_most_their_length() -> None:
    features = np.ones((50, 1, 64, 48), np.float32)
    mask(features, config(band_mask=12, hop_mask=0), np.random.default_rng(0))
    rows = features[:, 0].min(axis=2)
    assert set(np.unique(features)) == {0.0, 1.0}
    assert 12 < (rows == 0).sum(axis=1).max() <= 24
    mask(features, NOTHING, np.random.default_rng(0))
    assert (features[:, 0].max(axis=1) == 1).all()


def test_mixup_mixes_features_as_it_mixes_targets() -> None:
    targets = np.eye(4, dtype=np.float32)
    features = targets[:, None, :, None] * np.ones((1, 1, 1, 3), np.float32)
    mixed, shares = mix_up(features, targets, 0.5, np.random.default_rng(0))
    np.testing.assert_allclose(mixed[:, 0, :, 0], shares, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    assert (np.diag(shares) >= 0.5).all()
    same, _ = mix_up(features, targets, 0.0, np.random.default_rng(0))
    assert same is features


def test_styles_change_and_patterns_stay() -> None:
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((6, 1, 8, 40)) * rng.uniform(1, 3, (6, 1, 8, 1))).astype(np.float32)
    np.testing.assert_allclose(mix_styles(features, 0.0, rng), features, atol=1e-5)
    styled = mix_styles(features, 1.0, rng)
    assert np.abs(styled - features).max() > 0.1
    for before, after in zip(features.reshape(-1, 40), styled.reshape(-1, 40), strict=True):
        assert np.corrcoef(before, after)[0, 1] > 0.9999
