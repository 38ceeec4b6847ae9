"""Bundles on clips answer what the runtime's classifier answers, with everything and with one modality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.bundles import LABELS
from support.scenes import RATE, SceneStore

from ascstream.classifier import Classifier
from ascstream.records import VideoFrame, Window
from engines.bundle import open_bundle
from engines.errors import BundleError
from engines.manifest import OutputSpec
from trainer.clip_run import ClipEntry
from trainer.errors import DataError
from trainer.evaluate.bundle import bundle_inputs, evaluate_bundle
from trainer.evaluate.metrics import softmax
from trainer.evaluate.report import bundle_report
from trainer.evaluate.report_tables import report_to_markdown

HEARD = ("bus", "park", "tram", "", "metro_station")
SEEN = ("bus", "metro_station", "park", "park", "")
WINDOWS = [(clip, second) for clip in range(len(HEARD)) for second in range(2)]


def window_of(store: SceneStore, clip: int, second: int, times: tuple[float, ...], *, only: str = "") -> Window:
    """The same window as a stream would give it."""
    samples = None if only == "video" else store.samples(clip, second * RATE, RATE)
    images, there = store.frames(clip, [second + time for time in times], 0.4)
    frames = tuple(
        VideoFrame(second + time, image, second + time, 100 * clip + 10 * second + slot)
        if present and only != "audio"
        else None
        for slot, (time, image, present) in enumerate(zip(times, images, there, strict=True))
    )
    return Window(second, float(second), second + 1.0, second * RATE, samples, frames)


@pytest.mark.parametrize("shape", [bundles.audio_visual, bundles.audio_visual_no_presence], ids=["presence", "heads"])
def test_a_bundle_answers_as_in_a_stream(shape: Callable[..., Path], tmp_path: Path) -> None:
    path = shape(tmp_path)
    store = SceneStore(HEARD, SEEN)
    bundle = open_bundle(path)
    answers = evaluate_bundle(bundle, store, range(len(store)), LABELS)
    assert answers.clips.tolist() == [clip for clip, _ in WINDOWS]
    assert set(answers.logits) == {"whole", "audio", "video"}
    n_compared = 0
    with Classifier.load(path) as classifier:
        for condition, only in (("whole", ""), ("audio", "audio"), ("video", "video")):
            probabilities = softmax(answers.logits[condition])
            for row, (clip, second) in enumerate(WINDOWS):
                classifier.reset()
                times = bundles.FRAME_TIMES
                scores = classifier.score(window_of(store, clip, second, times, only=only)).probabilities
                flagged = shape is bundles.audio_visual
                whole = HEARD[clip] and SEEN[clip]
                if scores is not None and (whole or (flagged and condition == "whole")):
                    np.testing.assert_allclose(probabilities[row], scores, atol=1e-6)
                    n_compared += 1
    assert n_compared == (22 if shape is bundles.audio_visual else 18)


def test_a_clip_is_heard_and_seen_for_what_it_is(tmp_path: Path) -> None:
    store = SceneStore(("bus", "park"), ("metro_station", "park"))
    answers = evaluate_bundle(open_bundle(bundles.audio_visual(tmp_path)), store, [1, 0], LABELS)
    assert answers.clips.tolist() == [1, 1, 0, 0]
    heard, seen = ([LABELS[index] for index in answers.logits[name].argmax(axis=1)] for name in ("audio", "video"))
    assert heard == ["park", "park", "bus", "bus"]
    assert seen == ["park", "park", "metro_station", "metro_station"]


def test_sound_alone_has_one_condition(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    answers = evaluate_bundle(bundle, SceneStore(("tram", "metro"), ("", "")), [0, 1], LABELS)
    assert list(answers.logits) == ["whole"]
    assert [LABELS[index] for index in answers.logits["whole"].argmax(axis=1)] == ["tram"] * 2 + ["metro"] * 2


def test_a_picture_without_an_encoder(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.image_only(tmp_path))
    assert bundle_inputs(bundle.manifest).sound is None
    answers = evaluate_bundle(bundle, SceneStore(("", ""), ("bus", "park")), [0, 1], LABELS)
    assert [LABELS[index] for index in answers.logits["whole"].argmax(axis=1)] == ["bus"] * 2 + ["park"] * 2


def test_what_cannot_be_evaluated_is_said(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    store = SceneStore(("tram",), ("",))
    with pytest.raises(DataError, match="expected the labels beach, bus, got airport, bus"):
        evaluate_bundle(bundle, store, [0], ("beach", "bus"))
    with pytest.raises(DataError, match="expected clips to evaluate it on, got none"):
        evaluate_bundle(bundle, store, [], LABELS)
    with pytest.raises(BundleError, match="holds float32 only; drop --precision int8"):
        evaluate_bundle(bundle, store, [0], LABELS, precision="int8")
    twice = bundles.two_inputs(tmp_path)
    inputs = open_bundle(twice).manifest.inputs
    doubled = (inputs[1], type(inputs[1])("again", audio=inputs[1].audio))
    with pytest.raises(DataError, match="expected one input of features, got logmel, again"):
        bundle_inputs(open_bundle(bundles.two_inputs(tmp_path, inputs=doubled)).manifest)


def test_a_bundles_report_uses_its_own_temperatures(tmp_path: Path) -> None:
    outputs = (OutputSpec("fused", 2.5), OutputSpec("audio", 9.0))
    bundle = open_bundle(bundles.audio_visual(tmp_path, outputs=outputs))
    answers = evaluate_bundle(bundle, SceneStore(HEARD[:3], SEEN[:3]), range(3), LABELS)
    entries = [ClipEntry(f"c{k}", label, "", f"p{k}", "", "evaluate", 2.0) for k, label in enumerate(HEARD[:3])]
    report = bundle_report(bundle.manifest, answers, entries, "invented", "float32")
    assert report["temperatures"] == {"fused": 2.5, "audio": 9.0, "video": 2.5}  # fused answers where there is no head
    assert report["conditions"]["audio"]["calibrated"]["accuracy"] == 1.0
    assert report["conditions"]["video"]["calibrated"]["accuracy"] == pytest.approx(1 / 3)
    assert report["thresholds"] == {"scene": 0.5, "group": 0.6}
    assert report["by_city"] == {}
    text = report_to_markdown(report)
    assert "## When something is named" in text
    assert "## Calibration" not in text
