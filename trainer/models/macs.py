"""Multiply-accumulates of one forward pass: convolutions, linear layers and GRUs, counted by hooks while it runs.

On the `meta` device a pass costs nothing: build the network and its inputs under `with torch.device("meta")`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.sinc import SincConv

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def count_macs(network: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-accumulates of `network(*inputs)` in evaluation mode.

    Biases, the element-wise products of gates, and pooling are not counted.

    Args:
        network: The network; each layer counts as often as it runs.
        inputs: Its inputs, on its device; the count includes the batch size.
    """
    counted: list[int] = []

    def hook(module: nn.Module, given: tuple[Tensor, ...], answer: Tensor | tuple[Tensor, ...]) -> None:
        counted.append(_macs(module, given[0], answer))

    was_training = network.training
    kinds = (*_CONVOLUTIONS, nn.Linear, nn.GRU, SincConv)
    handles = [module.register_forward_hook(hook) for module in network.modules() if isinstance(module, kinds)]
    try:
        network.eval()
        with torch.no_grad():
            network(*inputs)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return sum(counted)


def _macs(module: nn.Module, given: Tensor, answer: Tensor | tuple[Tensor, ...]) -> int:
    """Multiply-accumulates of one call of one layer."""
    out = answer if isinstance(answer, Tensor) else answer[0]
    if isinstance(module, SincConv):
        return out.numel() * module.n_taps
    if isinstance(module, _CONVOLUTIONS):
        return out.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return out.numel() * module.in_features
    if isinstance(module, nn.GRU):
        n_steps = given.numel() // given.shape[-1]
        weights = (weight for name, weight in module.named_parameters() if name.startswith("weight"))
        return n_steps * sum(weight.numel() for weight in weights)
    raise TypeError(f"expected a convolution, a linear layer or a GRU, got {type(module).__name__}")
