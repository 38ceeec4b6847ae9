"""Predictions, sources and statistics made by hand, for the tests of what comes after the classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ascstream.records import Level, Prediction
from ascstream.sinks.base import Sink
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats

LABELS = ("airport", "bus", "metro", "park", "shopping_mall", "street_traffic")


def make_prediction(
    end: float,
    label: str = "park",
    score: float = 0.8,
    *,
    step: float = 1.0,
    window: float = 1.0,
    level: Level = "scene",
    labels: Sequence[str] = LABELS,
    **changes: object,
) -> Prediction:
    """A prediction whose scores give `score` to its label and share the rest evenly."""
    others = [name for name in labels if name != label]
    rest = (1 - score) / len(others)
    scores = {name: score if name == label else rest for name in labels}
    fields: dict[str, object] = {
        "source": "clip.mp4",
        "start": max(0.0, end - window),
        "end": end,
        "label": label,
        "level": level,
        "reason": "low_confidence" if level == "unknown" else None,
        "score": score,
        "scores": scores,
        "raw_scores": scores,
        "modalities": ("audio",),
        "degraded": False,
        "lost_seconds": 0.0,
        "padded_seconds": 0.0,
        "latency_seconds": 0.004,
        "step_seconds": step,
    }
    return Prediction(**{**fields, **changes})  # type: ignore[arg-type]


def make_info(name: str = "clip.mp4", duration: float | None = 20.0, *, video: bool = True) -> SourceInfo:
    """What an opened file knows of itself."""
    return SourceInfo(name=name, has_audio=True, has_video=video, duration_seconds=duration)


def feed(
    sink: Sink, predictions: Iterable[Prediction], info: SourceInfo | None = None, error: str | None = None
) -> StreamStats:
    """Send one input through a sink, without closing it; gives back its statistics."""
    info = make_info() if info is None else info
    stats = StreamStats(info.name)
    sink.begin(info, stats)
    for prediction in predictions:
        stats.add(prediction)
        sink.emit(prediction)
    if error is None:
        stats.finish()
    sink.end(stats.summary(), error)
    return stats
