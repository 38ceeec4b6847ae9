"""How fast to learn when: rates as pure functions of the step, and what a validation loss decides, of its history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Schedule = Literal["cosine", "onecycle", "linear", "plateau", "constant"]
_WARM_UP = 0.1
"""Part of the training in which cosine and linear rise."""
_RISE, _START, _END = 0.3, 1 / 25, 1e-4
"""Of onecycle: part in which it rises, first rate by the peak, last rate by the first."""
_MOMENTUM = (0.95, 0.85)
"""Of onecycle: momentum at the first and last rate, and at the peak."""
_FALL, _FALLEN, _LOWEST = 1 / 3, 0.9, 0.005
"""Of linear: parts at which the fall begins and ends, and where it ends."""


class Rates(NamedTuple):
    """What the optimiser is set to for one step."""

    learning_rate: float
    """By its peak."""
    momentum: float | None = None
    """sgd's momentum or Adam's first decay; None: as configured."""


def rates(schedule: Schedule, step: int, n_steps: int) -> Rates:
    """Rates of one step; those that wait for the validation loss (`plateau`) are constant here.

    cosine follows Loshchilov and Hutter (2017); onecycle Smith and Topin (2018), in two phases as PyTorch's
    `OneCycleLR` has it; linear Schmid et al. (CP-Mobile, 2023).

    Args:
        schedule: Its name.
        step: Number of the step, from 0.
        n_steps: Steps of the whole training.
    """
    done = min(step / n_steps, 1.0)
    if schedule == "cosine":
        return Rates(
            done / _WARM_UP if done < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)),
        )
    if schedule == "linear":
        falling = (done - _FALL) / (_FALLEN - _FALL)
        return Rates(min(done / _WARM_UP, 1.0) if falling < 0 else max(_LOWEST, 1 - (1 - _LOWEST) * falling))
    if schedule == "onecycle":
        return _one_cycle(step, n_steps)
    return Rates(1.0)


def plateau_rate(losses: Sequence[float], patience: int, factor: float) -> float:
    """Learning rate by its peak after these validation losses: times `factor` whenever `patience` were not lower.

    As Keras's `ReduceLROnPlateau`: the count begins anew after each reduction.
    """
    rate, best, waited = 1.0, math.inf, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss) if not math.isnan(loss) else best
        if waited >= patience:
            rate, waited = rate * factor, 0
    return rate


def has_stopped(losses: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` validation losses were none of them lower than the best one before."""
    return patience is not None and len(losses) - 1 - best_epoch(losses) >= patience


def best_epoch(losses: Sequence[float]) -> int:
    """Position of the lowest loss, the first of several; −1 where there is none that is a number."""
    numbers = [(loss, index) for index, loss in enumerate(losses) if not math.isnan(loss)]
    return min(numbers)[1] if numbers else -1


def _one_cycle(step: int, n_steps: int) -> Rates:
    """Up and down in half cosines."""
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
