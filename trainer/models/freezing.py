"""Training a network part by part: what is frozen keeps its weights and its running statistics."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def train_only(network: nn.Module, parts: Iterable[nn.Module]) -> None:
    """Let the optimiser change these parts and nothing else."""
    network.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


def training_mode(network: nn.Module) -> None:
    """Training mode, but for normalisations with frozen weights: they go on with their running statistics.

    To be called instead of `network.train()`; that would let frozen normalisations drift. Dropout stays on throughout,
    as in Keras.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()
