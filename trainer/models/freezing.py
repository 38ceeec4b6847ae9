"""Train parts of a network: frozen parts keep their weights and their running statistics."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def train_only(network: nn.Module, parts: Iterable[nn.Module]) -> None:
    """Make these parts trainable and freeze everything else."""
    network.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


def training_mode(network: nn.Module) -> None:
    """Set training mode, except for normalisations with frozen weights, which keep using their running statistics.

    Call this instead of `network.train()`, which would let frozen normalisations drift. Dropout is active everywhere,
    as in Keras.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, _BatchNorm) and not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()
