"""Running statistics of batch normalisations, re-estimated for the weights they are used with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def trained_norms(network: nn.Module) -> tuple[str, ...]:
    """Names of the BatchNorm layers in training mode that track running statistics; frozen ones are not among them."""
    return tuple(
        name
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    )


@torch.no_grad()
def measure_norms(network: nn.Module, names: Iterable[str], passes: Iterable[Callable[[], object]]) -> None:
    """Set the running statistics of normalisations to the plain mean of the batch statistics.

    The running statistics left by training belong to other weights: the network's lag behind its weights, the
    weight average's lag behind that average, and both still contain (1 − m)^t of their initial 0 and 1, which at Keras'
    momentum m = 0.01 matters for hundreds of steps. Statistics of a thousand windows under the weights themselves are
    better than either ("precise BN", Y. Wu and J. Johnson, Rethinking "Batch" in BatchNorm, 2021, §3).

    Args:
        network: In evaluation mode, and left in it; dropout and the like stay off.
        names: The normalisations to measure; see `trained_norms`.
        passes: Each call runs the network on one batch.
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
    """Let a normalisation average the statistics of the batches to come; without any it keeps its old statistics."""
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
