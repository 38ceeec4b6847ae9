"""Convert one network's inputs into another's, if the input records agree in all but what can be recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from engines.inputs import AudioInput, LogMelFeature, Normalisation
from engines.schema import encode
from trainer.errors import ConfigError
from trainer.fit.checkpoint import flatten
from trainer.inputs import FEATURES, FRAMES, WAVEFORM, Inputs

_TABLES = {FEATURES: "audio", WAVEFORM: "waveform", FRAMES: "video"}
_AFFINE = ("none", "affine", "per_bin")
"""Kinds of normalisation that can be converted into one another."""
Change: TypeAlias = Callable[[Tensor], Tensor]
"""Converts an input of one network into an input of another."""


def match_inputs(
    theirs: Inputs, ours: Inputs, their_seconds: float, our_seconds: float, path: Path, key: str
) -> dict[str, Change]:
    """Build the functions that convert our inputs into those that another network takes.

    Args:
        theirs: The other network's inputs.
        ours: The available inputs, statistics included.
        their_seconds: Length of the other network's windows.
        our_seconds: Length of our windows.
        path: Path of the other network, for the message.
        key: Configuration key that names it, for the message.

    Returns:
        One function per input that the other network takes, by name.

    Raises:
        ConfigError: An input is missing or differs; the message names the first difference.
    """
    if their_seconds != our_seconds:
        raise ConfigError(
            f"{key}: expected windows of {our_seconds:g} s, as window.seconds says, got {their_seconds:g} in {path}"
        )
    changes: dict[str, Change] = {}
    for name, table in _TABLES.items():
        wanted, given = getattr(theirs, table), getattr(ours, table)
        if wanted is None:
            continue
        if given is None:
            raise ConfigError(f"{key}: {path} takes {name}, expected a table [{table}] for them, got none")
        mine, other = (dict(flatten(record, table)) for record in _comparable(given, wanted))
        differing = [where for where in {**mine, **other} if mine.get(where) != other.get(where)]
        if differing:
            where = differing[0]
            raise ConfigError(
                f"{key}: expected {where} = {mine.get(where)!r}, as configured, got {other.get(where)!r} in {path}"
            )
        changes[name] = _renormalise(given, wanted) if isinstance(given, AudioInput) else _as_it_is
    return changes


def _comparable(*records: Any) -> list[Any]:
    """Records as JSON, without what may differ: affine normalisations, and whether frames have a separate encoder."""
    if not isinstance(records[0], AudioInput):
        return [encode(replace(record, embedding_size=None)) for record in records]
    if all(record.normalisation.kind in _AFFINE for record in records):
        return [encode(replace(record, normalisation=Normalisation(kind="none"))) for record in records]
    return [encode(record) for record in records]


def _renormalise(ours: AudioInput, theirs: AudioInput) -> Change:
    """Convert between two normalisations that are equal or both affine."""
    if ours.normalisation == theirs.normalisation:
        return _as_it_is
    (our_mean, our_std), (mean, std) = (_statistics(audio) for audio in (ours, theirs))
    scale, shift = our_std / std, (our_mean - mean) / std
    return lambda values: values * scale + shift


def _statistics(audio: AudioInput) -> tuple[Tensor, Tensor]:
    """Mean and spread, shaped to broadcast against [n, channels, bands, hops] or [n, channels, hops, bands]."""
    spec = audio.normalisation
    across = isinstance(audio.feature, LogMelFeature) and audio.feature.layout == "time_mel"
    pair = [torch.tensor(values, dtype=torch.float32) for values in (spec.mean or (0.0,), spec.std or (1.0,))]
    mean, std = (values[None] if across else values[:, None] for values in pair)
    return mean, std


def _as_it_is(values: Tensor) -> Tensor:
    """Return the values unchanged."""
    return values
