"""How many numbers a network holds: trainable, frozen, and the running statistics of its normalisations."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class ParameterCounts(NamedTuple):
    """Numbers of a network, as the published systems count them."""

    trainable: int
    """Parameters that the optimiser changes."""
    frozen: int
    """Parameters that it does not."""
    running: int
    """Running means and variances of batch normalisations; Keras and Paddle count them in, PyTorch does not."""

    @property
    def parameters(self) -> int:
        """As PyTorch counts."""
        return self.trainable + self.frozen

    @property
    def total(self) -> int:
        """As Keras and Paddle count."""
        return self.parameters + self.running


def count_parameters(network: nn.Module) -> ParameterCounts:
    """Count the numbers of a network; a parameter that is used twice counts once."""
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    everything = sum(parameter.numel() for parameter in network.parameters())
    running = 0
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for statistic in (module.running_mean, module.running_var):
                running += 0 if statistic is None else statistic.numel()
    return ParameterCounts(trainable, everything - trainable, running)
