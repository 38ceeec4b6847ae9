"""What an answer came from: what each modality said of a window, and how much the fusion made of either."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ascstream.records import Prediction

_SENSES = {"audio": "sound", "video": "picture", "fused": "both"}
"""Head to what people call it."""
_SHOWN = 3
"""Scenes of a head that are told."""
_FLOOR = 1e-30
"""Scenes below this in any answer are left out: beyond it logarithms are rounding."""
_LEAST = 4
"""Scenes that a gate is read from: two weights and a constant always explain three."""
_FITS = 0.05
"""Largest error, in nats, of the pool that a gate describes; beyond it the fusion is of another kind."""


def gate(by_output: Mapping[str, Mapping[str, float]]) -> tuple[float, float] | None:
    """How much sound and picture weighed in a fused answer: log p = a·log p_audio + v·log p_video + const.

    Found from the answers themselves, by least squares over the scenes, so it holds for any network that pools its
    modalities so (a product of experts, Hinton 2002), whatever its gate is inside.

    Args:
        by_output: Calibrated probabilities of "audio", "video" and "fused", by label.

    Returns:
        Weights of sound and picture; None where one of the three is missing, or no such pool explains the answer.
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
    """Lines for people: what each modality said, and what was made of it, before smoothing; none where nobody spoke."""
    by_output = prediction.by_output
    weights = gate(by_output)
    lines = []
    for name, sense in _SENSES.items():
        scores = by_output.get(name)
        if scores is None:
            continue
        if name == "fused" and len(prediction.modalities) == 1:  # one sense, and a single head
            sense = _SENSES[prediction.modalities[0]]
        best = sorted(scores, key=lambda label: -scores[label])[:_SHOWN]
        said = ", ".join(f"{label} {100 * scores[label]:.0f} %" for label in best)
        if name == "fused":
            said += "  (this window alone)"
        elif weights is not None:
            said += f"  (weighs {weights[name == 'video']:.2f})"
        lines.append(f"{sense:<8} {said}")
    return lines
