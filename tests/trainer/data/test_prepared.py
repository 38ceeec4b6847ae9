"""Reading shards: any stretch of samples, the newest frame, and what is said of a folder that is damaged."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clips import BOTH, RATE, heard, shade, small_corpus

from engines.manifest import AudioInput, VideoInput, WaveformFeature
from trainer.data.clips import Corpus
from trainer.data.prepare import prepare_corpus
from trainer.data.prepared import Prepared, ShardStore, open_prepared, verify_prepared
from trainer.errors import DataError
from trainer.inputs import Inputs

STEREO = AudioInput(RATE, "left,right", WaveformFeature("waveform"))
MONO = replace(STEREO, channels="mono")
VIDEO = VideoInput(32, 24, "squash", (0.5,), 0.5)
INPUTS = Inputs(STEREO, None, VIDEO)
LENGTHS = (19_199, 19_201, 5)
"""Of the first clips; the others have 19,200 samples."""
_HALF_STEP = 0.5 / 32768 + 1e-9


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Prepared]:
    folder = tmp_path_factory.mktemp("prepared")
    corpus = small_corpus(folder / "corpus", samples=LENGTHS)
    return corpus, prepare_corpus(corpus, folder / "out", BOTH, n_workers=1)


@pytest.fixture(scope="module")
def store(made: tuple[Corpus, Prepared]) -> ShardStore:
    return made[1].store(INPUTS)


@pytest.fixture(scope="module")
def decoded(made: tuple[Corpus, Prepared]) -> list[np.ndarray]:
    return [heard(clip.audio) for clip in made[0].clips]


@settings(max_examples=200)
@given(data=st.data())
def test_any_stretch_is_a_slice_of_the_decoded_clip(
    store: ShardStore, made: tuple[Corpus, Prepared], decoded: list[np.ndarray], data: st.DataObject
) -> None:
    clip = data.draw(st.integers(0, len(decoded) - 1))
    total = decoded[clip].shape[1]
    start = data.draw(st.integers(-2000, total + 100))
    n_samples = data.draw(st.integers(0, total + 3000))
    padded = np.pad(decoded[clip], ((0, 0), (2000, total + 4000)))
    expected = padded[:, 2000 + start : 2000 + start + n_samples]
    got = store.samples(clip, start, n_samples)
    assert (got.dtype, got.shape) == (np.float32, (2, n_samples))
    np.testing.assert_allclose(got, expected, rtol=0, atol=_HALF_STEP)
    mono = made[1].store(Inputs(MONO, None, None)).samples(clip, start, n_samples)
    np.testing.assert_allclose(mono, got.mean(axis=0, keepdims=True), rtol=0, atol=1e-7)


@settings(max_examples=100)
@given(
    times=st.lists(st.one_of(st.floats(-1, 3), st.integers(-5, 40).map(lambda n: n / 25)), max_size=6),
    max_age=st.sampled_from([0.04, 0.2, 0.5, 2.0]),
)
def test_the_newest_frame_is_taken_unless_too_old(
    store: ShardStore, made: tuple[Corpus, Prepared], times: list[float], max_age: float
) -> None:
    kept = made[1].clips[3].frame_times
    frames, there = store.frames(3, times, max_age)
    assert (frames.dtype, frames.shape) == (np.uint8, (len(times), 24, 32, 3))
    for time, frame, is_there in zip(times, frames, there, strict=True):
        before = [stamp for stamp in kept if stamp <= time + 1e-6]
        wanted = bool(before) and time - before[-1] <= max_age + 1e-6
        assert is_there == wanted
        assert abs(frame.mean() - (shade(round(25 * before[-1])) if wanted else 0)) < 6


def test_clips_are_those_of_the_corpus(made: tuple[Corpus, Prepared], store: ShardStore) -> None:
    corpus, prepared = made
    assert (prepared.name, prepared.licence, prepared.labels) == ("small", "CC0-1.0", ("park", "tram"))
    assert prepared.left_out == ()
    for clip, kept in zip(corpus.clips, prepared.clips, strict=True):
        assert (kept.key, kept.label, kept.split) == (clip.name, clip.scene_label, clip.split)
        assert (kept.city, kept.location, kept.segment, kept.place) == ("", clip.location, "1", clip.place)
    assert [clip.n_samples for clip in prepared.clips[:4]] == [*LENGTHS, 19_200]
    assert prepared.clips[0].frame_times == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.16)
    assert [store.seconds(clip) for clip in range(len(store))] == [clip.seconds for clip in prepared.clips]
    assert (len(store), store.sample_rate, store.seconds(3)) == (8, RATE, 1.2)
    again = prepared.corpus()
    assert [clip.place for clip in again.clips] == [clip.place for clip in corpus.clips]
    assert again.targets(again.clips) == corpus.targets(corpus.clips)


def test_threads_read_what_one_thread_reads(store: ShardStore) -> None:
    def read(number: int) -> tuple[bytes, bytes]:
        clip, start = number % len(store), 97 * number
        frames, _ = store.frames(clip, [start / RATE], 0.5)
        return store.samples(clip, start, 4000).tobytes(), frames.tobytes()

    alone = [read(number) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(64))) == alone


def test_a_store_may_be_sent_to_another_process(store: ShardStore) -> None:
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    np.testing.assert_array_equal(copy.samples(0, 100, 50), store.samples(0, 100, 50))


def test_what_was_not_asked_for_is_not_read(made: tuple[Corpus, Prepared]) -> None:
    pictures = made[1].store(Inputs(None, None, VIDEO))
    assert pictures.sample_rate == 0
    assert pictures.frames(0, [0.1], 0.5)[1].tolist() == [True]
    with pytest.raises(DataError, match="expected to be asked for pictures alone"):
        pictures.samples(0, 0, 10)
    with pytest.raises(DataError, match="expected sound at 44100 Hz, got one prepared at 16000 Hz"):
        made[1].store(Inputs(replace(STEREO, sample_rate=44_100), None, None))


@pytest.fixture
def copy(made: tuple[Corpus, Prepared], tmp_path: Path) -> Path:
    for path in made[1].folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((folder / "index.json").read_bytes())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(schema=2), "expected an index of schema 1, got 2"),
        (lambda i: i.pop("labels"), "got a fault: no key 'labels'"),
        (lambda i: i["shards"][0].update(file="../shard-00000.tar"), "expected shard-00000.tar, got '../shard"),
        (lambda i: i["shards"][0].pop("sha256"), "shards[0].sha256: expected 64 hexadecimal digits, got nothing"),
        (lambda i: i["clips"][0].update(offset=10**9), "clip clip-0: expected to end inside of its shard"),
        (lambda i: i["clips"][0].update(offset=-512), "expected numbers of 0 or more"),
        (lambda i: i["clips"][0].update(shard=1), "clip clip-0: expected to end inside of its shard"),
        (lambda i: i["clips"][0].update(label="pork"), "clip clip-0: expected one of the labels, got 'pork'"),
        (lambda i: i["clips"][0].update(n_samples="5"), 'n_samples: expected another type, got "5"'),
        (lambda i: i["clips"][0].update(n_samples=True), "n_samples: expected another type, got true"),
        (lambda i: i["clips"][0].update(seconds=1e300), "seconds: expected at most 10,000,000, got 1e+300"),
        (lambda i: i["clips"][0].update(city="a\x1b[2Jb"), "city: expected printable text, got 'a\\x1b[2Jb'"),
        (lambda i: i["clips"][0].pop("key"), "expected the keys key, label"),
        (lambda i: i["clips"][0].update(frame_times=[0.0]), "frame_times: expected ascending times, one for each"),
        (lambda i: i["clips"][0]["frame_times"].reverse(), "frame_times: expected ascending times, one for each"),
        (lambda i: i["clips"][0]["frame_times"].__setitem__(0, None), "got a fault"),
        (lambda i: i["clips"][0]["frame_sizes"].__setitem__(0, 0), "frame_sizes: expected whole numbers above 0"),
        (lambda i: i["settings"]["sound"].update(sample_rate="8k"), "settings.sound.sample_rate: expected an integer"),
        (lambda i: i.update(clips=5), "got a fault"),
    ],
)
def test_an_index_that_cannot_be_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(copy, change)
    with pytest.raises(DataError) as error:
        open_prepared(copy)
    assert str(error.value).startswith(f"{copy}/index.json: expected ")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "\x00\xff", "[" * 100_000])
def test_an_index_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / "index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"index\.json: expected "):
        open_prepared(copy)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match=r"expected a prepared corpus, got no index\.json in it; type \(again"):
            open_prepared(folder)


def test_a_shard_that_lacks_or_is_cut_is_named(copy: Path) -> None:
    shard = copy / "shard-00000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"^{shard}: expected {len(whole):,} bytes, got {len(whole) - 1:,}; type the"):
        open_prepared(copy)
    shard.unlink()
    with pytest.raises(DataError, match=rf"^{shard}: expected a shard, got: No such file or directory; type the same"):
        open_prepared(copy)


def test_a_shard_that_changes_while_it_is_read_is_an_error(copy: Path) -> None:
    store = open_prepared(copy).store(INPUTS)
    shard = copy / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:4096])
    with pytest.raises(DataError, match=rf"^{shard}: expected 400 bytes of clip clip-7 at [\d,]+, got 0; type"):
        store.samples(7, 0, 100)
    shard.unlink()
    with pytest.raises(DataError, match=rf"^{shard}: expected a readable shard, got: No such file"):
        store.frames(7, [0.5], 0.5)


def test_a_changed_byte_is_found_by_its_hash(copy: Path, made: tuple[Corpus, Prepared]) -> None:
    assert verify_prepared(copy).clips == made[1].clips
    shard = copy / "shard-00000.tar"
    data = bytearray(shard.read_bytes())
    data[made[1].clips[2].offset + 515] ^= 1
    shard.write_bytes(data)
    open_prepared(copy)
    with pytest.raises(
        DataError, match=r"expected 1 shards as they were written, got shard-00000\.tar changed; delete"
    ):
        verify_prepared(copy)


def test_a_picture_that_is_none_is_named(copy: Path, made: tuple[Corpus, Prepared]) -> None:
    clip = made[1].clips[3]
    shard = copy / "shard-00000.tar"
    data = bytearray(shard.read_bytes())
    at = data.index(b"\xff\xd8\xff", clip.offset)
    data[at : at + 40] = bytes(40)
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"shard-00000\.tar: expected frame 0 of clip clip-3 as a picture"):
        open_prepared(copy).store(INPUTS).frames(3, [0.1], 0.5)
