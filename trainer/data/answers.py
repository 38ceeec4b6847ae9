"""What a network answered on the segments of some clips; `trainer.evaluate.answers` keeps it in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHOLE = "whole"
"""The condition in which all modalities are present; the other conditions name the one that remains."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Logits of every segment of some clips, under every condition that the network supports."""

    clips: NDArray[np.int64]
    """[n_segments] index of each segment's clip in the run's list; ordered by clip, then by time."""
    logits: Mapping[str, NDArray[np.float32]]
    """[n_segments, n_labels] per condition: "whole"; "audio" or "video", with that modality alone."""
