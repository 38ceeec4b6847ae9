"""Explains an answer: what each modality predicted for a window, and how much weight the fusion gave to each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ascstream.records import Prediction

_SENSES = {"audio": "sound", "video": "picture", "fused": "both"}
"""Each head's name for users."""
_SHOWN = 3
"""Number of top scenes shown per head."""
_FLOOR = 1e-30
"""Scenes with a lower probability from any head are left out of the fit: their logarithms are rounding noise."""
_LEAST = 4
"""Fewest scenes a gate can be fitted to: two weights and a constant fit any three exactly."""
_FITS = 0.05
"""Largest residual, in nats, of a fitted gate; beyond it the fusion is not a log-linear pool."""


def gate(by_output: Mapping[str, Mapping[str, float]]) -> tuple[float, float] | None:
    """The weights of sound and picture in a fused answer: log p = a·log p_audio + v·log p_video + const.

    Fitted to the three answers by least squares over the scenes, so it works for any network that pools its modalities
    this way (a product of experts, Hinton 2002), however its gate is built.

    Args:
        by_output: Calibrated probabilities of "audio", "video" and "fused", by label.

    Returns:
        Weights of sound and picture; None if one of the three is missing, or if no such pool fits the fused answer.
    """
    if not _SENSES.keys() <= by_output.keys():
        return None
    scores = np.array([list(by_output[name].values()) for name in _SENSES])
    told = np.log(scores[:, (scores > _FLOOR).all(axis=0)])
    audio, video, fused = told
    columns = np.stack([audio, video, np.ones(len(fused))], axis=1)
    if len(fused) < _LEAST or np.linalg.matrix_rank(columns) < 3:
        return None
    weights, *_ = np.linalg.lstsq(columns, fused, rcond=None)
    if np.abs(columns @ weights - fused).max() > _FITS:
        return None
    return float(weights[0]), float(weights[1])


def explain(prediction: Prediction) -> list[str]:
    """Lines for the user: each head's top scenes and weights before smoothing; empty if the window has no scores."""
    by_output = prediction.by_output
    weights = gate(by_output)
    lines = []
    for name, sense in _SENSES.items():
        scores = by_output.get(name)
        if scores is None:
            continue
        if name == "fused" and len(prediction.modalities) == 1:  # one modality and no head of its own
            sense = _SENSES[prediction.modalities[0]]
        best = sorted(scores, key=lambda label: -scores[label])[:_SHOWN]
        said = ", ".join(f"{label} {100 * scores[label]:.0f} %" for label in best)
        if name == "fused":
            said += "  (this window alone)"
        elif weights is not None:
            said += f"  (weighs {weights[name == 'video']:.2f})"
        lines.append(f"{sense:<8} {said}")
    return lines
