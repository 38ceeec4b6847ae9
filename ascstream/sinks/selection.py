"""Which scenes to report: all, the best, or the probable ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ascstream.errors import UsageError
from ascstream.records import Prediction


@dataclass(frozen=True, slots=True)
class Selection:
    """The scenes that `--top` and `--min-score` keep; the answer itself is never left out."""

    top: int | None = None
    """Number of best scenes; None: all."""
    min_score: float | None = None
    """Scenes less probable than this are left out; None: none are."""

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise UsageError(f"top: expected 1 or more scenes, got {self.top}")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"min_score: expected a probability from 0 to 1, got {self.min_score:g}")

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.top is None and self.min_score is None

    def scores(self, prediction: Prediction) -> Mapping[str, float]:
        """The scores to report, in their original order; among equal ones the first take precedence."""
        scores = prediction.scores
        if self.everything:
            return scores
        least = 0.0 if self.min_score is None else self.min_score
        probable = sorted((label for label in scores if not scores[label] < least), key=lambda label: -scores[label])
        chosen = set(probable[: self.top])
        return {label: score for label, score in scores.items() if label in chosen}
