"""The work of `ascstream file`: runs one input after another through a classifier into a sink, whatever fails."""

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
"""Called when an input has ended, with its summary and, if it failed, the error."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be opened, or failed part-way."""

    source: str
    """The input as the user named it."""
    error: SourceError
    """The error."""


@dataclass(slots=True)
class Outcome:
    """The results of the inputs so far; updated as they run."""

    failures: list[Failure] = field(default_factory=list)
    """In the order of the inputs."""
    n_windows: int = 0
    """Number of predictions made."""
    n_degraded: int = 0
    """Number of windows with something missing, lost or padded."""
    n_fallback: int = 0
    """Number of windows that ONNX Runtime scored because TensorRT had failed."""


def classify_all(
    classifier: Classifier,
    inputs: Sequence[str],
    open_source: Callable[[str], Source],
    settings: StreamSettings,
    sink: Sink,
    outcome: Outcome,
    told: Told,
) -> None:
    """Classify every input; a failing one is noted and does not stop the others.

    Args:
        classifier: Scores the windows.
        inputs: The inputs to open.
        open_source: Opens one of them.
        settings: Step, smoothing and thresholds.
        sink: Receives the predictions; stays open.
        outcome: Receives the counts and failures.
        told: Called after each input that could be opened, even if the run is stopped during it.

    Raises:
        OutputError: Results cannot be written.
        BrokenPipeError: The reader of the results is gone.
        engines.errors.EngineError: An inference failed.
    """
    for name in inputs:
        try:
            with open_source(name) as source:
                _classify(classifier, source, settings, sink, outcome, told)
        except SourceError as error:
            outcome.failures.append(Failure(name, error))


def require_whole(outcome: Outcome) -> None:
    """Raise if any window was degraded, or scored by ONNX Runtime instead of TensorRT; the results have been kept.

    Raises:
        DegradedError: There was such a window.
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
    """Classify one input; the sink is told how it ended, whatever ended it."""
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
        raise_stopped()  # in case a library swallowed the stop during the last read
    except BrokenPipeError:  # the reader is gone
        raise
    except (AscstreamError, EngineError) as error:
        end(str(error))
        raise
    except BaseException:
        end("interrupted")
        raise
    end(None)
