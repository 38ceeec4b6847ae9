"""Parameter counts of a network: trainable, frozen, and running statistics of its normalisations."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class ParameterCounts(NamedTuple):
    """A network's parameter counts, by the conventions of the published systems."""

    trainable: int
    """Parameters that are trained."""
    frozen: int
    """Parameters that are not trained."""
    running: int
    """Running means and variances of batch normalisations; Keras and Paddle count them, PyTorch does not."""

    @property
    def parameters(self) -> int:
        """PyTorch's count."""
        return self.trainable + self.frozen

    @property
    def total(self) -> int:
        """Keras's and Paddle's count."""
        return self.parameters + self.running


def count_parameters(network: nn.Module) -> ParameterCounts:
    """Count a network's parameters; a shared parameter counts once."""
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    everything = sum(parameter.numel() for parameter in network.parameters())
    running = 0
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for statistic in (module.running_mean, module.running_var):
                running += 0 if statistic is None else statistic.numel()
    return ParameterCounts(trainable, everything - trainable, running)
