"""Checkpoints: tensors and plain values only, written atomically and loaded without executing any code."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from engines.schema import encode
from trainer.config import MACHINE_KEYS, Config
from trainer.errors import RunError, TrainerError
from trainer.files import write_whole

VERSION = 2
"""Version of the checkpoint layout; training cannot resume from a checkpoint with another version."""
_SECTIONS = ("seed", "audio", "waveform", "video", "window", "model", "augment", "train")
"""Configuration sections that, beside the data, determine the weights, except for the keys in `MACHINE_KEYS`."""


def checkpoint_bytes(state: Mapping[str, Any]) -> bytes:
    """Serialise `state` to the bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` atomically; it is flushed to disk when this returns.

    Raises:
        TrainerError: The file cannot be written; an existing checkpoint is left untouched.
    """
    data = checkpoint_bytes(state)  # in memory first: torch's own writer reports a full disk with an obscure error

    def write(file: BinaryIO) -> None:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

    try:
        write_whole(path, write)
    except OSError as error:
        raise TrainerError(
            f"{path}: expected to write {len(data):,} bytes, got: {error.strerror}; the checkpoint before is as it "
            "was: make room, then go on with: trainer fit … --resume"
        ) from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint written by `save_checkpoint`.

    Raises:
        RunError: The file cannot be read or is not a checkpoint.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: expected a checkpoint, got: {error.strerror}") from None
    return parse_checkpoint(data, path)


def parse_checkpoint(data: bytes, path: Path) -> dict[str, Any]:
    """Deserialise a checkpoint.

    Raises:
        RunError: The bytes are not a checkpoint; the message names `path`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about an unusual pickle protocol; only exceptions matter here
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, pickle.UnpicklingError):
        raise RunError(
            f"{path}: expected a checkpoint, got another file; delete it and type: trainer fit … --resume"
        ) from None
    if not isinstance(state, dict):
        raise RunError(f"{path}: expected a checkpoint, got a {type(state).__name__}")
    return state


def describe(config: Config, n_labels: int) -> dict[str, Any]:
    """Return what identifies a checkpoint: the configuration values that determine the weights, by dotted key."""
    said = dict(flatten({section: encode(getattr(config, section)) for section in _SECTIONS}))
    return {"labels": n_labels, **{key: value for key, value in said.items() if key not in MACHINE_KEYS}}


def flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a JSON object with their dotted keys ("train.epochs"); lists are leaves, nulls skipped."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flatten(item, f"{key}.{name}" if key else str(name))
    elif value is not None:
        yield key, json.loads(json.dumps(value))


def check_same(state: Mapping[str, Any], config: Config, n_labels: int, path: Path) -> None:
    """Check that a checkpoint belongs to this configuration.

    Raises:
        RunError: It does not; the message names the first key that differs.
    """
    there = state.get("of")
    if state.get("version") != VERSION or not isinstance(there, dict):
        raise RunError(
            f"{path}: expected a checkpoint of this version's training, got another; choose a new folder with --out"
        )
    wanted = describe(config, n_labels)
    differing = [key for key in {**wanted, **there} if wanted.get(key) != there.get(key)]
    if differing:
        key = differing[0]
        more = f", and {len(differing) - 1} more keys differ" if len(differing) > 1 else ""
        raise RunError(
            f"{path}: expected a checkpoint of {key} = {_shown(wanted.get(key))}, as configured, got one of "
            f"{_shown(there.get(key))}{more}; choose a new folder with --out"
        )


def _shown(value: Any) -> str:
    """A value as JSON, truncated to 60 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
