"""A corpus to shards: the format, processes, stops of every kind, settings, clips that cannot be decoded."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.clips import BOTH, RATE, STEREO, clip_of, heard, noise, small_corpus, write_media
from support.recordings import data_folder

from trainer.data.clips import Corpus
from trainer.data.esc10 import read_esc10
from trainer.data.pictures import decode_picture
from trainer.data.plan import estimate_bytes
from trainer.data.prepare import Progress, prepare_corpus
from trainer.data.prepared import verify_prepared
from trainer.data.settings import Settings, SoundSettings
from trainer.data.shards import keys_of
from trainer.data.synth import write_corpus
from trainer.data.tau_av_2021 import read_tau_av_2021
from trainer.errors import ConfigError, DataError, TrainerError
from trainer.inputs import Inputs

SOUND = Settings(STEREO)


def contents(folder: Path) -> Mapping[str, str]:
    """Hash of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def long_corpus(root: Path, n_clips: int = 13) -> Corpus:
    """Clips of 1.9 MB, decoded: a shard has five; they are one file in many places."""
    first = write_media(root / "noise.wav", samples=noise(10, rate=48_000), rate=48_000)
    clips = []
    for number in range(n_clips):
        path = root / f"clip-{number}.wav"
        path.symlink_to(first)
        clips.append(clip_of(path, None, ("park", "tram")[number % 2], str(number), "train"))
    return Corpus("long", root, ("park", "tram"), tuple(clips), "CC0-1.0")


LONG = Settings(SoundSettings(48_000, 2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    """A corpus, and its three shards as one process writes them; not to be changed."""
    folder = tmp_path_factory.mktemp("long")
    corpus = long_corpus(folder / "corpus")
    prepare_corpus(corpus, folder / "out", LONG, n_workers=1)
    return corpus, folder / "out"


def test_shards_are_tars_that_any_program_reads(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=4)
    prepared = prepare_corpus(corpus, tmp_path / "out", BOTH, n_workers=1)
    assert [shard.file for shard in prepared.index.shards] == ["shard-00000.tar"]
    with tarfile.open(tmp_path / "out/shard-00000.tar") as tar:
        names = tar.getnames()
        assert names[:4] == ["clip-0.json", "clip-0.s16", "clip-0.000.jpg", "clip-0.001.jpg"]
        assert len(names) == 4 * (2 + 7)
        assert {(member.mtime, member.uid, member.mode) for member in tar} == {(0, 0, 0o644)}
        files = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    facts = json.loads(files["clip-2.json"])
    assert (facts["key"], facts["label"], facts["split"], facts["location"]) == ("clip-2", "park", "evaluate", "2")
    assert (facts["n_samples"], facts["seconds"], facts["sound"]) == (
        19_200, 1.2, {"sample_rate": RATE, "n_channels": 2, "refuse_mono": False}
    )  # fmt: skip
    assert facts["frame_times"] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.16]
    samples = np.frombuffer(files["clip-2.s16"], "<i2").reshape(-1, 2)
    np.testing.assert_array_equal(samples, np.rint(heard(corpus.clips[2].audio).T * 32768))
    assert decode_picture(files["clip-2.003.jpg"]).shape == (24, 32, 3)


def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path, whole: tuple[Corpus, Path]) -> None:
    told: list[Progress] = []
    prepared = prepare_corpus(whole[0], tmp_path / "out", LONG, n_workers=2, on_progress=told.append)
    assert len(prepared.index.shards) == 3
    assert contents(tmp_path / "out") == contents(whole[1])
    assert [progress.done for progress in told] == list(range(14))
    assert {(progress.total, progress.resumed) for progress in told} == {(13, 0)}


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[1:1] = {paths!r}  # as pytest has them
from trainer.data.clips import Corpus
from trainer.data.prepare import prepare_corpus
from trainer.data.settings import Settings, SoundSettings
from support.clips import clip_of
if __name__ == "__main__":
    root = Path({root!r})
    clips = [
        clip_of(root / f"clip-{{n}}.wav", None, ("park", "tram")[n % 2], str(n), "train") for n in range(13)
    ]
    corpus = Corpus("long", root, ("park", "tram"), tuple(clips), "CC0-1.0")
    def stop(progress):
        if progress.done == 11:
            os.kill(os.getpid(), signal.SIGKILL)
    prepare_corpus(corpus, Path({out!r}), Settings(SoundSettings(48_000, 2)), n_workers={n}, on_progress=stop)
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, whole: tuple[Corpus, Path], n_workers: int) -> None:
    corpus = whole[0]
    out = tmp_path / "out"
    script = tmp_path / "killed.py"
    tests = str(Path(__file__).parents[2])
    script.write_text(
        _KILLED.format(paths=[str(Path(tests).parent), tests], root=str(corpus.root), out=str(out), n=n_workers)
    )
    done = subprocess.run([sys.executable, str(script)], cwd=Path(tests).parent, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "index.json").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in (out / ".parts").glob("shard-*.json")}
    assert len(finished) in (1, 2)
    told: list[Progress] = []
    prepare_corpus(corpus, out, LONG, n_workers=1, on_progress=told.append)
    assert told[0].resumed == told[0].done >= 3
    for name, moment in finished.items():
        assert (out / ".parts" / name).stat().st_mtime_ns == moment
    assert contents(out) == contents(whole[1])
    assert not list(out.glob(".*.partial"))


def test_a_finished_corpus_is_not_touched(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=4, n_frames=0)
    prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1)
    moments = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    told: list[Progress] = []
    prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1, on_progress=told.append)
    assert told == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == moments


@pytest.mark.parametrize("damage", ["cut", "gone", "part"])
def test_a_damaged_shard_is_written_again(tmp_path: Path, whole: tuple[Corpus, Path], damage: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    shard = out / "shard-00002.tar"
    if damage == "cut":
        os.truncate(shard, 1000)
    elif damage == "gone":
        shard.unlink()
    else:
        (out / ".parts/shard-00002.json").write_text('{"shard": 3}')
    told: list[Progress] = []
    prepare_corpus(whole[0], out, LONG, n_workers=1, on_progress=told.append)
    assert [told[0].done, len(told)] == [10, 4]
    assert contents(out) == contents(whole[1])
    verify_prepared(out)


def test_other_settings_or_clips_in_the_folder_are_named(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=8, n_frames=0)
    out = tmp_path / "out"
    prepare_corpus(corpus, out, SOUND, n_workers=1)
    with pytest.raises(ConfigError, match=r"got a difference: sound\.sample_rate: 16000 and 8000; name another folder"):
        prepare_corpus(corpus, out, Settings(SoundSettings(8000, 2)), n_workers=1)
    fewer = replace(corpus, clips=corpus.clips[:4])
    with pytest.raises(ConfigError, match="clips: 8 of small and 4 of small; name another"):
        prepare_corpus(fewer, out, SOUND, n_workers=1)
    moved = replace(corpus, clips=(replace(corpus.clips[0], split="evaluate"), *corpus.clips[1:]))
    with pytest.raises(ConfigError, match="8 of small and 8 of small, with other names, labels or splits"):
        prepare_corpus(moved, out, SOUND, n_workers=1)


def test_a_corpus_that_was_moved_is_the_same(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=4, n_frames=0)
    prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1)
    (tmp_path / "corpus").rename(tmp_path / "moved")
    moved = small_corpus(tmp_path / "moved", n_clips=4, n_frames=0)
    assert len(prepare_corpus(moved, tmp_path / "out", SOUND, n_workers=1).clips) == 4


@pytest.mark.parametrize("kind", ["file", "folder", "plan"])
def test_a_folder_that_is_taken_is_not_touched(tmp_path: Path, kind: str) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=4, n_frames=0)
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
        (out / "mine").write_text("mine")
    else:
        (out / ".parts").mkdir(parents=True)
        (out / ".parts/plan.json").write_text("{")
    with pytest.raises(ConfigError, match="choose another"):
        prepare_corpus(corpus, out, SOUND, n_workers=1)
    assert not out.is_dir() or {path.name for path in out.iterdir()} <= {"mine", ".parts"}


def test_two_at_once_are_kept_apart(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_clips=4, n_frames=0)
    (tmp_path / "out/.parts").mkdir(parents=True)
    with (tmp_path / "out/.parts/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TrainerError, match="expected to be alone there, got another trainer prepare at work"):
            prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1)
    assert len(prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1).clips) == 4


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_clip_that_cannot_be_decoded_is_left_out(tmp_path: Path, n_workers: int) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_frames=0)
    corpus.clips[5].audio.write_bytes(b"")
    told: list[Progress] = []
    prepared = prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=n_workers, on_progress=told.append)
    assert [clip.key for clip in prepared.clips] == [f"clip-{n}" for n in (0, 1, 2, 3, 4, 6, 7)]
    (left_out,) = prepared.left_out
    assert left_out.key == "clip-5"
    assert "clip-5.wav is empty (0 bytes)" in left_out.reason
    assert [progress.left_out for progress in told if progress.left_out] == [left_out]
    np.testing.assert_array_equal(
        prepared.store(Inputs(_waveform(), None, None)).samples(5, 0, 19_200), heard(corpus.clips[6].audio)
    )


def test_strict_stops_and_goes_on_when_the_clip_is_mended(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_frames=0)
    sound = corpus.clips[5].audio.read_bytes()
    corpus.clips[5].audio.write_bytes(b"")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"clip-5\.wav is empty \(0 bytes\).*; mend it and type the same command again"):
        prepare_corpus(corpus, out, SOUND, n_workers=1, strict=True)
    assert not (out / "index.json").exists()
    prepare_corpus(corpus, out, SOUND, n_workers=1)
    with pytest.raises(DataError, match=r"clip-5\.wav is empty"):
        prepare_corpus(corpus, out, SOUND, n_workers=1, strict=True)
    corpus.clips[5].audio.write_bytes(sound)
    assert len(prepare_corpus(corpus, out, SOUND, n_workers=1, strict=True).clips) == 8


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ((0, 4), "expected clips to train on of every label, got none of 'park': 2 clips cannot be decoded, as "),
        ((2, 3, 6, 7), "expected clips of the split 'evaluate', got none: 4 clips cannot be decoded, as "),
    ],
)
def test_a_label_or_a_split_is_never_left_empty(tmp_path: Path, broken: tuple[int, ...], message: str) -> None:
    corpus = small_corpus(tmp_path / "corpus", n_frames=0)
    sounds = {number: corpus.clips[number].audio.read_bytes() for number in broken}
    for number in broken:
        corpus.clips[number].audio.write_bytes(b"")
    with pytest.raises(DataError) as error:
        prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1)
    assert message in str(error.value)
    assert not (tmp_path / "out/index.json").exists()
    for number, sound in sounds.items():
        corpus.clips[number].audio.write_bytes(sound)
    assert len(prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1).clips) == 8


def test_keys_are_plain_and_unique() -> None:
    names = ["a/airport-lyon-1.2.wav", "b/airport-lyon-1.2.wav", "Straße.wav", "c/AIRPORT-lyon-1_2.wav", "x" * 200]
    keys = keys_of([clip_of(Path(name)) for name in names])
    assert keys[:4] == ["airport-lyon-1_2", "airport-lyon-1_2_2", "Stra_e", "AIRPORT-lyon-1_2_3"]
    assert keys[4] == "x" * 80


def test_many_files_of_one_name_are_told_apart_at_once() -> None:
    begun = time.process_time()
    keys = keys_of([clip_of(Path(f"{number}/audio.wav")) for number in range(20_000)])
    assert time.process_time() - begun < 5  # under 1 s; looking for a free number from 2 on each time takes 30 s
    assert (keys[0], keys[1], keys[-1], len(set(keys))) == ("audio", "audio_2", "audio_20000", 20_000)


def test_names_of_any_bytes_are_taken(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"na\xefve", b"two\nlines", "Zürich".encode(), b"bell\x07")]
    clips = []
    for number, name in enumerate(names):
        path = write_media(tmp_path / f"{number}.wav", samples=noise(0.1))
        path = path.rename(tmp_path / f"{name}.wav")
        clips.append(clip_of(path, None, ("park", "tram")[number % 2], name, "train"))
    clips[3].audio.write_bytes(b"")
    spare = clip_of(write_media(tmp_path / "spare.wav", samples=noise(0.1)), None, "tram", "5", "train")
    corpus = Corpus(os.fsdecode(b"\xff"), tmp_path, ("park", "tram"), (*clips, spare), "CC0-1.0")
    for _ in range(2):
        prepared = prepare_corpus(corpus, tmp_path / "out", SOUND, n_workers=1)
        assert [clip.location for clip in prepared.clips] == [*names[:3], "5"]
        assert [clip.key for clip in prepared.clips] == ["na_ve", "two_lines", "Z_rich", "spare"]
        (left_out,) = prepared.left_out
        assert "bell\N{REPLACEMENT CHARACTER}.wav is empty" in left_out.reason


def test_sizes_are_guessed_from_a_few_files(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, n_clips=8, seconds=2.0, n_frames=0, samples=[16_000])
    guessed = estimate_bytes(corpus.clips, SOUND)
    assert guessed[1:] == pytest.approx([4 * RATE * 2] * 7, rel=0.01)
    assert guessed[0] == pytest.approx(4 * RATE, rel=0.01)


@pytest.mark.slow
def test_a_computed_corpus_is_prepared_with_sound_and_picture(tmp_path: Path) -> None:
    write_corpus(tmp_path / "synth", clips_per_cell=2, seconds=0.6, cities=("lisbon",))
    corpus = read_tau_av_2021(tmp_path / "synth")
    prepared = prepare_corpus(corpus, tmp_path / "out", BOTH, n_workers=2)
    assert len(prepared.clips) == len(corpus.clips) == 30
    assert {clip.split for clip in prepared.clips} == {"train", "validation", "evaluate"}
    store = prepared.store(Inputs(_waveform(), None, None))
    for number, clip in enumerate(corpus.clips):
        expected = heard(clip.audio)
        assert abs(expected.shape[1] - 9600) <= 1
        np.testing.assert_allclose(
            store.samples(number, 0, expected.shape[1]), expected, rtol=0, atol=0.5 / 32768 + 1e-9
        )
        assert prepared.clips[number].frame_times == pytest.approx((0.0, 0.2, 0.4, 0.56))


@pytest.mark.data
@pytest.mark.slow
def test_a_real_corpus_is_prepared(tmp_path: Path) -> None:
    whole = read_esc10(data_folder() / "esc10")
    corpus = replace(whole, clips=whole.clips[::4])
    prepared = prepare_corpus(corpus, tmp_path, Settings(SoundSettings(RATE, 1)), n_workers=2)
    assert (len(prepared.clips), prepared.left_out) == (100, ())
    assert {clip.split for clip in prepared.clips} == {"1", "2", "3", "4", "5"}
    store = prepared.store(Inputs(replace(_waveform(), channels="mono"), None, None))
    for number in (0, 31, 99):
        expected = heard(corpus.clips[number].audio, RATE, 1)
        got = store.samples(number, 0, expected.shape[1])
        np.testing.assert_allclose(got, np.clip(expected, -1, 1), rtol=0, atol=1.01 / 32768)
    verify_prepared(tmp_path)


def _waveform():
    from engines.manifest import AudioInput, WaveformFeature

    return AudioInput(RATE, "left,right", WaveformFeature("waveform"))
