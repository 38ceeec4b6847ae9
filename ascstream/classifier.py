"""Window in, scores out: combines a bundle, its engines and the front-end.

Decides which modalities of a window are usable (sound, picture, both, neither), feeds the graphs, and calibrates their
logits. Timing and smoothing are handled elsewhere, in `pipeline.py` and `smoothing.py`.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ascstream.bundles import find_bundle
from ascstream.frontend import FrontEnd, image_tensor, is_dark, is_silent
from ascstream.records import VideoFrame, Window, WindowScores
from ascstream.sources.base import AudioWants, FrameSchedule, VideoWants, Wants
from engines.backends import DEFAULT_BACKEND, Engines, load_engines
from engines.bundle import Bundle, open_bundle
from engines.errors import BackendError
from engines.manifest import (
    FRAME_INPUT,
    FRAME_OUTPUT,
    Manifest,
    Modality,
    OutputName,
    VideoInput,
    input_shape,
    seconds_to_samples,
)

if TYPE_CHECKING:
    from engines.trt.installed import TensorRt


class Classifier:
    """One loaded bundle, ready to score windows; a context manager.

    Caches what overlapping windows share (hops and frame embeddings), so it serves one stream at a time; call `reset`
    between streams.
    """

    def __init__(self, bundle: Bundle, engines: Engines) -> None:
        """Combine a bundle with its loaded engines; `load` opens and loads both."""
        self._bundle = bundle
        self._engines = engines
        self._manifest = bundle.manifest
        self._front_end = FrontEnd(self._manifest)
        self._n_context = seconds_to_samples(self._manifest.context_seconds, self._manifest.sample_rate or 0)
        self._embeddings: dict[int, NDArray[np.float32]] = {}
        self._dark: dict[int, bool] = {}
        self._shapes = {entry.name: input_shape(entry, self._manifest.window) for entry in self._manifest.inputs}

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        backend: str = DEFAULT_BACKEND,
        precision: str | None = None,
        threads: int = 1,
        plans: Path | None = None,
        tensorrt: TensorRt | None = None,
    ) -> Classifier:
        """Open a bundle and load its graphs.

        Args:
            bundle: Name of a shipped bundle, or a bundle's folder; None: the default bundle.
            backend: What runs the graphs: "onnxruntime", "tensorrt", or "auto": TensorRT if it can run and has plans
                for this machine, else ONNX Runtime.
            precision: "float32", "float16", "int8"; None: the plans' own with TensorRT, float32 with ONNX Runtime.
            threads: CPU threads that ONNX Runtime may use per inference.
            plans: Folder to load plans from; None: the user's cache. A plan is executable code: pass only a folder
                that you trust.
            tensorrt: The TensorRT that deserialises plans; None: the installed one.

        Raises:
            engines.errors.EngineError: The bundle is missing, incomplete or altered, or its graphs cannot be run.
        """
        opened = open_bundle(find_bundle(bundle))
        engines = load_engines(
            opened, backend=backend, precision=precision, threads=threads, plans=plans, tensorrt=tensorrt
        )
        return cls(opened, engines)

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self._manifest

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        return self._bundle.path

    @property
    def backend(self) -> str:
        """Human-readable description of the backend: name, version, device, precision, threads."""
        return self._engines.backend

    @property
    def note(self) -> str | None:
        """Hint about the backend for the user: on a machine with a GPU, why it is not TensorRT and what to type."""
        return self._engines.note

    @property
    def fell_back(self) -> str | None:
        """Why ONNX Runtime has taken over from TensorRT; None if it has not."""
        return self._engines.fell_back

    @property
    def n_encoded_frames(self) -> int:
        """Number of frame embeddings currently cached."""
        return len(self._embeddings)

    def wants(self, step_seconds: Fraction) -> Wants:
        """What a source must deliver for windows that start `step_seconds` apart."""
        audio: AudioWants | None = None
        inputs = [spec for _, spec in self._manifest.audio_inputs]
        if inputs:
            refuse = any(spec.mono_source == "refuse" and spec.n_source_channels == 2 for spec in inputs)
            audio = AudioWants(inputs[0].sample_rate, self._manifest.n_source_channels, refuse)
        video: VideoWants | None = None
        if self._manifest.video_input is not None:
            _, spec = self._manifest.video_input
            times = tuple(Fraction(str(time)) for time in spec.frame_times_seconds)
            schedule = FrameSchedule(step_seconds, times, spec.max_age_seconds)
            video = VideoWants(spec.width, spec.height, spec.fit, spec.short_side, spec.interpolation, schedule)
        return Wants(audio, video)

    def score(self, window: Window) -> WindowScores:
        """Score one window using whichever modalities are usable.

        If a modality is missing, the other one's own head answers, with its own calibration. Without such a head, the
        fused head answers if the graph takes presence flags; otherwise there are no scores. A missing picture is never
        passed off as a blank one. There are no scores either if a graph returns NaN or infinity.

        If TensorRT fails, ONNX Runtime takes over and `fallback` says why. The cached embeddings are then dropped, so
        that no window mixes embeddings from both backends.
        """
        before = self.fell_back
        scores = self._score(window)
        if self.fell_back != before and self._embeddings:
            self._embeddings.clear()
            scores = self._score(window)
        return scores if scores.probabilities is None else replace(scores, fallback=self.fell_back)

    def abandon(self, why: str) -> Classifier | None:
        """Give up on TensorRT after one of its calls hung.

        Args:
            why: The reason, as a sentence for the user.

        Returns:
            A classifier that runs ONNX Runtime and shares no state with this one (which must still be closed); None
            if there is no backend to fall back to.
        """
        engines = self._engines.abandon(why)
        return None if engines is None else Classifier(self._bundle, engines)

    def reset(self) -> None:
        """Forget the previous stream."""
        self._front_end.reset()
        self._embeddings.clear()
        self._dark.clear()

    def close(self) -> None:
        """Release the engines; may be called twice."""
        self._engines.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _score(self, window: Window) -> WindowScores:
        """Score one window with the current backend."""
        missing: dict[Modality, str] = {}
        if self._manifest.audio_inputs:
            reason = self._audio_fault(window)
            if reason is not None:
                missing["audio"] = reason
        if self._manifest.video_input is not None:
            reason = self._video_fault(window)
            if reason is not None:
                missing["video"] = reason
        present = tuple(name for name in self._manifest.modalities if name not in missing)
        whole = not missing and window.lost_seconds == 0.0
        degraded = not whole or window.padded_seconds > self._manifest.window.pad_seconds
        head = self._head(present)
        if head is None:
            unused = missing | dict.fromkeys(present, "alone")
            return WindowScores(None, (), degraded=True, reason=_reason(missing), missing=unused)
        logits = self._engines.scene.infer(self._feeds(window, present))
        shape = (1, len(self._manifest.labels))
        by_output: dict[str, NDArray[np.float64]] = {
            output.name: softmax(_shaped(output.name, logits[output.name], shape)[0] / output.temperature)
            for output in self._manifest.outputs
            if output.name == head or output.name in present
        }
        if not all(np.isfinite(probabilities).all() for probabilities in by_output.values()):
            # a single such window would corrupt the smoothing filter for good
            return WindowScores(None, (), degraded=True, reason="invalid_scores", missing=missing)
        return WindowScores(by_output[head], present, degraded, None, by_output, missing)

    def _audio_fault(self, window: Window) -> str | None:
        """Why the window's sound is unusable; None if it is usable."""
        thresholds, length = self._manifest.thresholds, self._manifest.window.seconds
        if window.samples is None or window.lost_seconds + window.padded_seconds >= length - 1e-9:
            return "no_audio"
        if window.lost_seconds > thresholds.lost_fraction * length:
            return "gap"
        heard = window.samples[:, self._n_context :]
        return "silence" if is_silent(heard, thresholds.silence_dbfs) else None

    def _video_fault(self, window: Window) -> str | None:
        """Why the window's picture is unusable; None if it is usable."""
        frames = [frame for frame in window.frames if frame is not None]
        if not frames:
            return "no_video"
        self._forget_frames_before(frames[0].index)
        return "lens_covered" if all(self._is_dark(frame) for frame in frames) else None

    def _is_dark(self, frame: VideoFrame) -> bool:
        if frame.index not in self._dark:
            self._dark[frame.index] = is_dark(frame.image, self._manifest.thresholds.dark_luma)
        return self._dark[frame.index]

    def _forget_frames_before(self, index: int) -> None:
        """Evict cached results of frames before `index`: windows only move forward, so they are not needed again."""
        for kept in (self._embeddings, self._dark):
            for old in [key for key in kept if key < index]:
                del kept[old]

    def _head(self, present: tuple[Modality, ...]) -> OutputName | None:
        """The head that answers for these modalities; None if there is none."""
        if not present:
            return None
        if present == self._manifest.modalities:
            return "fused"
        if self._manifest.output(present[0]) is not None:
            return present[0]
        return "fused" if self._manifest.presence_input is not None else None

    def _feeds(self, window: Window, present: tuple[Modality, ...]) -> dict[str, NDArray[np.float32]]:
        """The scene graph's inputs; an absent modality is fed zeros, and the output of its head is then ignored."""
        feeds: dict[str, NDArray[np.float32]] = {}
        if "audio" in present and window.samples is not None:
            feeds.update(self._front_end(window.samples, window.start_sample))
        if self._manifest.video_input is not None and "video" in present:
            name, spec = self._manifest.video_input
            feeds[name] = self._picture(window.frames, spec)
        if self._manifest.presence_input is not None:
            name, order = self._manifest.presence_input
            feeds[name] = np.array([[float(modality in present) for modality in order]], np.float32)
        for name, shape in self._shapes.items():
            if name not in feeds:
                feeds[name] = np.zeros((1, *shape), np.float32)
        return feeds

    def _picture(self, frames: tuple[VideoFrame | None, ...], spec: VideoInput) -> NDArray[np.float32]:
        """The scene graph's video input [1, n_frames, …]; an empty slot repeats the frame of the nearest filled one."""
        filled = [slot for slot, frame in enumerate(frames) if frame is not None]
        nearest = [min(filled, key=lambda other, slot=slot: (abs(other - slot), other)) for slot in range(len(frames))]  # type: ignore[misc]
        chosen = [frame for frame in (frames[slot] for slot in nearest) if frame is not None]
        if spec.embedding_size is None:
            return np.stack([image_tensor(frame.image, spec) for frame in chosen])[None]
        new = {frame.index: frame for frame in chosen if frame.index not in self._embeddings}
        if new and self._engines.frame is not None:
            images = np.stack([image_tensor(frame.image, spec) for frame in new.values()])
            answer = self._engines.frame.infer({FRAME_INPUT: images})[FRAME_OUTPUT]
            encoded = _shaped(FRAME_OUTPUT, answer, (len(new), spec.embedding_size))
            self._embeddings.update(zip(new, encoded, strict=True))
        return np.stack([self._embeddings[frame.index] for frame in chosen])[None]


def _shaped(name: str, answer: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`answer`, checked against the manifest's shape: a graph with dynamic sizes reveals its shape only when run."""
    if answer.shape != shape:
        raise BackendError(f"{name}: expected an answer of {list(shape)}, got {list(answer.shape)}; export it anew")
    return answer


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of [n] logits in double precision; NaNs if a logit is NaN or +infinity."""
    shifted = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(shifted - shifted.max())
    return np.asarray(exponentials / exponentials.sum())


def _reason(missing: dict[Modality, str]) -> str:
    """One word for why there are no scores; a modality that is present but unusable outranks one that is absent."""
    reasons = set(missing.values())
    if len(missing) > 1 and reasons <= {"no_audio", "no_video"}:
        return "no_input"
    return next(word for word in ("gap", "silence", "lens_covered", "no_audio", "no_video") if word in reasons)
