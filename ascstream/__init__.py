"""Where am I, by ear and by eye: real-time scene classification on the edge.

    from ascstream import Classifier, open_media, stream

    with Classifier.load() as classifier, open_media("clip.mp4") as source:
        for prediction in stream(classifier, source):
            print(f"{prediction.end:6.1f} s  {prediction.label}  {prediction.score:.0%}")

Public names are imported lazily, on first use: `import ascstream` alone loads no decoder, backend or terminal library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ascstream._version import __version__

if TYPE_CHECKING:
    from ascstream.classifier import Classifier
    from ascstream.errors import (
        AscstreamError,
        DecodeError,
        DegradedError,
        OutputError,
        SourceError,
        SourceNotFoundError,
        UsageError,
    )
    from ascstream.live.loop import stream_live
    from ascstream.live.source import open_live
    from ascstream.pipeline import StreamSettings, stream
    from ascstream.records import AudioBlock, Prediction, StreamEvent, VideoFrame, Window, WindowScores
    from ascstream.sources.media import open_media
    from ascstream.sources.synthetic import SyntheticSource
    from ascstream.stats import StreamStats, StreamSummary

__all__ = [
    "AscstreamError",
    "AudioBlock",
    "Classifier",
    "DecodeError",
    "DegradedError",
    "OutputError",
    "Prediction",
    "SourceError",
    "SourceNotFoundError",
    "StreamEvent",
    "StreamSettings",
    "StreamStats",
    "StreamSummary",
    "SyntheticSource",
    "UsageError",
    "VideoFrame",
    "Window",
    "WindowScores",
    "__version__",
    "open_live",
    "open_media",
    "stream",
    "stream_live",
]

_HOMES = {
    "ascstream.classifier": ("Classifier",),
    "ascstream.errors": (
        "AscstreamError",
        "DecodeError",
        "DegradedError",
        "OutputError",
        "SourceError",
        "SourceNotFoundError",
        "UsageError",
    ),
    "ascstream.live.loop": ("stream_live",),
    "ascstream.live.source": ("open_live",),
    "ascstream.records": ("AudioBlock", "Prediction", "StreamEvent", "VideoFrame", "Window", "WindowScores"),
    "ascstream.sources.media": ("open_media",),
    "ascstream.sources.synthetic": ("SyntheticSource",),
    "ascstream.stats": ("StreamStats", "StreamSummary"),
    "ascstream.pipeline": ("StreamSettings", "stream"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'ascstream' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
