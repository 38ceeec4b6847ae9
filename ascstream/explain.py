"""Explains an answer: what each modality predicted for a window, and its weight in the fusion or why it had no part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ascstream.records import Prediction

_SENSES = {"audio": "sound", "video": "picture", "fused": "both"}
"""Each head's name for users."""
_FAULTS = {
    "no_audio": "no sound came",
    "no_video": "no picture came",
    "gap": "too much of it was lost",
    "silence": "silence",
    "lens_covered": "the lens is covered",
    "alone": "the bundle cannot answer by it alone",
}
"""Why a modality did not enter, for users."""
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
    """Lines for the user: each modality's top scenes before smoothing and its weight, or why it did not enter.

    Scenes that a modality has not learnt are named as such, and its probabilities of them, mere priors, are not shown.
    """
    by_output, unlearnt = dict(prediction.by_output), dict(prediction.never_learnt)
    if len(prediction.modalities) == 1 and prediction.modalities[0] not in by_output and "fused" in by_output:
        (modality,) = prediction.modalities  # and no head of its own
        by_output = {modality: by_output["fused"]}
        unlearnt = {modality: unlearnt.get("fused", ())}
    weights = gate(by_output)
    lines = []
    for name, sense in _SENSES.items():
        fault = next((why for modality, why in prediction.missing.items() if modality == name), None)
        if fault is not None:
            lines.append(f"{sense:<8} not used: {_FAULTS[fault]}")
        elif name in by_output:
            if name == "fused" and len(prediction.modalities) == 1:  # beside that modality's own head
                sense = _SENSES[prediction.modalities[0]]
            lines.append(f"{sense:<8} {_said(name, prediction, by_output[name], unlearnt.get(name, ()), weights)}")
    return lines


def _said(
    name: str,
    prediction: Prediction,
    scores: Mapping[str, float],
    unlearnt: tuple[str, ...],
    weights: tuple[float, float] | None,
) -> str:
    """A head's top scenes, and the part it has in the window's answer."""
    best = sorted((label for label in scores if label not in unlearnt), key=lambda label: -scores[label])[:_SHOWN]
    if prediction.missing:
        part = "answers alone"
    elif name == "fused" or len(prediction.modalities) == 1:
        part = "this window alone"
    else:
        part = "used" if weights is None else f"used, weight {weights[name == 'video']:.2f}"
    remarks = [part, *([f"does not know {', '.join(unlearnt)}"] if unlearnt else [])]
    return f"{', '.join(f'{label} {100 * scores[label]:.0f} %' for label in best)}  ({'; '.join(remarks)})"
