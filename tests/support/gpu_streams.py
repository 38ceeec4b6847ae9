"""A stream whose plan fails on the way, against the same stream on ONNX Runtime alone."""

from __future__ import annotations

from pathlib import Path

from support.gpu import ROOT

from ascstream import Classifier, Prediction, StreamSettings, open_media, stream
from engines.bundle import Bundle, open_bundle
from engines.trt.installed import TensorRt


def shipped() -> Bundle:
    """The bundle that ships."""
    with Classifier.load(backend="onnxruntime") as classifier:
        return open_bundle(classifier.path)


def check_fallback(plans: Path, tensorrt: TensorRt, n_answered: int) -> None:
    """No window is lost, labels are those of ONNX Runtime, and what it answered is marked."""
    with Classifier.load(backend="onnxruntime") as reference:
        expected = _predictions(reference)
    with Classifier.load(backend="tensorrt", plans=plans, tensorrt=tensorrt) as classifier:
        predictions = _predictions(classifier)
    assert [prediction.label for prediction in predictions] == [prediction.label for prediction in expected]
    marks = [prediction.fallback is not None for prediction in predictions]
    assert marks == [index >= n_answered for index in range(len(expected))]
    assert "injected" in str(predictions[-1].fallback)


def _predictions(classifier: Classifier) -> list[Prediction]:
    with open_media(ROOT / "examples" / "clip.mp4") as source:
        return [
            item
            for item in stream(classifier, source, StreamSettings(smoothing_seconds=0))
            if isinstance(item, Prediction)
        ]
