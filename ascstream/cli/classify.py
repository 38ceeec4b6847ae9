"""The work of `ascstream file`: one input after the other through one classifier into one sink, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ascstream.classifier import Classifier
from ascstream.errors import AscstreamError, DegradedError, SourceError
from ascstream.pipeline import StreamSettings, stream
from ascstream.sinks.base import Sink
from ascstream.sources.base import Source
from ascstream.stats import StreamStats, StreamSummary
from ascstream.stopping import raise_stopped
from engines.errors import EngineError

Told: TypeAlias = Callable[[StreamSummary, str | None], None]
"""Called when an input is over: with its numbers, and why it broke off, if it did."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that gave nothing, or broke off."""

    source: str
    """The input as it was named."""
    error: SourceError
    """Why."""


@dataclass(slots=True)
class Outcome:
    """What became of the inputs so far; filled while they run."""

    failures: list[Failure] = field(default_factory=list)
    """In the order of the inputs."""
    n_windows: int = 0
    """Predictions made."""
    n_degraded: int = 0
    """Windows with something missing, lost or padded."""
    n_fallback: int = 0
    """Windows that ONNX Runtime judged because TensorRT had failed."""


def classify_all(
    classifier: Classifier,
    inputs: Sequence[str],
    open_source: Callable[[str], Source],
    settings: StreamSettings,
    sink: Sink,
    outcome: Outcome,
    told: Told,
) -> None:
    """Classify every input; one that fails is noted and does not keep the others from being classified.

    Args:
        classifier: Judges the windows.
        inputs: What to open.
        open_source: Opens one.
        settings: Step, smoothing and thresholds.
        sink: Takes the predictions; stays open.
        outcome: Where numbers and failures are noted.
        told: Called after each input that could be opened, also where the run is stopped in it.

    Raises:
        OutputError: Results cannot be written.
        BrokenPipeError: Nobody reads them any more.
        engines.errors.EngineError: An inference failed.
    """
    for name in inputs:
        try:
            with open_source(name) as source:
                _classify(classifier, source, settings, sink, outcome, told)
        except SourceError as error:
            outcome.failures.append(Failure(name, error))


def require_whole(outcome: Outcome) -> None:
    """Refuse what was degraded, or judged by ONNX Runtime in TensorRT's stead, now that the results are kept.

    Raises:
        DegradedError: Something was.
    """
    if outcome.n_fallback:
        raise DegradedError(
            f"expected TensorRT for every window, since --strict was given; got {outcome.n_fallback} of "
            f"{outcome.n_windows} from ONNX Runtime, after it failed; the results are kept"
        )
    if not outcome.n_degraded:
        return
    raise DegradedError(
        f"expected every window whole, since --strict was given; got {outcome.n_degraded} of {outcome.n_windows} "
        "with something missing, lost or padded; the results are kept"
    )


def _classify(
    classifier: Classifier, source: Source, settings: StreamSettings, sink: Sink, outcome: Outcome, told: Told
) -> None:
    """Classify one input; the sink learns how it ended, whatever ended it."""
    stats = StreamStats(source.info.name)

    def end(error: str | None) -> None:
        summary = stats.summary()
        outcome.n_windows += summary.n_windows
        outcome.n_degraded += summary.n_degraded
        sink.end(summary, error)
        told(summary, error)

    sink.begin(source.info, stats)
    try:
        for prediction in stream(classifier, source, settings, stats=stats, on_event=sink.event):
            outcome.n_fallback += prediction.fallback is not None
            sink.emit(prediction)
            raise_stopped()
        raise_stopped()  # what a library lost while the last read waited
    except BrokenPipeError:  # nobody listens
        raise
    except (AscstreamError, EngineError) as error:
        end(str(error))
        raise
    except BaseException:
        end("interrupted")
        raise
    end(None)
