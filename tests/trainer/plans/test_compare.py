"""Plans beside the reference on recordings: agreement, differences and accuracy, without a GPU."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.media import write_wav

from ascstream.classifier import Classifier
from engines.backends import Engines, load_engines
from engines.base import Array, Engine
from engines.bundle import Bundle, open_bundle
from trainer.data.clips import Clip
from trainer.data.labelled import lone_clip
from trainer.errors import DataError
from trainer.plans.compare import compare


class Biased(Engine):
    """An engine that says `label` more, or no number."""

    def __init__(self, engine: Engine, label: str, by: float) -> None:
        super().__init__(engine.name, f"biased by {by:g}", engine.inputs, engine.outputs)
        self._engine, self._label, self._by = engine, bundles.LABELS.index(label), by

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        answers = self._engine.infer(feeds)
        answers["fused"][:, self._label] += np.float32(self._by)
        return answers


def biased(bundle: Bundle, label: str, by: float) -> Classifier:
    scene = load_engines(bundle).scene
    return Classifier(bundle, Engines(Biased(scene, label, by), None, "float16"))


def tone(path: Path, label: str, seconds: float = 3.0) -> Clip:
    time = np.arange(round(24_000 * seconds)) / 24_000
    samples = (9000 * np.sin(2 * np.pi * bundles.tone_hz(label) * time)).astype(np.int16)
    return lone_clip(write_wav(path, samples[:, None], 24_000), label)


def test_equal_engines_agree_and_accuracy_is_of_what_is_known(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    park, bus = tone(tmp_path / "a.wav", "park"), tone(tmp_path / "b.wav", "bus")
    media = [park, lone_clip(bus.audio, "tram"), lone_clip(park.audio)]
    done: list[tuple[int, int]] = []
    with Classifier.load(bundle.path) as reference, Classifier.load(bundle.path) as other:
        result = compare(reference, {"float16": other}, media, lambda *files: done.append(files))
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    first, second = (asdict(entry) for entry in result.comparisons)
    assert first.pop("name") == "reference"
    assert second.pop("name") == "float16"
    assert first == second
    assert (first["n_windows"], first["n_labelled"], first["agreement"], first["accuracy"]) == (9, 6, 1.0, 0.5)
    assert first["probability_difference"] == 0.0
    assert (result.n_files, result.failures, result.agreement("float16")) == (3, (), 1.0)


def test_what_answers_otherwise_is_counted(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    media = [tone(tmp_path / "a.wav", "park"), tone(tmp_path / "b.wav", "bus")]
    with (
        Classifier.load(bundle.path) as reference,
        biased(bundle, "bus", 100.0) as wrong,
        biased(bundle, "bus", np.nan) as broken,
        biased(bundle, "bus", 0.01) as near,
    ):
        result = compare(reference, {"int8": wrong, "float16": broken, "float32": near}, media)
    _, int8, half, single = result.comparisons
    assert (int8.n_windows, int8.agreement, int8.accuracy) == (6, 0.5, 0.5)
    assert int8.probability_difference == pytest.approx(1.0, abs=0.5)
    assert (half.agreement, half.probability_difference, half.accuracy) == (0.0, None, 0.0)
    assert single.agreement == 1.0
    assert 0 < (single.probability_difference or 0) < 0.01
    assert int8.backend == "biased by 100"


def test_a_file_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    broken = lone_clip(tmp_path / "broken.wav", "park")
    with Classifier.load(bundle.path) as reference:
        result = compare(reference, {}, [broken, tone(tmp_path / "a.wav", "park")])
        assert (result.n_files, len(result.failures)) == (1, 1)
        assert "broken.wav" in result.failures[0]
        with pytest.raises(
            DataError, match=r"--evaluate: expected windows that can be judged, got none: .*broken\.wav"
        ):
            compare(reference, {}, [broken])
        silence = write_wav(tmp_path / "silence.wav", np.zeros((48_000, 1), np.int16), 24_000)
        with pytest.raises(DataError, match="got none: only silence, or nothing that the bundle perceives"):
            compare(reference, {}, [lone_clip(silence)])
