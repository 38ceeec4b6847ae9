"""The main loop: from a source's items to windows, scores, decisions and predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ascstream.classifier import Classifier
from ascstream.errors import DecodeError, SourceError, UsageError
from ascstream.records import AudioBlock, Prediction, StreamEvent, Window, WindowScores
from ascstream.smoothing import Decider, SceneFilter
from ascstream.sources.base import Source, SourceInfo
from ascstream.stats import StreamStats
from ascstream.windows import LIVE_PATIENCE_SECONDS, PATIENCE_SECONDS, Windower
from engines.manifest import SHORTEST_STEP_SECONDS, Manifest


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is classified; None means the default from the bundle's manifest."""

    step_seconds: float | None = None
    """Time between two predictions; at least `SHORTEST_STEP_SECONDS`, at most a window."""
    smoothing_seconds: float | None = None
    """Time constant of the filter; 0 switches it off."""
    scene_threshold: float | None = None
    """Score that a scene needs to be answered, 0…1."""
    group_threshold: float | None = None
    """Score that a group needs to be answered, 0…1."""

    def step(self, manifest: Manifest) -> Fraction:
        """The step as an exact fraction of a second.

        Raises:
            UsageError: It is shorter than `SHORTEST_STEP_SECONDS`, or longer than a window.
        """
        spec = manifest.window
        seconds = spec.default_step_seconds if self.step_seconds is None else self.step_seconds
        if not SHORTEST_STEP_SECONDS <= seconds <= spec.seconds:
            raise UsageError(
                f"step: expected {SHORTEST_STEP_SECONDS:g} s to the window's {spec.seconds:g} s, got {seconds:g}; "
                f"try --step {spec.default_step_seconds:g}"
            )
        return Fraction(str(seconds))


def stream(
    classifier: Classifier,
    source: Source,
    settings: StreamSettings | None = None,
    *,
    stats: StreamStats | None = None,
    on_event: Callable[[StreamEvent], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Prediction]:
    """Classify a source window by window.

    Args:
        classifier: Scores the windows. It is reset first, so it may have served another stream, but it serves only
            one at a time.
        source: An open source; not closed here.
        settings: Step, smoothing and thresholds.
        stats: Updated along the way, if given.
        on_event: Called with every event of the stream (`StreamEvent`).
        clock: Clock in seconds, for latencies.

    Yields:
        One prediction per window, in time order, as soon as the window is complete.

    Raises:
        UsageError: A setting is invalid; raised before anything is read.
        SourceError: The source has no modality the bundle uses, or broke off; everything decoded before that is
            classified and yielded first.
        engines.errors.EngineError: An inference failed.
    """
    settings = settings or StreamSettings()
    manifest = classifier.manifest
    step = settings.step(manifest)
    judge = Judge(manifest, settings, source.info, clock)
    require_input(source.info, manifest)
    classifier.reset()
    patience = LIVE_PATIENCE_SECONDS if source.info.live else PATIENCE_SECONDS
    windower = Windower(manifest, step, patience_seconds=patience)
    told_late = False

    def tell(event: StreamEvent) -> None:
        event = replace(event, time=event.time + source.info.offset_seconds)
        if stats is not None:
            stats.event(event)
        if on_event is not None:
            on_event(event)

    def predict(windows: Iterator[Window]) -> Iterator[Prediction]:
        complete = clock()
        for window in windows:
            before = classifier.fell_back
            prediction = judge(window, classifier.score(window), complete)
            if classifier.fell_back != before:
                tell(StreamEvent(judge.end_seconds, "engine_fallback", describe_fallback(classifier.fell_back)))
            if stats is not None:
                stats.add(prediction)
            yield prediction
            complete = clock()

    failure: SourceError | None = None
    try:
        for item in source.items(classifier.wants(step)):
            if isinstance(item, StreamEvent):
                tell(item)
                continue
            if isinstance(item, AudioBlock) and item.lost and stats is not None:
                stats.add_lost(item.n_samples / item.sample_rate)
            windower.push(item)
            yield from predict(windower.ready())
            if windower.missed_frames_at is not None and not told_late:
                told_late = True
                message = f"no picture came for {patience:g} s of sound: windows no longer wait for it"
                tell(StreamEvent(windower.missed_frames_at, "picture_late", message))
    except SourceError as error:
        failure = error
    yield from predict(windower.finish())
    dropped = windower.dropped_tail_seconds
    if stats is not None:
        stats.add_dropped_tail(dropped)
    if dropped > manifest.window.pad_seconds:  # a shorter tail is not worth an event
        message = f"the last {dropped:.2f} s are too short for a window and were not classified"
        tell(StreamEvent(judge.end_seconds, "tail_dropped", message, dropped))
    if failure is not None:
        raise failure
    if judge.n_windows == 0:
        raise DecodeError(f"{source.info.name}: expected sound or pictures, got 0 s of them")
    if stats is not None:
        stats.finish()


class Judge:
    """Turns a window and its scores into a prediction: smoothing, decision, times. One stream, windows in order."""

    def __init__(
        self, manifest: Manifest, settings: StreamSettings, info: SourceInfo, clock: Callable[[], float]
    ) -> None:
        """Start a stream.

        Args:
            manifest: Manifest of the bundle that gives the scores.
            settings: Smoothing and thresholds; None fields mean the manifest's defaults.
            info: The source's name and start offset.
            clock: Clock in seconds, for latencies.

        Raises:
            UsageError: A setting is invalid.
        """
        smoothing, thresholds = manifest.smoothing, manifest.thresholds
        if settings.smoothing_seconds is not None:
            _require(settings.smoothing_seconds >= 0, "smoothing", "0 or more seconds", settings.smoothing_seconds)
            smoothing = replace(smoothing, time_constant_seconds=float(settings.smoothing_seconds))
        for name, value in (("scene", settings.scene_threshold), ("group", settings.group_threshold)):
            if value is not None:
                _require(0 <= value <= 1, f"{name}-threshold", "a probability, 0 to 1", value)
                thresholds = replace(thresholds, **{name: float(value)})
        self._labels = manifest.labels
        heads = {output.name: manifest.never_learnt(output.name) for output in manifest.outputs}
        self._never_learnt = {name: labels for name, labels in heads.items() if labels}
        self._info = info
        self._clock = clock
        self._window_seconds = manifest.window.seconds
        self._filter = SceneFilter(len(manifest.labels), smoothing, manifest.window.seconds)
        self._decider = Decider(manifest.labels, manifest.groups, thresholds)
        self.end_seconds = 0.0
        """End of the last window, in seconds since the stream began."""
        self.n_windows = 0
        """Number of windows judged so far."""

    def __call__(
        self,
        window: Window,
        scores: WindowScores,
        complete: float,
        *,
        time: str | None = None,
        lost: Mapping[str, float] | None = None,
    ) -> Prediction:
        """Judge the next window. Windows may have been skipped since the last one; the filter accounts for the time.

        Args:
            window: The window.
            scores: Its scores.
            complete: Time by the clock at which the window was complete; latency counts from here.
            time: UTC time of the window's end; live streams only.
            lost: For each device that is not delivering, for how many seconds it has been lost.
        """
        elapsed = window.end - self.end_seconds if self.n_windows else self._window_seconds
        posterior = self._filter.update(scores.probabilities, elapsed)
        decision = self._decider.decide(posterior, scores.reason)
        self.end_seconds = window.end
        self.n_windows += 1
        raw = (
            {} if scores.probabilities is None else dict(zip(self._labels, scores.probabilities.tolist(), strict=True))
        )
        return Prediction(
            source=self._info.name,
            start=window.start + self._info.offset_seconds,
            end=window.end + self._info.offset_seconds,
            label=decision.label,
            level=decision.level,
            reason=decision.reason,
            score=decision.score,
            scores=dict(zip(self._labels, posterior.tolist(), strict=True)),
            raw_scores=raw,
            modalities=scores.modalities,
            degraded=scores.degraded,
            lost_seconds=window.lost_seconds,
            padded_seconds=window.padded_seconds,
            latency_seconds=self._clock() - complete,
            step_seconds=elapsed,
            time=time,
            lost={} if lost is None else lost,
            by_output={
                name: dict(zip(self._labels, probabilities.tolist(), strict=True))
                for name, probabilities in scores.by_output.items()
            },
            missing=scores.missing,
            never_learnt={name: labels for name, labels in self._never_learnt.items() if name in scores.by_output},
            fallback=scores.fallback,
        )


def describe_fallback(why: str | None) -> str:
    """The message of an `engine_fallback` event."""
    return f"TensorRT failed, and ONNX Runtime goes on: {why}"


def _require(holds: bool, name: str, expected: str, got: float) -> None:
    """Reject an invalid setting; NaN fails every comparison, so it is rejected too."""
    if not holds:
        raise UsageError(f"{name}: expected {expected}, got {got:g}")


def require_input(info: SourceInfo, manifest: Manifest) -> None:
    """Reject a source that has none of the bundle's modalities.

    Raises:
        DecodeError: The message says what was expected and what the source has.
    """
    has = {"audio": info.has_audio, "video": info.has_video}
    if any(has[modality] for modality in manifest.modalities):
        return
    words = {"audio": "a sound track", "video": "a picture"}
    wanted = " or ".join(words[modality] for modality in manifest.modalities)
    got = " and ".join(words[modality] for modality in ("audio", "video") if has[modality]) or "neither"
    raise DecodeError(
        f"{info.name}: expected {wanted}, which is all that bundle {manifest.name!r} perceives, got {got}; "
        "try another file, or another bundle with --bundle"
    )
