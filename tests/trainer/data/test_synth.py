"""The synthetic corpus: its layout, its holes, the same bytes from the same seed, scenes that differ but overlap."""

from __future__ import annotations

import hashlib
import json
import wave
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from trainer.data.clips import EVALUATE, TRAIN, VALIDATION
from trainer.data.synth import plan_corpus, write_corpus
from trainer.data.synth_picture import HEIGHT, LOOKS, WIDTH, draw_view, make_frames
from trainer.data.synth_sound import MIXES, draw_place, make_sound, to_pcm24
from trainer.data.tau_av_2021 import CITIES, EVALUATE_COUNTS, LABELS, TRAIN_COUNTS, read_tau_av_2021
from trainer.errors import ConfigError, TrainerError


def sums(root: Path, folder: str) -> dict[str, str]:
    """SHA-256 of every file of a folder by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / folder).iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(
        tmp_path_factory.mktemp("synth") / "corpus", clips_per_cell=2, seconds=0.4, cities=("lisbon",), seed=3
    )


def test_the_reader_of_the_real_corpus_reads_it(written: Path) -> None:
    corpus = read_tau_av_2021(written)
    assert corpus.labels == LABELS == tuple(sorted(MIXES)) == tuple(sorted(LOOKS))
    assert corpus.licence == "CC0-1.0"
    assert [len(corpus.of(split)) for split in (TRAIN, VALIDATION, EVALUATE)] == [10, 10, 10]
    assert len({clip.place for clip in corpus.clips}) == 30
    assert not list(written.parent.glob(".*"))


def test_the_lists_have_the_columns_of_the_real_ones(written: Path) -> None:
    heads = {path.name: path.read_text().splitlines()[0].split("\t") for path in written.rglob("*.csv")}
    files = ["filename_audio", "filename_video"]
    assert heads == {
        "meta.csv": [*files, "scene_label", "identifier"],
        "fold1_train.csv": [*files, "scene_label"],
        "fold1_evaluate.csv": [*files, "scene_label"],
        "fold1_test.csv": files,
    }
    first = (written / "meta.csv").read_text().splitlines()[1].split("\t")
    assert first[3] == "-".join(Path(first[0]).stem.split("-")[1:3])
    assert json.loads((written / "synthetic.json").read_text())["seed"] == 3


def test_sound_is_24_bit_stereo_at_48_khz(written: Path) -> None:
    for path in (written / "audio").iterdir():
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 3, 48_000)
            assert abs(file.getnframes() - 19_200) <= 1


def test_picture_is_silent_and_25_frames_a_second(written: Path) -> None:
    with av.open(str(next((written / "video").iterdir()))) as container:
        assert not container.streams.audio
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (WIDTH, HEIGHT, 25)
        assert [round(frame.time * 25) for frame in container.decode(video=0)] == list(range(10))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_a_larger_corpus_holds_the_smaller(
    written: Path, tmp_path: Path
) -> None:
    larger = write_corpus(tmp_path / "larger", clips_per_cell=3, seconds=0.4, cities=("lisbon", "milan"), seed=3)
    small, large = sums(written, "audio"), sums(larger, "audio")
    assert small.items() <= large.items()
    assert sums(written, "video").items() <= sums(larger, "video").items()
    assert len(set(large.values())) == len(large) == 80
    other = write_corpus(tmp_path / "other", clips_per_cell=2, seconds=0.4, cities=("lisbon",), seed=4)
    assert sums(other, "audio").keys() == small.keys()
    assert not set(sums(other, "audio").values()) & set(small.values())


def test_some_clips_are_a_sample_longer_or_shorter(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "many", clips_per_cell=8, seconds=0.1, cities=("lisbon",))
    lengths = Counter()
    for path in (root / "audio").iterdir():
        with wave.open(str(path)) as file:
            lengths[file.getnframes()] += 1
    assert set(lengths) == {4799, 4800, 4801}
    assert lengths[4800] > 80


@pytest.mark.parametrize("clips_per_cell", [1, 2, 5])
def test_it_has_the_holes_of_the_real_corpus(clips_per_cell: int) -> None:
    clips = plan_corpus(clips_per_cell)
    found = Counter((clip.fold, clip.scene, clip.city) for clip in clips)
    for fold, counts in (("train", TRAIN_COUNTS), ("evaluate", EVALUATE_COUNTS)):
        expected = clips_per_cell if fold == "train" else max(1, round(0.4 * clips_per_cell))
        for scene in LABELS:
            for city, real in zip(CITIES, counts[scene], strict=True):
                assert found[fold, scene, city] == (expected if real else 0), (fold, scene, city)
    places = {fold: {clip.location for clip in clips if clip.fold == fold} for fold in ("train", "evaluate")}
    assert not places["train"] & places["evaluate"]
    assert len({clip.stem for clip in clips}) == len(clips)
    owners = {(clip.location, clip.scene, clip.city) for clip in clips}
    assert len(owners) == len({location for location, _, _ in owners})


def test_the_largest_corpus_keeps_its_locations_apart() -> None:
    clips = plan_corpus(2000, ("lisbon",))
    owners = {(clip.location, clip.scene, clip.fold) for clip in clips}
    assert len(owners) == len({location for location, _, _ in owners}) == 10 * (500 + 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips_per_cell": 0}, "expected 1 to 2,000 clips a scene and city, got 0"),
        ({"seconds": 0.0}, "expected clips of 0.1 to 600 seconds, got 0"),
        ({"seed": -1}, "expected a seed of 0 or more, got -1"),
        ({"cities": ("rome", "milan")}, "expected some of the cities barcelona, .*, got rome"),
        ({"cities": ()}, "expected some of the cities .*, got none"),
        ({"cities": ("barcelona", "vienna")}, "expected 'airport' at two locations to train on and one to evaluate"),
        ({"cities": ("lisbon",), "clips_per_cell": 1}, "expected 'airport' at two locations"),
    ],
)
def test_a_corpus_that_cannot_be_is_refused(tmp_path: Path, arguments, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_corpus(tmp_path / "corpus", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="expected a new folder, got something that is there already"):
        write_corpus(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_corpus_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"GB free for 2\d\d,\d{3} clips"):
        write_corpus(tmp_path / "corpus", clips_per_cell=2000, seconds=600)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_leaves_nothing_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 30
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "corpus"
    (tmp_path / ".corpus.partial/audio").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(out, seconds=0.1, cities=("lisbon",), on_clip=stop)
    assert list(tmp_path.iterdir()) == []


def test_samples_become_24_bits() -> None:
    samples = np.array([[0.0, 1.0, -1.0], [0.5, 2**-23, 0.0]], np.float32)
    assert to_pcm24(samples) == bytes.fromhex("000000 000040 ffff7f 010000 010080 000000")


@pytest.mark.parametrize("scene", LABELS)
def test_levels_are_those_of_real_recordings(scene: str) -> None:
    for location in range(3):
        place = draw_place(scene, np.random.default_rng(location))
        sound = make_sound(place, 48_000, np.random.default_rng(100 + location))
        assert sound.shape == (2, 48_000)
        assert sound.dtype == np.float32
        assert np.abs(sound).max() <= 0.701
        assert -65 < 10 * np.log10(np.mean(np.square(sound))) < -20


def nearest_centroid(features: np.ndarray, labels: np.ndarray, trained: np.ndarray) -> float:
    """Accuracy on what was not trained on."""
    features = (features - features[trained].mean(0)) / features[trained].std(0)
    names = sorted(set(labels))
    centres = np.stack([features[trained & (labels == name)].mean(0) for name in names])
    answers = np.array(names)[np.square(features[:, None] - centres).sum(-1).argmin(1)]
    return float(np.mean((answers == labels)[~trained]))


def test_scenes_differ_but_overlap_at_locations_never_seen() -> None:
    clips = plan_corpus(2, ("lisbon", "lyon", "milan", "prague"))
    bands = np.unique(np.geomspace(2, 1000, 24).astype(int))
    heard, seen = [], []
    for clip in clips:
        place_rng, clip_rng = np.random.default_rng(clip.location), np.random.default_rng(clip.segment)
        sound = make_sound(draw_place(clip.scene, place_rng), 24_000, clip_rng).mean(0).reshape(-1, 2400)
        power = np.square(np.abs(np.fft.rfft(sound * np.hanning(2400))))
        levels = 10 * np.log10(np.add.reduceat(power, bands, axis=1))
        heard.append(np.r_[levels.mean(0) - levels.mean(), levels.std(0)])
        image = next(make_frames(draw_view(clip.scene, place_rng), 1, clip_rng)).astype(float)
        seen.append(image.reshape(4, 27, 4, 48, 3).mean((1, 3)).ravel())
    labels = np.array([clip.scene for clip in clips])
    trained = np.array([clip.fold == "train" for clip in clips])
    assert 0.3 < nearest_centroid(np.array(heard), labels, trained) < 0.9
    assert 0.25 < nearest_centroid(np.array(seen), labels, trained) < 0.9
