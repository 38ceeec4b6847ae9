"""Batches are mixed, masked and robbed of a modality as the configuration says: inputs and labels alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.manifest import AudioInput, LogMelFeature
from trainer.config import AugmentConfig
from trainer.data.mixing import bands_axis, clear_absent, drop_modalities, mask, mix_styles, mix_up

NOTHING = AugmentConfig(mixup=0, style_probability=0, band_mask=0, hop_mask=0, drop_audio=0, drop_video=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def audio_visual(n: int = 6) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A batch in which window k's every number is 1 in row k of a one-hot code."""
    code = np.eye(n, dtype=np.float32)
    inputs = {
        "features": np.tile(code[:, None, :, None], (1, 1, 1, 3)),
        "waveform": np.tile(code[:, None], (1, 2, 1)),
        "frames": np.tile(code[:, None, None, :, None], (1, 2, 3, 1, 4)),
        "presence": np.ones((n, 2), np.float32),
    }
    return inputs, code.copy()


def test_masks_are_at_most_their_length_and_alike_in_all_channels() -> None:
    features = np.ones((50, 2, 64, 48), np.float32)
    mask(features, replace(NOTHING, band_mask=12), 2, rng())
    rows = features.min(axis=3)
    assert set(np.unique(features)) == {0.0, 1.0}
    assert 12 < (rows[:, 0] == 0).sum(axis=1).max() <= 24
    np.testing.assert_array_equal(features[:, 0], features[:, 1])
    mask(features, NOTHING, 2, rng())
    assert (features.max(axis=(1, 2)) == 1).all()


def test_masks_find_bands_and_hops_in_either_layout() -> None:
    features = np.ones((40, 1, 48, 64), np.float32)
    mask(features, replace(NOTHING, band_mask=10), 3, rng(1))
    assert (features.max(axis=3) == 1).all()
    assert (features.max(axis=2) == 0).any()
    feature = LogMelFeature(kind="logmel", n_fft=64, window_length=64, hop_length=32, n_mels=4, f_min=0, f_max=100)
    assert bands_axis(AudioInput(1000, "mono", feature)) == 2
    assert bands_axis(AudioInput(1000, "mono", replace(feature, layout="time_mel"))) == 3


def test_mixup_mixes_every_input_as_it_mixes_targets() -> None:
    inputs, targets = audio_visual()
    mixed, shares = mix_up(inputs, targets, replace(NOTHING, mixup=0.5), 0, rng())
    np.testing.assert_allclose(mixed["features"][:, 0, :, 0], shares, atol=1e-6)
    np.testing.assert_allclose(mixed["waveform"][:, 1], shares, atol=1e-6)
    np.testing.assert_allclose(mixed["frames"][:, 1, 2, :, 3], shares, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    assert (np.diag(shares) >= 0.5).all()
    assert np.diag(shares).min() < 0.999
    assert (mixed["presence"] == 1).all()
    np.testing.assert_array_equal(inputs["features"][:, 0, :, 0], targets)


def test_forms_of_mixup() -> None:
    inputs, targets = audio_visual(12)

    def kept(form: str, number: int, alpha: float = 1.0) -> np.ndarray:
        settings = replace(NOTHING, mixup=alpha, mixup_form=form)
        mixed = mix_up(inputs, targets, settings, number, rng(3))[1]
        return np.round(mixed.max(axis=1), 5)

    assert len(set(kept("pair", 0))) > 6
    for shares in (kept("batch", 0), kept("batch", 1), kept("every_other", 1)):
        assert len(set(shares) - {1.0}) == 1
    assert (kept("every_other", 0) == 1).all()
    assert (kept("pair", 0, 0.0) == 1).all()


def test_a_mixture_has_what_both_have() -> None:
    inputs, targets = audio_visual(40)
    inputs["presence"][::4, 0] = 0
    inputs["presence"][1::4, 1] = 0
    clear_absent(inputs)
    mixed, shares = mix_up(inputs, targets, replace(NOTHING, mixup=2.0), 0, rng(5))
    partner = np.array([np.flatnonzero(row)[np.argmin(row[np.flatnonzero(row)])] for row in shares])
    before = inputs["presence"]
    for item in range(40):
        together = np.minimum(before[item], before[partner[item]]) if partner[item] != item else before[item]
        np.testing.assert_array_equal(mixed["presence"][item], together)
        assert together.any()
        assert (mixed["features"][item] == 0).all() == (together[0] == 0)
        assert (mixed["frames"][item] == 0).all() == (together[1] == 0)


def test_a_modality_is_left_out_as_often_as_asked_and_never_both() -> None:
    n = 4000
    inputs = {"features": np.ones((n, 1, 2, 2), np.float32), "frames": np.ones((n, 1, 3, 2, 2), np.float32)}
    inputs["presence"] = np.ones((n, 2), np.float32)
    inputs["presence"][:400, 1] = 0
    drop_modalities(inputs, replace(NOTHING, drop_audio=0.2, drop_video=0.1), rng())
    present = inputs["presence"]
    assert present.any(axis=1).all()
    assert (present[:400] == [1, 0]).all()
    assert 1 - present[400:, 0].mean() == pytest.approx(0.2, abs=0.03)
    assert 1 - present[400:, 1].mean() == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(inputs["features"].max(axis=(1, 2, 3)), present[:, 0])
    np.testing.assert_array_equal(inputs["frames"].max(axis=(1, 2, 3, 4)), present[:, 1])


def test_styles_change_and_patterns_stay() -> None:
    features = (rng().standard_normal((6, 2, 8, 40)) * rng(1).uniform(1, 3, (6, 1, 8, 1))).astype(np.float32)
    assert mix_styles(features, 0.0, 2, rng()) is features
    styled = mix_styles(features, 1.0, 2, rng())
    assert np.abs(styled - features).max() > 0.1
    for before, after in zip(features.transpose(0, 2, 1, 3), styled.transpose(0, 2, 1, 3), strict=True):
        for band, other in zip(before.reshape(8, -1), after.reshape(8, -1), strict=True):
            assert np.corrcoef(band, other)[0, 1] > 0.9999
    turned = mix_styles(np.ascontiguousarray(features.swapaxes(2, 3)), 1.0, 3, rng())
    np.testing.assert_allclose(turned.swapaxes(2, 3), styled, atol=1e-5)


def test_missing_sound_neither_gives_nor_takes_a_style() -> None:
    features = rng(1).normal(3.0, 2.0, (40, 1, 5, 20)).astype(np.float32)
    present = np.ones((40, 2), np.float32)
    present[::4, 0] = 0
    features[::4] = 0
    mixed = mix_styles(features, 1.0, 2, rng(2), present)
    assert not mixed[::4].any()
    heard = np.delete(np.arange(40), np.s_[::4])
    assert mixed[heard].std(axis=(1, 3)).min() > 1.0
    assert (mixed[heard] != features[heard]).any(axis=(1, 2, 3)).sum() > 15
