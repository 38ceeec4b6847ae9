"""Windows are drawn evenly from scenes and recordings, and judged by the runtime's own features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from support.corpus import write_config

from ascstream.frontend import audio_tensor
from engines.manifest import LogMelFeature
from trainer.config import AugmentConfig, Config, load_config
from trainer.data.windows import WindowSampler, recording_features


def plain_config(tmp_path: Path) -> Config:
    config = load_config(write_config(tmp_path / "toy.toml"))
    quiet = AugmentConfig(
        gain_db=0, tilt_probability=0, lowpass_probability=0, noise_probability=0, mix_probability=0, mixup=0,
        style_probability=0, band_mask=0, hop_mask=0,
    )  # fmt: skip
    return replace(config, augment=quiet)


def constants(levels: list[float], seconds: list[float]) -> list[np.ndarray]:
    """Noise of a level each, so that a window's level tells which recording it is from."""
    rng = np.random.default_rng(0)
    pairs = zip(levels, seconds, strict=True)
    return [(level * rng.standard_normal(round(24_000 * length))).astype(np.float32) for level, length in pairs]


def test_scenes_and_recordings_are_drawn_evenly(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    recordings = constants([1e-3, 1e-2, 1e-1], [1.0, 60.0, 1.5])
    sampler = WindowSampler(recordings, [0, 0, 1], config)
    batch = sampler.draw(400, config.audio, np.random.default_rng(1))
    assert batch.targets.sum(axis=0).tolist() == [200, 200]
    level = batch.features.mean(axis=(1, 2, 3))
    middle = level[batch.targets[:, 0] == 1]
    first = (middle < (middle.min() + middle.max()) / 2).sum()
    assert 70 <= first <= 130
    assert level[batch.targets[:, 1] == 1].min() > middle.max()


def test_draws_follow_from_the_numbers(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "toy.toml"))
    sampler = WindowSampler(constants([0.1, 0.1], [2.0, 2.0]), [0, 1], config)
    first, again = (sampler.draw(8, config.audio, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.features, again.features)


def test_measured_bands_have_no_mean_and_unit_spread(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "toy.toml"))
    sampler = WindowSampler(constants([0.1, 0.01], [3.0, 3.0]), [0, 1], config)
    audio = sampler.measure(np.random.default_rng(0))
    assert isinstance(audio.feature, LogMelFeature)
    assert len(audio.normalisation.mean or ()) == audio.feature.n_mels
    plain = replace(config, augment=replace(config.augment, band_mask=0, hop_mask=0))
    features = (
        WindowSampler(constants([0.1, 0.01], [3.0, 3.0]), [0, 1], plain)
        .draw(512, audio, np.random.default_rng(9))
        .features
    )
    assert np.abs(features.mean(axis=(0, 1, 3))).max() < 0.2
    assert 0.8 < features.std() < 1.2


def test_a_recording_is_cut_into_whole_windows_on_the_step(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    (samples,) = constants([0.1], [2.9])
    features = recording_features(samples, config.audio, 24_000, 12_000)
    assert features.shape == (4, 1, 64, 48)
    np.testing.assert_array_equal(features[3], audio_tensor(samples[None, 36_000:60_000], config.audio))
