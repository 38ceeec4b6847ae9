"""Keep a network's answers for a set of clips, per segment and with single modalities: the input of evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.answers import WHOLE as WHOLE
from trainer.data.answers import Answers as Answers
from trainer.errors import RunError
from trainer.files import UNREADABLE_ARRAYS, write_whole

_LOGITS = "logits_"
_RESUME = "go on with: trainer fit CONFIG --resume"


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
