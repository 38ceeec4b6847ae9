"""A network's answers for a set of clips, per segment and with single modalities: the input of evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunError
from trainer.files import UNREADABLE_ARRAYS, write_whole

WHOLE = "whole"
"""The condition in which all modalities are present; the other conditions name the one that remains."""
_LOGITS = "logits_"
_RESUME = "go on with: trainer fit CONFIG --resume"


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits of every segment of some clips, under every condition that the network supports."""

    clips: NDArray[np.int64]
    """[n_segments] index of each segment's clip in the run's list; ordered by clip, then by time."""
    logits: Mapping[str, NDArray[np.float32]]
    """[n_segments, n_labels] per condition: "whole"; "audio" or "video", with that modality alone."""


def save_answers(path: Path, answers: Answers) -> None:
    """Write answers atomically."""
    arrays: dict[str, Any] = {_LOGITS + name: logits.astype(np.float32) for name, logits in answers.logits.items()}
    write_whole(path, lambda file: np.savez(file, clips=answers.clips, **arrays))


def load_answers(path: Path) -> Answers:
    """Read a file written by `save_answers`.

    Raises:
        RunError: It does not exist, or is something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            logits = {name.removeprefix(_LOGITS): arrays[name] for name in arrays.files if name.startswith(_LOGITS)}
            answers = Answers(arrays["clips"], logits)
    except FileNotFoundError:
        raise RunError(f"{path}: expected the answers of a network, got none; {_RESUME}") from None
    except UNREADABLE_ARRAYS:
        raise RunError(
            f"{path}: expected the answers of a network, got a broken file; delete it and {_RESUME}"
        ) from None
    parts = answers.logits.values()
    if WHOLE not in answers.logits or any(
        part.dtype.kind != "f" or part.ndim != 2 or len(part) != answers.clips.size for part in parts
    ):
        raise RunError(f"{path}: expected a row of logits a segment, got something else; delete it and {_RESUME}")
    return answers
