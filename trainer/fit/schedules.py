"""Learning-rate schedules as pure functions of the step, and decisions that depend on the validation losses so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Schedule = Literal["cosine", "onecycle", "linear", "plateau", "constant"]
_WARM_UP = 0.1
"""Fraction of the training during which cosine and linear warm up."""
_RISE, _START, _END = 0.3, 1 / 25, 1e-4
"""onecycle: fraction of rising steps, ratio of the first rate to the peak, ratio of the last rate to the first."""
_MOMENTUM = (0.95, 0.85)
"""onecycle: momentum at the first and last rate, and at the peak."""
_FALL, _FALLEN, _LOWEST = 1 / 3, 0.9, 0.005
"""linear: fractions of the training at which the decay begins and ends, and the final rate relative to the peak."""


class Rates(NamedTuple):
    """Optimiser settings for one step."""

    learning_rate: float
    """Relative to the peak."""
    momentum: float | None = None
    """sgd's momentum or Adam's first beta; None: as configured."""


def rates(schedule: Schedule, step: int, n_steps: int) -> Rates:
    """Compute the rates of one step; `plateau`, which depends on the validation loss, is constant here.

    cosine follows Loshchilov and Hutter (2017); onecycle Smith and Topin (2018), in two phases like PyTorch's
    `OneCycleLR`; linear Schmid et al. (CP-Mobile, 2023).

    Args:
        schedule: The schedule's name.
        step: Step number, from 0.
        n_steps: Total number of steps in the training.
    """
    done = min(step / n_steps, 1.0)
    if schedule == "cosine":
        falling = (done - _WARM_UP) / (1 - _WARM_UP)
        return Rates(done / _WARM_UP if falling < 0 else 0.5 * (1 + math.cos(math.pi * falling)))
    if schedule == "linear":
        falling = (done - _FALL) / (_FALLEN - _FALL)
        return Rates(min(done / _WARM_UP, 1.0) if falling < 0 else max(_LOWEST, 1 - (1 - _LOWEST) * falling))
    if schedule == "onecycle":
        return _one_cycle(step, n_steps)
    return Rates(1.0)


def plateau_rate(losses: Sequence[float], patience: int, factor: float) -> float:
    """Learning rate relative to the peak: multiplied by `factor` after every `patience` epochs without improvement.

    As in Keras's `ReduceLROnPlateau`, the count restarts after each reduction.
    """
    rate, best, waited = 1.0, math.inf, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss) if not math.isnan(loss) else best
        if waited >= patience:
            rate, waited = rate * factor, 0
    return rate


def has_stopped(losses: Sequence[float], patience: int | None) -> bool:
    """Whether none of the last `patience` validation losses improved on the best one before them."""
    return patience is not None and len(losses) - 1 - best_epoch(losses) >= patience


def best_epoch(losses: Sequence[float]) -> int:
    """Index of the lowest loss, the first if several are equal; −1 if every loss is NaN."""
    numbers = [(loss, index) for index, loss in enumerate(losses) if not math.isnan(loss)]
    return min(numbers)[1] if numbers else -1


def _one_cycle(step: int, n_steps: int) -> Rates:
    """Rise to the peak and fall again, each along half a cosine."""
    peak, last = _RISE * n_steps - 1, n_steps - 1
    if step <= peak:
        part, ends = step / max(peak, 1), (_START, 1.0)
        momenta = _MOMENTUM
    else:
        part, ends = min((step - peak) / (last - peak), 1.0), (1.0, _START * _END)
        momenta = (_MOMENTUM[1], _MOMENTUM[0])
    share = 0.5 * (1 - math.cos(math.pi * part))
    rate, momentum = (first + (second - first) * share for first, second in (ends, momenta))
    return Rates(rate, momentum)
