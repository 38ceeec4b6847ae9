"""Weight initialisation of the published recipes: Keras's defaults, Keras's he_normal, and ResNet's fan-out."""

from __future__ import annotations

from torch import nn

_TRUNCATED_SPREAD = 0.87962566103423978
"""Standard deviation of a unit normal truncated at ±2."""


def keras_default(module: nn.Module) -> None:
    """Initialise a layer as Keras does by default: Glorot uniform, biases zero, recurrent kernels orthogonal.

    For `network.apply(keras_default)`; normalisations and activations are left unchanged. As in Keras, the kernels of
    a GRU's three gates are drawn as one matrix.
    """
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.GRU):
        for name, parameter in module.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)


def he_normal(module: nn.Module) -> None:
    """Initialise a layer with Keras's `he_normal`: a normal truncated at ±2, of variance 2 / fan-in; bias zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        fan_in = module.weight[0].numel()
        spread = (2 / fan_in) ** 0.5 / _TRUNCATED_SPREAD
        nn.init.trunc_normal_(module.weight, std=spread, a=-2 * spread, b=2 * spread)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def he_fan_out(module: nn.Module) -> None:
    """Initialise a convolution as ResNet, VGG and MobileNet do: normal, variance 2 / fan-out; bias zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
