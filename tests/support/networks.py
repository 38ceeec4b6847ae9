"""Networks as if they had been trained: statistics, scales and shifts away from their neutral values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.models.cp_mobile import ResponseNorm


@torch.no_grad()
def settle(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every normalisation a mean, a spread, a scale and a shift of its own; evaluation mode."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.running_mean, module.bias):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=random))
            for tensor in (module.running_var, module.weight):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=random))
        elif isinstance(module, ResponseNorm):
            module.scale.fill_(0.3)
            module.shift.fill_(0.1)
    return network.eval()


def stage_shapes(network: nn.Module, layers: dict[str, nn.Module], *inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape of what each named layer gives for one window, without the batch."""
    shapes: dict[str, tuple[int, ...]] = {}
    handles = []
    for name, layer in layers.items():

        def hook(_module, _given, answer, name=name):
            shapes[name] = tuple(answer.shape[1:])

        handles.append(layer.register_forward_hook(hook))
    with torch.no_grad():
        network.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return shapes
