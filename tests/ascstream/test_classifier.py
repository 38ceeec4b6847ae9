"""What a window is judged by: known answers of every shape of bundle, lost modalities, one encoding a frame."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bundles

from ascstream.classifier import Classifier, softmax
from ascstream.frontend import audio_tensor, image_tensor
from ascstream.records import VideoFrame, Window
from engines.backends import Engines, load_engines
from engines.base import Array, Engine
from engines.bundle import open_bundle
from engines.errors import BundleError
from engines.manifest import InputSpec, OutputName, OutputSpec, seconds_to_samples


def tone(classifier: Classifier, hertz: float, *, level: float = 0.5) -> np.ndarray:
    """[n_channels, context + window] of a tone, alike on every channel."""
    manifest = classifier.manifest
    rate = manifest.sample_rate
    assert rate is not None
    n = seconds_to_samples(manifest.window.seconds, rate) + seconds_to_samples(manifest.context_seconds, rate)
    wave = level * np.sin(2 * np.pi * hertz * np.arange(n) / rate)
    return np.tile(wave.astype(np.float32), (manifest.n_source_channels, 1))


def picture(classifier: Classifier, colour: tuple[int, int, int], index: int = 0, time: float = 0.0) -> VideoFrame:
    assert classifier.manifest.video_input is not None
    _, spec = classifier.manifest.video_input
    image = np.empty((spec.height, spec.width, 3), np.uint8)
    image[:] = colour
    return VideoFrame(time, image, time, index)


def window(classifier: Classifier, **overrides: Any) -> Window:
    """A window with a tone and green pictures, unless overridden."""
    manifest = classifier.manifest
    fields: dict[str, Any] = {"index": 0, "start": 0.0, "end": manifest.window.seconds, "start_sample": 0}
    fields["samples"] = tone(classifier, 440.0) if manifest.audio_inputs else None
    n_slots = len(manifest.video_input[1].frame_times_seconds) if manifest.video_input else 0
    fields["frames"] = (picture(classifier, bundles.COLOURS["park"]),) * n_slots if n_slots else ()
    return Window(**(fields | overrides))


def expected(classifier: Classifier, item: Window, flags: tuple[float, ...] = (1.0, 1.0)) -> dict[str, np.ndarray]:
    """The calibrated answer, by plain numpy from the window."""
    manifest = classifier.manifest
    feeds: dict[str, np.ndarray] = {}
    for name, audio in manifest.audio_inputs:
        feeds[name] = audio_tensor(item.samples, audio)[None]
    if manifest.video_input is not None:
        name, spec = manifest.video_input
        filled = [frame for frame in item.frames if frame is not None]
        images = [image_tensor(frame.image, spec) for frame in filled] * len(item.frames)
        stack = np.stack(images[: len(item.frames)])
        feeds[name] = (bundles.expected_embedding(stack) if spec.embedding_size else stack)[None]
    if manifest.presence_input is not None:
        feeds[manifest.presence_input[0]] = np.array([flags])
    logits = bundles.expected_logits(feeds, manifest.inputs)
    return {head: softmax(values[0].astype(np.float32)) for head, values in logits.items()}


@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_shape_of_bundle_gives_its_known_answer(shape: str, tmp_path: Path) -> None:
    with Classifier.load(bundles.SHAPES[shape](tmp_path)) as classifier:
        item = window(classifier)
        scores = classifier.score(item)
        assert scores.modalities == classifier.manifest.modalities
        assert not scores.degraded
        assert scores.reason is None
        answer = expected(classifier, item)
        assert scores.probabilities == pytest.approx(answer["fused"], abs=1e-5)
        assert set(scores.by_output) == {output.name for output in classifier.manifest.outputs}
        for head, probabilities in scores.by_output.items():
            assert probabilities == pytest.approx(answer[head], abs=1e-5)
            assert probabilities.sum() == pytest.approx(1.0)


def test_a_tone_in_a_labels_bands_is_that_label(tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        for label in bundles.LABELS:
            scores = classifier.score(window(classifier, samples=tone(classifier, bundles.tone_hz(label))))
            assert scores.probabilities is not None
            assert bundles.LABELS[int(np.argmax(scores.probabilities))] == label


def test_the_temperature_softens_the_answer(tmp_path: Path) -> None:
    outputs = (OutputSpec("fused", 2.5),)
    with Classifier.load(bundles.mono_logmel(tmp_path, outputs=outputs)) as classifier:
        item = window(classifier)
        logits = np.log(expected(classifier, item)["fused"])
        assert classifier.score(item).probabilities == pytest.approx(softmax(logits / 2.5), abs=1e-5)


NOTHING: dict[str, dict[str, Any]] = {
    "no_audio": {"lost_seconds": 1.0},
    "gap": {"lost_seconds": 0.6},
    "silence": {"samples": np.zeros((1, 24_000), np.float32)},
}


@pytest.mark.parametrize("reason", NOTHING)
def test_a_window_nobody_can_hear_is_unknown_with_its_reason(reason: str, tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        scores = classifier.score(window(classifier, **NOTHING[reason]))
        assert (scores.probabilities, scores.reason, scores.degraded, scores.modalities) == (None, reason, True, ())


def test_a_quiet_room_is_not_silence(tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        quiet = tone(classifier, 440.0, level=10 ** (-85 / 20))
        assert classifier.score(window(classifier, samples=quiet)).probabilities is not None


@pytest.mark.parametrize(("before", "within", "reason"), [(-6.0, -120.0, "silence"), (-120.0, -85.0, None)])
def test_what_came_before_a_window_makes_it_neither_silent_nor_not(
    before: float, within: float, reason: str | None, tmp_path: Path
) -> None:
    _, audio = open_bundle(bundles.mono_logmel(tmp_path)).manifest.audio_inputs[0]
    entry = InputSpec("logmel", audio=replace(audio, context_seconds=9.0))
    with Classifier.load(bundles.mono_logmel(tmp_path, inputs=(entry,))) as classifier:
        levels = 10 ** (np.repeat([before, within], [9 * 24_000, 24_000]) / 20)
        noise = np.random.default_rng(1).standard_normal((1, 10 * 24_000))
        assert classifier.score(window(classifier, samples=(levels * noise).astype(np.float32))).reason == reason


def test_a_graph_that_gives_no_numbers_gives_no_answer(tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        samples = tone(classifier, 440.0)
        samples[0, 5000] = np.nan
        scores = classifier.score(window(classifier, samples=samples))
        assert (scores.probabilities, scores.reason, scores.degraded, scores.modalities) == (
            None,
            "invalid_scores",
            True,
            (),
        )


def test_half_a_window_of_sound_is_judged_and_marked(tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        scores = classifier.score(window(classifier, lost_seconds=0.5))
        assert scores.degraded
        assert scores.probabilities is not None
        assert not classifier.score(window(classifier, padded_seconds=0.01)).degraded
        assert classifier.score(window(classifier, padded_seconds=0.4)).degraded


@pytest.mark.parametrize("missing", ["no_audio", "gap", "silence"])
def test_without_sound_the_head_of_the_picture_answers_at_its_own_temperature(missing: str, tmp_path: Path) -> None:
    temperatures: dict[OutputName, float] = {"fused": 5.0, "audio": 3.0, "video": 0.5}
    outputs = tuple(OutputSpec(name, temperature) for name, temperature in temperatures.items())
    with Classifier.load(bundles.audio_visual(tmp_path, outputs=outputs)) as classifier:
        item = window(classifier, **NOTHING[missing])
        scores = classifier.score(item)
        assert (scores.modalities, scores.degraded, scores.reason) == (("video",), True, None)
        assert scores.missing == {"audio": missing}
        calibrated = expected(classifier, item)["video"] ** 2
        assert scores.probabilities == pytest.approx(calibrated / calibrated.sum(), abs=1e-5)
        assert set(scores.by_output) == {"video"}


@pytest.mark.parametrize("missing", ["no_audio", "gap", "silence"])
def test_with_presence_and_no_heads_the_graph_itself_copes_without_sound(missing: str, tmp_path: Path) -> None:
    with Classifier.load(bundles.audio_visual(tmp_path, outputs=(OutputSpec("fused"),))) as classifier:
        item = window(classifier, **NOTHING[missing])
        scores = classifier.score(item)
        assert (scores.modalities, scores.degraded, scores.reason) == (("video",), True, None)
        assert scores.probabilities == pytest.approx(expected(classifier, item, flags=(0.0, 1.0))["fused"], abs=1e-5)
        assert set(scores.by_output) == {"fused"}


def lens_covered(classifier: Classifier) -> Window:
    return window(classifier, frames=(picture(classifier, (3, 3, 3)),) * 5)


def no_video(classifier: Classifier) -> Window:
    return window(classifier, frames=(None,) * 5)


@pytest.mark.parametrize("lose", [lens_covered, no_video])
@pytest.mark.parametrize("shape", ["audio_visual", "audio_visual_no_presence"])
def test_without_a_picture_the_sound_answers(shape: str, lose: Any, tmp_path: Path) -> None:
    with Classifier.load(bundles.SHAPES[shape](tmp_path)) as classifier:
        item = lose(classifier)
        scores = classifier.score(item)
        assert (scores.modalities, scores.degraded) == (("audio",), True)
        assert scores.missing == {"video": lose.__name__}
        sound_only = expected(classifier, window(classifier))["audio"]
        assert scores.probabilities == pytest.approx(sound_only, abs=1e-5)


@pytest.mark.parametrize(
    ("lose", "reason"), [(lens_covered, "lens_covered"), (no_video, "no_video")], ids=["lens_covered", "no_video"]
)
def test_a_bundle_that_needs_both_says_unknown_and_why(lose: Any, reason: str, tmp_path: Path) -> None:
    with Classifier.load(bundles.late_fusion_bare(tmp_path)) as classifier:
        scores = classifier.score(lose(classifier))
        assert (scores.probabilities, scores.reason, scores.degraded) == (None, reason, True)
        assert scores.missing == {"audio": "alone", "video": reason}


def test_with_both_gone_there_is_no_input(tmp_path: Path) -> None:
    with Classifier.load(bundles.audio_visual(tmp_path)) as classifier:
        nothing = window(classifier, lost_seconds=1.0, frames=(None,) * 5)
        assert classifier.score(nothing).reason == "no_input"
        covered = window(classifier, lost_seconds=1.0, frames=(picture(classifier, (0, 0, 0)),) * 5)
        assert classifier.score(covered).reason == "lens_covered"


def test_a_dark_picture_with_something_in_it_is_seen(tmp_path: Path) -> None:
    with Classifier.load(bundles.image_only(tmp_path)) as classifier:
        night = picture(classifier, (2, 2, 2))
        night.image[:4, :8] = 255
        assert classifier.score(window(classifier, frames=(night,))).reason is None


class CountingEngine(Engine):
    """Passes everything on to another engine and keeps the batch sizes it saw."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner.name, inner.backend, inner.inputs, inner.outputs)
        self._inner = inner
        self.batches: list[int] = []

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self.batches.append(len(feeds["image"]))
        return self._inner.infer(feeds)


def test_a_frame_is_encoded_once_and_forgotten_when_no_window_needs_it(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    engines = load_engines(bundle)
    assert engines.frame is not None
    counting = CountingEngine(engines.frame)
    with Classifier(bundle, Engines(engines.scene, counting, engines.precision)) as classifier:
        frames = [picture(classifier, (10 * k, 50, 90), index=k, time=0.2 * k) for k in range(12)]
        for start in range(8):
            item = window(classifier, frames=tuple(frames[start : start + 5]))
            scores = classifier.score(item)
            assert scores.probabilities == pytest.approx(expected(classifier, item)["fused"], abs=1e-5)
            assert classifier.n_encoded_frames == 5
        assert counting.batches == [5, 1, 1, 1, 1, 1, 1, 1]
        classifier.reset()
        assert classifier.n_encoded_frames == 0


def test_an_empty_slot_takes_the_nearest_picture(tmp_path: Path) -> None:
    with Classifier.load(bundles.audio_visual(tmp_path)) as classifier:
        red = picture(classifier, bundles.COLOURS["bus"], index=0)
        green = picture(classifier, bundles.COLOURS["park"], index=1)
        holes = classifier.score(window(classifier, frames=(None, red, None, None, green)))
        filled = classifier.score(window(classifier, frames=(red, red, red, green, green)))
        assert holes.probabilities == pytest.approx(filled.probabilities, abs=1e-6)


def test_wants_say_what_the_bundle_needs(tmp_path: Path) -> None:
    with Classifier.load(bundles.audio_visual(tmp_path)) as classifier:
        wants = classifier.wants(Fraction(1, 5))
        assert wants.audio is not None
        assert (wants.audio.sample_rate, wants.audio.n_channels, wants.audio.refuse_mono) == (24_000, 1, False)
        assert wants.video is not None
        assert (wants.video.width, wants.video.height, wants.video.fit) == (48, 32, "squash")
        assert wants.video.schedule.step_seconds == Fraction(1, 5)
    with Classifier.load(bundles.image_only(tmp_path)) as classifier:
        assert classifier.wants(Fraction(1)).audio is None


def test_a_name_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected a folder with a manifest\.json, or a shipped bundle"):
        Classifier.load(tmp_path / "nowhere")
