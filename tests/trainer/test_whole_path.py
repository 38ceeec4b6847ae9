"""From nothing to a bundle that hears and sees, as the documentation types it, at a smaller size: docs/training.md."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from ascstream.cli import main as ascstream
from trainer.cli import main as trainer

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs/slim_av.toml"
SMALL = ("video.width=64", "video.height=64")
QUICK = ("train.epochs=7", "train.windows_per_epoch=768", "train.batch_size=32", "train.learning_rate=3e-3")


def over(settings: tuple[str, ...]) -> list[str]:
    """As `--set` options."""
    return [word for setting in settings for word in ("--set", setting)]


def join(audio: Path, video: Path, out: Path) -> Path:
    """Sound and picture in one file, neither coded anew, as `ffmpeg -i VIDEO -i AUDIO -c copy OUT` does."""
    with av.open(str(audio)) as heard, av.open(str(video)) as seen, av.open(str(out), "w") as target:
        pairs = [(source, stream, target.add_stream_from_template(stream)) for source in (seen, heard)
                 for stream in (*source.streams.video, *source.streams.audio)]  # fmt: skip
        for source, stream, copy in pairs:
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
    return out


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every command up to the bundle."""
    folder = tmp_path_factory.mktemp("path")
    data, run = str(folder / "data"), str(folder / "run")
    cities = [word for city in ("lisbon", "prague", "stockholm") for word in ("--city", city)]
    corpus, prepared = f"{data}/corpus", f"{data}/tau"
    for words in (
        ["synth", corpus, "--clips-per-cell", "4", "--seconds", "3", *cities],
        ["prepare", corpus, prepared, "--config", str(CONFIG), "--workers", "2", *over(SMALL)],
        ["fit", str(CONFIG), "--data", data, "--out", run, *over(SMALL), *over(QUICK)],
        ["evaluate", run, "--submission", f"{run}/submission.csv"],
        ["export", run, "--out", str(folder / "bundle"), "--data", data],
    ):
        assert trainer(words) == 0, words
    return folder


def predictions(place: Path, media: Path, out: Path) -> list[dict[str, object]]:
    """What the exported bundle says of a file."""
    words = ["file", str(media), "--bundle", str(place / "bundle"), "--out", str(out), "--format", "jsonl"]
    assert ascstream(words) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    return [row for row in rows if row["type"] == "prediction"]


def held_out(place: Path) -> list[tuple[str, str]]:
    """Stem and label of every clip that was reported on."""
    clips = json.loads((place / "run/clips.json").read_text())["clips"]
    return [(Path(clip["key"]).name, clip["label"]) for clip in clips if clip["split"] == "evaluate"]


def test_unseen_places_are_told_apart_by_ear_and_by_eye(place: Path) -> None:
    conditions = json.loads((place / "run/report.json").read_text())["conditions"]
    accuracy = {name: part["calibrated"]["accuracy"] for name, part in conditions.items()}
    assert set(accuracy) == {"whole", "audio", "video"}
    assert accuracy["whole"] >= 0.5
    assert accuracy["audio"] >= 0.2
    assert accuracy["video"] >= 0.4
    assert conditions["whole"]["calibrated"]["log_loss"] < 1.6


def test_the_submission_has_a_row_a_second(place: Path) -> None:
    rows = (place / "run/submission.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * len(held_out(place))


def test_the_bundle_streams_unseen_clips(place: Path, tmp_path: Path) -> None:
    right, total = 0, 0
    for stem, label in held_out(place)[::4]:
        corpus = place / "data/corpus"
        clip = join(corpus / f"audio/{stem}.wav", corpus / f"video/{stem}.mp4", tmp_path / f"{stem}.mkv")
        rows = predictions(place, clip, tmp_path / f"{stem}.jsonl")
        assert [row["end"] for row in rows] == [1.0, 1.5, 2.0, 2.5, 3.0]
        assert all(row["modalities"] == ["audio", "video"] and not row["degraded"] for row in rows)
        scores = rows[-1]["scores"]
        assert isinstance(scores, dict)
        right += max(scores, key=lambda name: scores[name]) == label
        total += 1
    assert total >= 10
    assert right / total >= 0.4


def test_without_a_picture_the_bundle_still_answers(place: Path, tmp_path: Path) -> None:
    stem, _ = held_out(place)[0]
    rows = predictions(place, place / f"data/corpus/audio/{stem}.wav", tmp_path / "out.jsonl")
    assert len(rows) == 5
    for row in rows:
        assert (row["modalities"], row["degraded"]) == (["audio"], True)
        raw = row["raw_scores"]
        assert isinstance(raw, dict)
        assert sum(raw.values()) == pytest.approx(1, abs=1e-3)
        assert max(raw.values()) < 1
