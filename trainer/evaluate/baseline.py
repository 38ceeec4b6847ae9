"""Baseline for the networks: multinomial logistic regression on each log-mel band's mean and standard deviation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.data.augment import Floats
from trainer.evaluate.metrics import Integers, Vector

_PENALTY = 1e-2
"""Weight of the squared coefficients relative to the mean loss."""
_STEPS = 200


def summarise(features: Floats) -> Vector:
    """[n, 1, n_mels, n_hops] to [n, 2·n_mels]: mean and standard deviation over hops."""
    values = features[:, 0].astype(np.float64)
    return np.concatenate([values.mean(axis=2), values.std(axis=2)], axis=1)


def fit_regression(
    train: Vector, targets: Integers, weights: Vector, n_labels: int, test: Vector
) -> NDArray[np.float64]:
    """Fit on `train` and return the logits of `test`, both standardised by `train`'s statistics: [n_test, n_labels].

    The penalised loss is convex and minimised by L-BFGS; nothing is random.
    """
    mean, std = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
    inputs, answers = torch.from_numpy((train - mean) / std), torch.from_numpy(targets)
    shares = torch.from_numpy(weights / weights.sum())
    coefficients = torch.zeros(n_labels, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(n_labels, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients, offsets], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = nn.functional.cross_entropy(inputs @ coefficients.T + offsets, answers, reduction="none")
        loss = (losses * shares).sum() + _PENALTY * coefficients.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        logits = torch.from_numpy((test - mean) / std) @ coefficients.T + offsets
    return np.asarray(logits.numpy())
