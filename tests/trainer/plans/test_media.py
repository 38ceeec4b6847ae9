"""Recordings that a user points to: their windows, and what the graphs are fed with by them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.media import write_wav

from ascstream.classifier import Classifier
from engines.backends import load_engines
from engines.bundle import open_bundle
from trainer.data.labelled import lone_clip
from trainer.errors import DataError
from trainer.plans.media import RangeFeeds, spread_windows, windows_of

CLIP = Path(__file__).parents[3] / "examples/clip.mp4"


def noise(path: Path, seconds: float, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-9000, 9000, (round(24_000 * seconds), 1)).astype(np.int16)
    return write_wav(path, samples, 24_000)


def test_windows_are_those_of_the_runtime(tmp_path: Path) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        clip = lone_clip(noise(tmp_path / "a.wav", 2.2))
        ends = [window.end for window in windows_of(classifier, clip, Fraction(1, 2))]
    assert ends == [1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("at_most", "expected"), [(1, [6]), (2, [3, 9]), (3, [2, 6, 10]), (4, [2, 5, 8, 11]), (11, list(range(1, 12)))]
)
def test_few_windows_are_from_the_middle_of_the_parts(tmp_path: Path, at_most: int, expected: list[int]) -> None:
    with Classifier.load(bundles.mono_logmel(tmp_path)) as classifier:
        clip = lone_clip(noise(tmp_path / "a.wav", 11.5))
        assert [window.end for window in spread_windows(classifier, clip, at_most)] == expected


def test_ranges_are_measured_on_what_the_graph_is_fed_with(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    files = [noise(tmp_path / "a.wav", 9.0), noise(tmp_path / "b.wav", 3.0, seed=1)]
    media = [lone_clip(path) for path in files]
    with load_engines(bundle) as engines:
        feeds = RangeFeeds(bundle, engines, media, print, n=6)
        taken = list(feeds.of("scene"))
        classifier = Classifier(bundle, engines)
        windows = [window for path in files for window in windows_of(classifier, lone_clip(path), Fraction(1))]
        expected = [classifier._feeds(windows[index], ("audio",)) for index in (1, 4, 7, 9, 10, 11)]
    assert feeds.n_windows == len(taken) == 6
    for own, other in zip(taken, expected, strict=True):
        assert own.keys() == other.keys() == {"logmel"}
        np.testing.assert_array_equal(own["logmel"], other["logmel"])


def test_both_graphs_of_a_bundle_with_pictures_are_fed(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    with load_engines(bundle) as engines:
        feeds = RangeFeeds(bundle, engines, [lone_clip(CLIP)], print, n=4)
        frames = list(feeds.of("frame"))
        assert feeds.n_windows == 4
        scenes = list(feeds.of("scene"))
        assert not engines.scene._closed
    assert len(frames) == len(scenes) == 4
    assert {frame["image"].shape for frame in frames} == {(5, 3, 32, 48)}
    assert {scene["frames"].shape for scene in scenes} == {(1, 5, 8)}
    np.testing.assert_allclose(scenes[0]["frames"][0], bundles.expected_embedding(frames[0]["image"]), atol=1e-5)


def test_a_broken_file_is_said_and_left_out(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    media = [lone_clip(tmp_path / "broken.wav"), lone_clip(noise(tmp_path / "a.wav", 2.0))]
    said: list[str] = []
    with load_engines(bundle) as engines:
        assert len(list(RangeFeeds(bundle, engines, media, said.append).of("scene"))) == 2
        assert len(said) == 1
        assert said[0].startswith("left out of the calibration: ")
        with pytest.raises(DataError, match="--calibrate: expected recordings with sound or pictures"):
            list(RangeFeeds(bundle, engines, media[:1], said.append).of("scene"))
