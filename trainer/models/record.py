"""What is known of a network: what it takes, how large it is, what its authors reached and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Modality = Literal["audio", "video", "audio-visual"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What an accuracy was measured on."""

    corpus: str
    """The recordings."""
    unit: str
    """What one decision is about."""
    selection: str
    """How the authors chose the epoch whose weights they report."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One network."""

    name: str
    """As it is asked for."""
    about: str
    """What it is, in a line."""
    modality: Modality
    """What it hears and sees."""
    inputs: Mapping[str, tuple[int, ...]]
    """Shape of one window of each input, in the order of `forward`."""
    parameters: int
    """Of the whole network, as PyTorch counts them."""
    macs: int
    """Multiply-accumulates of one window: convolutions, linear layers, GRUs."""
    published: str
    """The number of parameters as its authors give it."""
    accuracy: float | None
    """Share of correct decisions as published, 0…1; null: there is none."""
    log_loss: float | None
    """Natural logarithm, as published; null: not published."""
    protocol: Protocol | None
    """What both were measured on."""
    source: str
    """Who published it."""
    repository: str
    """Where its code is, or was."""
    factory: str
    """Module and callable that build it, `trainer.models.wave:Wave`."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What the callable takes for the published variant, besides the number of labels."""

    def build(self, n_labels: int = 10, **options: Any) -> nn.Module:
        """The network with fresh weights, with other options than the published ones where some are given."""
        network: nn.Module = self.maker(n_labels, **{**self.options, **options})
        return network

    @property
    def maker(self) -> Callable[..., Any]:
        """What builds it."""
        module, _, name = self.factory.partition(":")
        maker: Callable[..., Any] = getattr(import_module(module), name)
        return maker
