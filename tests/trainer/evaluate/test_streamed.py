"""A bundle of known answers on labelled clips, streamed as `ascstream file` would: whole, and with a sense gone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.bundles import COLOURS, audio_visual, mono_logmel, tone_hz

from ascstream.classifier import Classifier
from trainer.errors import DataError
from trainer.evaluate.streamed import Streamed, evaluate_streamed, read_clips

RATE = 24_000


def tone(label: str, seconds: float) -> np.ndarray:
    """[1, n] 16-bit: a tone that makes a label win."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (9_000 * np.sin(2 * np.pi * tone_hz(label) * times)).astype(np.int16)[None]


def write(path: Path, sound: str | None, picture: str | None, seconds: float = 3.0) -> Path:
    """A clip with the tone of a label, in the colour of a label, either, or both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono") if sound else None
        video = container.add_stream("mjpeg", rate=5) if picture else None
        if video is not None and picture is not None:
            video.width, video.height, video.pix_fmt = 96, 64, "yuvj420p"
            for number in range(round(5 * seconds)):
                frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), COLOURS[picture], np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 5)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(tone(sound, seconds), format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def streamed(bundle: Path, data: Path) -> Streamed:
    with Classifier.load(bundle, backend="onnxruntime") as classifier:
        return evaluate_streamed(classifier, read_clips(data, classifier.manifest.labels))


def recall(done: Streamed, condition: str) -> float:
    return float(done.report["conditions"][condition]["calibrated"]["accuracy"])


def test_every_second_is_a_decision_by_all_and_by_either_sense(tmp_path: Path) -> None:
    write(tmp_path / "clips/bus/a.mkv", "bus", "bus")
    write(tmp_path / "clips/bus/b.mkv", "park", "bus")  # sounds like a park
    write(tmp_path / "clips/park/a.mkv", "park", "park", 2.0)
    (tmp_path / "clips/park/broken.mkv").write_bytes(b"not a film")
    done = streamed(audio_visual(tmp_path), tmp_path / "clips")
    assert [done.report[key] for key in ("n_segments", "n_clips")] == [8, 3]
    assert recall(done, "audio") == pytest.approx(5 / 8)
    assert recall(done, "video") == pytest.approx(1.0)
    assert len(done.failures) == 1
    assert "broken.mkv" in done.failures[0]
    decided = done.report["decided"]["scenes"]
    assert decided["n_windows"] == 8
    assert decided["scene"] + decided["group"] + decided["unknown"] == pytest.approx(1)


def test_sound_and_picture_of_two_files_are_one_clip(tmp_path: Path) -> None:
    lines = ["file,scene_label,video"]
    for number, (label, heard) in enumerate((("bus", "bus"), ("bus", "park"), ("park", "park"))):
        write(tmp_path / f"{number}.wav", heard, None)
        write(tmp_path / f"{number}.mkv", None, label)
        lines.append(f"{number}.wav,{label},{number}.mkv")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    bundle = audio_visual(tmp_path)
    apart = streamed(bundle, tmp_path / "labels.csv")
    for number, (label, heard) in enumerate((("bus", "bus"), ("bus", "park"), ("park", "park"))):
        write(tmp_path / f"one/{label}/{number}.mkv", heard, label)
    together = streamed(bundle, tmp_path / "one")
    for condition in ("whole", "audio", "video"):
        theirs, ours = (done.report["conditions"][condition]["calibrated"] for done in (together, apart))
        assert ours["log_loss"] == pytest.approx(theirs["log_loss"], abs=1e-9)
    assert recall(apart, "audio") == pytest.approx(6 / 9)
    assert recall(apart, "video") == 1.0


def test_clips_of_none_of_the_scenes_count_apart_and_strangers_not_at_all(tmp_path: Path) -> None:
    lines = ["file,scene_label", "a.wav,bus", "b.wav,tram", "c.wav,none", "d.wav,kitchen"]
    for name in ("a.wav", "c.wav", "d.wav"):
        write(tmp_path / name, "bus", None)
    write(tmp_path / "b.wav", "tram", None)
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    bundle = mono_logmel(tmp_path)
    with Classifier.load(bundle, backend="onnxruntime") as classifier:
        clips = read_clips(tmp_path / "labels.csv", classifier.manifest.labels)
        done = evaluate_streamed(classifier, clips)
    assert clips.remarks == ("1 clips of kitchen, which the bundle does not know, were left out",)
    assert (done.report["n_segments"], done.report["decided"]["none"]["n_windows"]) == (6, 3)
    assert list(done.report["conditions"]) == ["whole"]
    assert recall(done, "whole") == 1.0


def test_a_divided_list_is_judged_by_its_evaluation_split(tmp_path: Path) -> None:
    lines = ["file,scene_label,split"]
    for label in ("bus", "tram"):
        for split in ("train", "evaluate"):
            write(tmp_path / f"{label}-{split}.wav", label if split == "evaluate" else "park", None)
            lines.append(f"{label}-{split}.wav,{label},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    done = streamed(mono_logmel(tmp_path), tmp_path / "labels.csv")
    assert (done.report["n_clips"], recall(done, "whole")) == (2, 1.0)


def test_clips_of_other_scenes_are_refused(tmp_path: Path) -> None:
    for label in ("kitchen", "office"):
        write(tmp_path / f"clips/{label}/a.wav", "bus", None)
    with pytest.raises(
        DataError, match=r"expected clips of airport, bus, .*, got kitchen, office; name another bundle"
    ):
        streamed(mono_logmel(tmp_path), tmp_path / "clips")
