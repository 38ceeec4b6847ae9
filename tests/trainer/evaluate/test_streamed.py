"""A bundle of known answers on labelled clips, streamed as `ascstream file` would: whole, and with a sense gone."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.bundles import COLOURS, audio_visual, late_fusion_bare, mono_logmel, tone_hz
from support.cards import with_card
from support.media import write_wav

from ascstream.classifier import Classifier
from ascstream.pipeline import StreamSettings, stream
from ascstream.sources.media import open_media
from engines.bundle import open_bundle
from engines.manifest import OutputSpec, Thresholds
from trainer.data.labelled import read_labelled
from trainer.errors import DataError
from trainer.evaluate.overlap import count_listed
from trainer.evaluate.report_tables import report_to_markdown
from trainer.evaluate.streamed import Streamed, evaluate_streamed

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
        return evaluate_streamed(classifier, read_labelled(data, classifier.manifest.labels))


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


def test_a_clip_that_breaks_off_is_judged_by_what_came_before(tmp_path: Path) -> None:
    whole = write(tmp_path / "clips/bus/a.wav", "bus", None, 4.0)
    write(tmp_path / "clips/bus/b.wav", "bus", None, 2.0)
    whole.write_bytes(whole.read_bytes()[: 44 + 2 * RATE * 5 // 2])
    done = streamed(mono_logmel(tmp_path), tmp_path / "clips")
    assert done.failures == ()
    assert [sentence.split("; ")[0] for sentence in done.shortened] == [f"{whole} ends early: decoded 2.5 of 4.0 s"]
    assert (done.report["n_clips"], done.report["n_segments"]) == (2, 4)


def test_the_precision_of_no_answers_is_nothing(tmp_path: Path) -> None:
    write(tmp_path / "clips/bus/a.wav", "bus", None)
    bundle = mono_logmel(tmp_path, thresholds=Thresholds(scene=1.0, group=1.0))
    found = streamed(bundle, tmp_path / "clips").report["thresholds_evaluated"]
    assert (found["scene_precision"], found["scene_coverage"]) == (None, 0.0)


def test_the_tables_of_a_bundle_leave_out_what_only_a_run_knows(tmp_path: Path) -> None:
    write(tmp_path / "clips/bus/a.wav", "bus", None)
    text = report_to_markdown(streamed(mono_logmel(tmp_path), tmp_path / "clips").report)
    assert "held out" not in text
    assert "held-out" not in text
    assert "Calibrated with the temperatures of the bundle;" in text
    assert "| level | threshold | right | of the time |" in text


def test_clips_that_the_card_lists_are_counted(tmp_path: Path) -> None:
    known = write(tmp_path / "clips/bus/a.wav", "bus", None)
    write(tmp_path / "clips/park/b.wav", "park", None)
    bundle = open_bundle(mono_logmel(tmp_path))
    clips = read_labelled(tmp_path / "clips", bundle.manifest.labels).clips
    assert count_listed(bundle, clips) == 0
    digest = hashlib.sha256(known.read_bytes()).hexdigest()
    assert count_listed(with_card(bundle, f"# mine\n\n| a.wav | `{digest}` |\n"), clips) == 1


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
        clips = read_labelled(tmp_path / "labels.csv", classifier.manifest.labels)
        done = evaluate_streamed(classifier, clips)
    assert clips.remarks == ("1 clip of kitchen, which the bundle does not know, was left out",)
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


def test_where_a_sense_never_speaks_its_row_is_left_out_and_elsewhere_silence_is_a_guess(tmp_path: Path) -> None:
    write(tmp_path / "mute/bus/a.mkv", None, "bus")
    write(tmp_path / "mute/park/b.mkv", None, "park")
    bundle = audio_visual(tmp_path)
    done = streamed(bundle, tmp_path / "mute")
    assert list(done.report["conditions"]) == ["whole", "video"]
    assert done.report["unanswered"] == {"whole": 0, "audio": 6, "video": 0}
    write(tmp_path / "mute/airport/c.mkv", "airport", "bus", 6.0)
    write(tmp_path / "mute/airport/d.mkv", None, "bus", 6.0)
    done = streamed(bundle, tmp_path / "mute")
    assert done.report["unanswered"]["audio"] == 12
    assert recall(done, "audio") == pytest.approx(
        (6 + 12 / 10) / 18
    )  # by argmax it would be all of the airport, 12 / 18


def test_a_bundle_that_cannot_lack_a_sense_is_judged_whole_alone(tmp_path: Path) -> None:
    for label in ("bus", "park"):
        write(tmp_path / f"clips/{label}/a.mkv", label, label)
    assert list(streamed(late_fusion_bare(tmp_path), tmp_path / "clips").report["conditions"]) == ["whole"]


def test_flags_without_heads_answer_at_the_temperature_of_both(tmp_path: Path) -> None:
    """What is reported is what `ascstream file` says, divided by no temperature twice."""
    write(tmp_path / "clips/bus/a.mkv", "bus", "park")
    write(tmp_path / "clips/park/a.mkv", "bus", "park")
    bundle = audio_visual(tmp_path, outputs=(OutputSpec("fused", 3.0),))
    done = streamed(bundle, tmp_path / "clips")
    sound = write(tmp_path / "sound.wav", "bus", None)
    with Classifier.load(bundle, backend="onnxruntime") as classifier, open_media(sound) as source:
        scores = [one.raw_scores for one in stream(classifier, source, StreamSettings(step_seconds=1.0))]
    expected = -np.mean([np.log(one[label]) for one in scores for label in ("bus", "park")])
    assert done.report["conditions"]["audio"]["calibrated"]["log_loss"] == pytest.approx(expected, abs=1e-3)


def test_smoothed_figures_are_of_what_the_runtime_said(tmp_path: Path) -> None:
    """A window without an answer lets the filter go on by itself, which even scores do not."""
    (tmp_path / "clips/bus").mkdir(parents=True)
    silence = np.zeros((1, RATE), np.int16)
    samples = np.concatenate([tone("bus", 2.0), silence, tone("park", 1.0)], axis=1)
    clip = write_wav(tmp_path / "clips/bus/a.wav", samples.T, RATE)
    bundle = mono_logmel(tmp_path)
    done = streamed(bundle, tmp_path / "clips")
    with Classifier.load(bundle, backend="onnxruntime") as classifier, open_media(clip) as source:
        scores = [one.scores["bus"] for one in stream(classifier, source, StreamSettings(step_seconds=1.0))]
    assert done.report["unanswered"] == {"whole": 1}
    assert done.report["smoothed"]["log_loss"] == pytest.approx(-np.mean(np.log(scores)), rel=1e-12)


def test_clips_of_other_scenes_are_refused(tmp_path: Path) -> None:
    for label in ("kitchen", "office"):
        write(tmp_path / f"clips/{label}/a.wav", "bus", None)
    with pytest.raises(
        DataError, match=r"expected clips of airport, bus, .*, got kitchen, office; name another bundle"
    ):
        streamed(mono_logmel(tmp_path), tmp_path / "clips")
