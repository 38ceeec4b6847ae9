"""The record type for a network: its inputs, its size, and its published results and protocol."""

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
    """The evaluation protocol behind a published result."""

    corpus: str
    """The corpus."""
    unit: str
    """The unit that is classified."""
    selection: str
    """How the authors selected the epoch whose weights they report."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Record of one network."""

    name: str
    """Name in the configuration."""
    about: str
    """One-line description."""
    modality: Modality
    """Modalities that it takes."""
    inputs: Mapping[str, tuple[int, ...]]
    """Shape of one window of each input, in the order of `forward`."""
    parameters: int
    """Parameters of the whole network, by PyTorch's count."""
    macs: int
    """Multiply-accumulates for one window: convolutions, linear layers and GRUs."""
    published: str
    """Number of parameters stated by its authors."""
    accuracy: float | None
    """Published accuracy, 0…1; None: not published."""
    log_loss: float | None
    """Published log loss, with the natural logarithm; None: not published."""
    protocol: Protocol | None
    """The protocol that accuracy and log loss were measured by."""
    source: str
    """The publication."""
    repository: str
    """Repository that holds or held its code."""
    factory: str
    """Module and callable that build it, such as `trainer.models.wave:Wave`."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Arguments for the published variant, besides the number of labels."""

    def build(self, n_labels: int = 10, **options: Any) -> nn.Module:
        """Build the network with fresh weights; given options override the published ones."""
        network: nn.Module = self.maker(n_labels, **{**self.options, **options})
        return network

    @property
    def maker(self) -> Callable[..., Any]:
        """The callable named by `factory`."""
        module, _, name = self.factory.partition(":")
        maker: Callable[..., Any] = getattr(import_module(module), name)
        return maker
