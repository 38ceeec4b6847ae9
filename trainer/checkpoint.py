"""Checkpoints: tensors and plain values only, written beside and renamed, read without running any code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from trainer.errors import RunError
from trainer.files import write_whole


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` whole or not at all."""
    write_whole(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        RunError: It cannot be read, or is no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"{path}: expected a checkpoint, got: {error.strerror}") from None
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise RunError(
            f"{path}: expected a checkpoint, got another file; delete it and type: trainer fit … --resume"
        ) from None
    if not isinstance(state, dict):
        raise RunError(f"{path}: expected a checkpoint, got a {type(state).__name__}")
    return state
