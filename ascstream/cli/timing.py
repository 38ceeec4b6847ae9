"""What `ascstream bench` measures: the usual source, classifier and engines, each wrapped in a timer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ascstream.classifier import Classifier
from ascstream.pipeline import StreamSettings, stream
from ascstream.records import StreamItem, Window, WindowScores
from ascstream.sources.base import Source, SourceInfo, Wants
from ascstream.sources.media import open_media
from engines.backends import Engines
from engines.base import Array, Engine
from engines.bundle import Bundle

STAGES = ("decode", "features", "inference", "rest")
"""Reading, decoding, scaling, resampling · samples and images to tensors · graphs · windows, smoothing, decision."""


class Stopwatch:
    """Time spent in each stage, per lap; a lap is one window."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.laps: dict[str, list[float]] = {name: [] for name in (*STAGES, "whole")}
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._lap_began = 0.0

    def start(self) -> float:
        """Begin the first lap; return the clock's time."""
        self._lap_began = self.clock()
        return self._lap_began

    def add(self, stage: str, seconds: float) -> None:
        """Add time spent in a stage."""
        self._spent[stage] += seconds

    def lap(self) -> None:
        """End a window's lap and record what it took."""
        now = self.clock()
        whole = now - self._lap_began
        # scoring was timed around inference, and "whole" contains both
        features = self._spent["features"] - self._spent["inference"]
        known = {"decode": self._spent["decode"], "features": features, "inference": self._spent["inference"]}
        for name, seconds in {**known, "rest": whole - sum(known.values()), "whole": whole}.items():
            self.laps[name].append(seconds)
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._lap_began = now


@dataclass(frozen=True, slots=True)
class Measurement:
    """Timing of one pass over a clip."""

    clip: str
    """What was classified."""
    bundle: str
    """Name and version."""
    backend: str
    """What ran the graphs."""
    step_seconds: float
    """Time between two windows."""
    n_windows: int
    """Number of predictions made."""
    stream_seconds: float
    """Duration of what was classified."""
    wall_seconds: float
    """Time from opening the clip to its last prediction."""
    cpu_seconds: float
    """The same in CPU time of all threads."""
    peak_bytes: int
    """Peak resident memory of the process."""
    laps: dict[str, list[float]]
    """Seconds per window for each stage, with "whole" last."""

    @property
    def realtime_factor(self) -> float:
        """Wall time divided by stream time."""
        return self.wall_seconds / self.stream_seconds

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON, with percentiles per stage."""
        stages = {}
        for name, laps in self.laps.items():
            p50, p95, p99 = (round(float(value) * 1e3, 4) for value in np.percentile(laps, (50, 95, 99)))
            stages[name] = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "sum_seconds": round(sum(laps), 6)}
        return {
            "schema": 1,
            "clip": self.clip,
            "bundle": self.bundle,
            "backend": self.backend,
            "step_seconds": self.step_seconds,
            "n_windows": self.n_windows,
            "stream_seconds": self.stream_seconds,
            "wall_seconds": round(self.wall_seconds, 6),
            "cpu_seconds": round(self.cpu_seconds, 6),
            "realtime_factor": round(self.realtime_factor, 6),
            "peak_memory_bytes": self.peak_bytes,
            "stages": stages,
        }


def measure_clip(clip: str, bundle: Bundle, engines: Engines, settings: StreamSettings) -> Measurement:
    """Classify a clip once and time every stage.

    Args:
        clip: The clip to open.
        bundle: An opened bundle.
        engines: Its graphs; they stay open.
        settings: Step, smoothing and thresholds.

    Raises:
        SourceError: The clip cannot be read to its end.
    """
    watch = Stopwatch()
    frame = None if engines.frame is None else _TimedEngine(engines.frame, watch)
    classifier = _TimedClassifier(bundle, replace(engines, scene=_TimedEngine(engines.scene, watch), frame=frame))
    classifier.watch = watch
    end = 0.0
    cpu, began = time.process_time(), watch.start()
    with open_media(clip) as source:
        name = source.info.name
        for prediction in stream(classifier, _TimedSource(source, watch), settings):
            watch.lap()
            end = prediction.end
    return Measurement(
        clip=name,
        bundle=f"{bundle.manifest.name} {bundle.manifest.version}",
        backend=engines.backend,
        step_seconds=float(settings.step(bundle.manifest)),
        n_windows=len(watch.laps["whole"]),
        stream_seconds=end,
        wall_seconds=watch.clock() - began,
        cpu_seconds=time.process_time() - cpu,
        peak_bytes=peak_memory(),
        laps=watch.laps,
    )


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes; 0 on Windows, which does not report it this way."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = 0
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak


class _TimedEngine(Engine):
    """An engine wrapped in a timer."""

    def __init__(self, engine: Engine, watch: Stopwatch) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine = engine
        self._watch = watch

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        began = self._watch.clock()
        try:
            return self._engine.infer(feeds)
        finally:
            self._watch.add("inference", self._watch.clock() - began)


class _TimedClassifier(Classifier):
    """A classifier wrapped in a timer; its engines' time is subtracted later."""

    watch: Stopwatch

    def score(self, window: Window) -> WindowScores:
        began = self.watch.clock()
        try:
            return super().score(window)
        finally:
            self.watch.add("features", self.watch.clock() - began)


class _TimedSource:
    """A source wrapped in a timer."""

    def __init__(self, source: Source, watch: Stopwatch) -> None:
        self._source = source
        self._watch = watch

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        items = self._source.items(wants)
        while True:
            began = self._watch.clock()
            item = next(items, None)
            self._watch.add("decode", self._watch.clock() - began)
            if item is None:
                return
            yield item

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> _TimedSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
