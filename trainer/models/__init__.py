"""The networks that a configuration may ask for: ours, and those published ones that take one channel of features."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from engines.manifest import InputSpec, input_shape
from trainer.config import Config, ModelConfig
from trainer.errors import ConfigError
from trainer.models.ours import OURS
from trainer.models.reference import REFERENCES, Reference

if TYPE_CHECKING:
    from torch import nn

_NETWORKS: Mapping[str, Reference] = MappingProxyType(
    {
        **OURS,
        **{
            name: REFERENCES[name]
            for name in ("se_audio", "spectrogram", "subspectral_1s", "cp_mobile", "cp_mobile_baseline")
        },
    }
)
_CHANNELS: Mapping[str, tuple[int, ...]] = MappingProxyType({"se_audio": (1, 3), "subspectral_1s": (1, 2)})
"""Numbers of channels of networks that can do with others than they were published with."""
_ANY_SIZE = ("slim_audio",)
"""Networks for any number of bands and hops."""
_NO_DROPOUT = ("cp_mobile", "cp_mobile_baseline")

TRAINABLE = tuple(_NETWORKS)
"""Names that a configuration may ask for."""


def build_model(config: ModelConfig, n_labels: int, n_channels: int | None = None) -> nn.Module:
    """A network with fresh weights: it answers a batch of features.

    Args:
        config: Which one.
        n_labels: Length of its answer.
        n_channels: Of the features; None: as published.

    Raises:
        ConfigError: There is none of that name, or it drops nothing where `dropout` is set.
    """
    record = _find(config.name)
    options: dict[str, Any] = dict(record.options)
    if config.dropout is not None:
        if config.name in _NO_DROPOUT:
            raise ConfigError(f"model.dropout: expected null, as {config.name} has none, got {config.dropout:g}")
        options["dropout"] = config.dropout
    if n_channels is not None and config.name in _CHANNELS:
        options["n_channels"] = n_channels
    module, _, factory = record.factory.partition(":")
    model: nn.Module = getattr(import_module(module), factory)(n_labels, **options)
    return model


def check_features(config: Config) -> None:
    """See that the configured network takes the configured features.

    Raises:
        ConfigError: It does not; the message says what it takes and which keys decide.
    """
    name = config.model.name
    n_channels, n_bands, n_hops = _find(name).inputs["features"]
    try:
        shape = input_shape(InputSpec("features", audio=config.audio), config.window)
    except ValueError as error:
        raise ConfigError(f"window.seconds and audio.context_seconds: {error}") from None
    channels = _CHANNELS.get(name, (n_channels,))
    fits = len(shape) == 3 and shape[0] in channels and (name in _ANY_SIZE or shape[1:] == (n_bands, n_hops))
    if not fits:
        size = "any number of bands × any of hops" if name in _ANY_SIZE else f"{n_bands} bands × {n_hops} hops"
        expected = f"{' or '.join(str(n) for n in channels)} channel{'s' if channels != (1,) else ''} × {size}"
        raise ConfigError(
            f"model.name: {name} takes features of {expected}, got {' × '.join(str(n) for n in shape)}; set "
            "audio.channels, audio.feature (n_mels or n_bands, hop_length, center), window.seconds and "
            f"audio.context_seconds as configs/{name.removesuffix('_baseline')}.toml has them, or another model.name"
        )


def _find(name: str) -> Reference:
    """A network's record."""
    if name not in _NETWORKS:
        known = ", ".join(TRAINABLE)
        also = "; the others of `trainer models` are built from Python" if name in REFERENCES else ""
        raise ConfigError(f"model.name: expected one of {known}, got {name!r}{also}")
    return _NETWORKS[name]
