"""Running statistics of batch normalisations, measured for the weights that they go with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def trained_norms(network: nn.Module) -> tuple[str, ...]:
    """Names of the normalisations that take their statistics of batches now; a frozen one keeps those it has."""
    return tuple(
        name
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    )


@torch.no_grad()
def measure_norms(network: nn.Module, names: Iterable[str], passes: Iterable[Callable[[], object]]) -> None:
    """Give normalisations the plain mean of what batches have, as their running statistics.

    The ones that training leaves belong to other weights: they lag behind the network's own, those of an average lag
    behind its, and both hold (1 − m)^t of the 0 and 1 they began with, at Keras' momentum m = 0.01 for hundreds of
    steps. Statistics of a thousand windows by the weights themselves are better than either ("precise BN", Y. Wu and
    J. Johnson, Rethinking "Batch" in BatchNorm, 2021, §3).

    Args:
        network: In evaluation mode, which it is left in; dropout and the like stay off.
        names: Normalisations that are measured; see `trained_norms`.
        passes: Each call runs the network over one batch.
    """
    chosen = frozenset(names)
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name in chosen and isinstance(module, _BatchNorm):
                stack.enter_context(_averaging(module))
        for run in passes:
            run()


@contextmanager
def _averaging(norm: _BatchNorm) -> Iterator[None]:
    """A normalisation that takes the plain mean of what is to come; what no batch passes keeps its statistics."""
    momentum, before = norm.momentum, {name: value.clone() for name, value in norm.named_buffers()}
    norm.reset_running_stats()
    norm.momentum = None
    norm.train()
    try:
        yield
    finally:
        norm.eval()
        norm.momentum = momentum
        if norm.num_batches_tracked == 0:
            for name, value in norm.named_buffers():
                value.copy_(before[name])
