"""The SE-CRNN systems' block: residual convolutions, two gates after the addition, and the shortcut added again.

"Conv-StandardPOST" of Naranjo-Alcazar et al., with the concurrent gates of Roy et al. (scSE, 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.initialise import he_normal, keras_default

RATIO = 2
"""Ratio of a block's channels to its gate's bottleneck channels."""


class StandardPost(nn.Module):
    """Two 3×3 convolutions and a normalised 1×1 shortcut, which is added both before and after the gates."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1), keras_norm(n_out))
        self.path = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1),
            keras_norm(n_out),
            nn.ELU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            keras_norm(n_out),
        )
        self.apply(keras_default)
        self.gates = ConcurrentGates(n_out)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_in, h, w] to [n, n_out, h, w]."""
        shortcut: Tensor = self.shortcut(maps)
        gated: Tensor = self.gates(functional.elu(self.path(maps) + shortcut))
        return gated + shortcut


class ConcurrentGates(nn.Module):
    """scSE: channels weighted by a gate on all channel means, positions by a gate on their channels; results added."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(n_channels, n_channels // RATIO, bias=False)
        self.excite = nn.Linear(n_channels // RATIO, n_channels, bias=False)
        self.place = nn.Conv2d(n_channels, 1, 1, bias=False)
        self.apply(he_normal)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, n_channels, h, w] to the same shape; one product with the summed gates equals the sum of both."""
        channels = torch.sigmoid(self.excite(torch.relu(self.squeeze(maps.mean(dim=(2, 3))))))
        places = torch.sigmoid(self.place(maps))
        return maps * (channels[:, :, None, None] + places)


def keras_norm(n_channels: int) -> nn.BatchNorm2d:
    """BatchNorm with Keras's constants: Keras's momentum of 0.99 is PyTorch's 0.01."""
    return nn.BatchNorm2d(n_channels, eps=1e-3, momentum=0.01)
