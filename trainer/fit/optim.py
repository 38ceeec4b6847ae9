"""Optimisers, and the moving average of the weights that is evaluated and exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.fit.schedules import Rates


def make_optimizer(network: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """Create the configured optimiser for the trainable weights.

    adamw applies no weight decay to biases and normalisations; adam and sgd add the penalty to every gradient, as the
    published recipes that use them do.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if train.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=train.learning_rate, weight_decay=train.weight_decay)
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=train.learning_rate, momentum=train.momentum, weight_decay=train.weight_decay
        )
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay}
    free = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([group for group in (decayed, free) if group["params"]], lr=train.learning_rate)


def set_rates(optimizer: torch.optim.Optimizer, rates: Rates, peak: float) -> float:
    """Set the learning rate and, if the schedule defines one, the momentum; returns the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = peak * rates.learning_rate
        if rates.momentum is not None and "betas" in group:
            group["betas"] = (rates.momentum, group["betas"][1])
        elif rates.momentum is not None and group.get("momentum"):
            group["momentum"] = rates.momentum
    return peak * rates.learning_rate


class Average:
    """Exponential moving average of a network's weights, held as a separate network in evaluation mode."""

    def __init__(self, network: nn.Module) -> None:
        """Start from the network's current weights."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        own, theirs = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        self._own = [own[name] for name in floats]
        self._theirs = [theirs[name].detach() for name in floats]
        self._counters = [(own[name], theirs[name]) for name in own if not own[name].is_floating_point()]

    @torch.no_grad()
    def follow(self, step: int, decay: float) -> None:
        """Update the average with the network's current weights; integer counters are copied.

        Args:
            step: Steps since the average began; the decay starts low so that the initial weights fade quickly.
            decay: The largest decay.
        """
        torch._foreach_lerp_(self._own, self._theirs, 1 - min(decay, (1 + step) / (10 + step)))
        for own, other in self._counters:
            own.copy_(other)


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's weights to the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}
