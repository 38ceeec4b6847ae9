"""Augmentation of a batch: MixStyle, mixup of all inputs and labels, band and hop masks, dropping a modality."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.manifest import AudioInput, LogMelFeature
from trainer.config import AugmentConfig
from trainer.data.augment import Floats
from trainer.inputs import EMBEDDINGS, FEATURES, FRAMES, PRESENCE, WAVEFORM

AUDIO, VIDEO = 0, 1
"""Columns of the presence flags."""
_OF: Mapping[str, int] = {FEATURES: AUDIO, WAVEFORM: AUDIO, FRAMES: VIDEO, EMBEDDINGS: VIDEO}
"""Modality of each input."""
_STYLE_ALPHA = 0.3
"""α of the Beta(α, α) distribution in MixStyle (Schmid et al., DCASE 2023)."""
_NEGLIGIBLE = 1e-3
"""Windows whose partner would get a weight below this are not mixed."""


def bands_axis(audio: AudioInput) -> int:
    """Axis of the bands in a batch of features [n, channels, …]: 2 or 3; the other one is the axis of the hops."""
    return 3 if isinstance(audio.feature, LogMelFeature) and audio.feature.layout == "time_mel" else 2


def mask(features: Floats, config: AugmentConfig, axis: int, rng: np.random.Generator) -> None:
    """Apply two masks over bands and two over hops, in all channels, in place (SpecAugment, Park et al. 2019).

    Args:
        features: [n, channels, bands, hops], or with hops before bands.
        config: The maximum widths of the masks.
        axis: Axis of the bands.
        rng: Random generator.
    """
    n = len(features)
    for longest, along in ((config.band_mask, axis), (config.hop_mask, 5 - axis)):
        if not longest:
            continue
        size = features.shape[along]
        for _ in range(2):
            lengths = rng.integers(0, min(longest, size // 2) + 1, n)
            starts = rng.integers(0, size - lengths + 1)
            for item in range(n):
                part = slice(starts[item], starts[item] + lengths[item])
                features[(item, slice(None), part) if along == 2 else (item, slice(None), slice(None), part)] = 0.0


def mix_styles(
    features: Floats, probability: float, axis: int, rng: np.random.Generator, present: Floats | None = None
) -> Floats:
    """Mix each band's mean and standard deviation, over channels and hops, with another window's (Freq-MixStyle).

    Args:
        features: [n, channels, bands, hops], or with hops before bands.
        probability: Probability for each window.
        axis: Axis of the bands.
        rng: Random generator.
        present: [n, 2] presence flags: windows without sound are all zeros and have no style. None: all have sound.
    """
    n = len(features)
    chosen = rng.random(n) < probability
    share = rng.beta(_STYLE_ALPHA, _STYLE_ALPHA, n).astype(np.float32)[:, None, None, None]
    partner = rng.permutation(n)
    if present is not None:
        chosen &= (present[:, AUDIO] > 0) & (present[partner, AUDIO] > 0)
    if not chosen.any():
        return features
    over = (1, 5 - axis)
    mean, std = features.mean(axis=over, keepdims=True), features.std(axis=over, keepdims=True) + np.float32(1e-5)
    new_mean = share * mean + (1 - share) * mean[partner]
    new_std = share * std + (1 - share) * std[partner]
    out = features.copy()
    out[chosen] = (features[chosen] - mean[chosen]) / std[chosen] * new_std[chosen] + new_mean[chosen]
    return out


def mix_up(
    inputs: Mapping[str, Floats], targets: Floats, config: AugmentConfig, number: int, rng: np.random.Generator
) -> tuple[dict[str, Floats], Floats]:
    """Mix windows and their targets in pairs (Zhang et al. 2018), with the same partner and weight in every input.

    A modality that one of the two lacks is absent from the mixture; windows with no modality in common are not mixed.

    Args:
        inputs: Maps each name to [n, …].
        targets: [n, n_labels].
        config: The distribution of the weights and the form of mixup.
        number: Index of the batch: `every_other` mixes the odd ones.
        rng: Random generator.
    """
    if config.mixup <= 0 or (config.mixup_form == "every_other" and number % 2 == 0):
        return dict(inputs), targets
    n = len(targets)
    drawn = rng.beta(config.mixup, config.mixup, n if config.mixup_form == "pair" else 1)
    share: Floats = np.resize(np.maximum(drawn, 1 - drawn), n).astype(np.float32)
    partner = rng.permutation(n)
    present = inputs.get(PRESENCE)
    common = np.ones((n, 2), np.float32) if present is None else np.minimum(present, present[partner])
    share[(1 - share < _NEGLIGIBLE) | ~common.any(axis=1)] = 1
    changed = np.flatnonzero(share < 1)
    mixed = {name: _mixed(values, share, partner, changed) for name, values in inputs.items() if name != PRESENCE}
    if present is not None:
        mixed[PRESENCE] = present.copy()
        mixed[PRESENCE][changed] = common[changed]
        clear_absent(mixed)
    return mixed, _mixed(targets, share, partner, changed)


def _mixed(values: Floats, share: Floats, partner: NDArray[np.int64], changed: NDArray[np.int64]) -> Floats:
    """Weight each window by `share` and add its partner with the remaining weight; only rows in `changed`."""
    out = values.copy()
    for item in changed:
        out[item] *= share[item]
        out[item] += (1 - share[item]) * values[partner[item]]
    return out


def drop_modalities(inputs: dict[str, Floats], config: AugmentConfig, rng: np.random.Generator) -> None:
    """Drop sound or picture of some windows that have both, in place: never both, so that one always remains."""
    present = inputs[PRESENCE]
    draw = rng.random(len(present))
    whole = present.all(axis=1)
    present[whole & (draw < config.drop_audio), AUDIO] = 0
    present[whole & (draw >= config.drop_audio) & (draw < config.drop_audio + config.drop_video), VIDEO] = 0
    clear_absent(inputs)


def clear_absent(inputs: Mapping[str, Floats]) -> None:
    """Zero the inputs of absent modalities in place, as the runtime does."""
    present = inputs[PRESENCE]
    for name, values in inputs.items():
        if name in _OF:
            values[present[:, _OF[name]] == 0] = 0
