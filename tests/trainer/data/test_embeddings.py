"""Embeddings of frames: a window takes what the encoder would have said of its own frames; they are kept in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stores import FRAME_RATE, CountingStore

from engines.manifest import VideoInput, WindowSpec
from trainer.data.embeddings import EmbeddingStore, FrameList, encode_frames, list_frames, remove_embeddings
from trainer.data.tensors import StretchReader, TensorMaker
from trainer.errors import TrainerError
from trainer.inputs import Inputs

MANY = 60.0
"""Seconds of each of eight clips whose frames fill two parts and some of a third."""


def video_at(*times: float, max_age_seconds: float = 0.4) -> VideoInput:
    return VideoInput(
        width=8, height=8, fit="squash", frame_times_seconds=times, max_age_seconds=max_age_seconds, embedding_size=2
    )


class CountingEncoder:
    """Mean and spread of each tensor, and how many it was given."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.n_frames = 0
        self._stop_after = stop_after

    def __call__(self, tensors: np.ndarray) -> np.ndarray:
        assert 1 <= len(tensors) <= 64
        self.n_frames += len(tensors)
        if self._stop_after is not None and self.n_frames > self._stop_after:
            raise KeyboardInterrupt
        return np.stack([tensors.mean(axis=(1, 2, 3)), tensors[:, 0, 0, 0] ** 2], axis=1)


def frame_times(store: CountingStore, first: float = 0.0) -> list[np.ndarray]:
    return [np.arange(first, store.seconds(clip) - 1e-9, 1 / FRAME_RATE) for clip in range(len(store))]


def many() -> tuple[CountingStore, FrameList, VideoInput]:
    """2400 frames, all of which some window takes."""
    store, video = CountingStore([MANY] * 8, 0), video_at(0.0, 0.5)
    window = WindowSpec(seconds=1.0, default_step_seconds=1.0)
    return store, list_frames(store, frame_times(store), range(8), video, window), video


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.floats(0.3, 5.0), min_size=1, max_size=3),
    slots=st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True),
    first=st.sampled_from([0.0, 0.13, 1.7]),
    max_age=st.sampled_from([0.1, 0.4, 2.0]),
    pad=st.sampled_from([0.0, 0.01, 0.5]),
    draws=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1, max_size=8),
)
def test_a_window_takes_what_the_encoder_says_of_its_frames(
    tmp_path_factory: pytest.TempPathFactory, lengths, slots, first, max_age, pad, draws
) -> None:
    store = CountingStore(lengths, 0, first_frame=first)
    video = video_at(*sorted(slots), max_age_seconds=max_age)
    window = WindowSpec(seconds=1.0, default_step_seconds=1.0, pad_seconds=pad)
    inputs = Inputs(video=video)
    frames = list_frames(store, frame_times(store, first), range(len(store)), video, window)
    encode = CountingEncoder()
    encoded = encode_frames(store, frames, video, encode, tmp_path_factory.mktemp("parts"), "key")
    assert encode.n_frames == len(frames) + 2
    plain, cached = StretchReader(store, inputs, window), StretchReader(store, inputs, window, encoded=encoded)
    for names in (("frames",), ("frames", "presence")):
        maker = TensorMaker(inputs, window, names)
        cached_maker = TensorMaker(inputs, window, names, encoded)
        for choice, share in draws:
            clip = choice % len(store)
            for start in (round(share * plain.last_start(clip)), plain.starts(clip)[-1]):
                tensors, instead = maker.empty(1), cached_maker.empty(1)
                maker.fill(tensors, 0, plain.read(clip, start))
                cached_maker.fill(instead, 0, cached.read(clip, start))
                np.testing.assert_allclose(instead["embeddings"][0], encode(tensors["frames"][0]), atol=1e-6)
                if "presence" in names:
                    np.testing.assert_array_equal(instead["presence"], tensors["presence"])


def test_only_frames_that_a_window_can_take_are_encoded() -> None:
    store = CountingStore([10.0, 9.99], 0)
    window = WindowSpec(seconds=10.0, default_step_seconds=1.0, pad_seconds=0.01)
    frames = list_frames(store, frame_times(store), [0, 1], video_at(4.5, max_age_seconds=1.0), window)
    assert (frames.clips.tolist(), frames.numbers.tolist()) == ([0, 1], [22, 22])
    assert len(list_frames(store, frame_times(store), [1], video_at(0.0, 0.5), WindowSpec(1.0, 1.0))) == 48


def test_a_stop_loses_a_part_at_most(tmp_path: Path) -> None:
    store, frames, video = many()
    assert len(frames) == 2400 - 8 * 2
    whole = encode_frames(store, frames, video, CountingEncoder(), tmp_path / "whole", "key")
    with pytest.raises(KeyboardInterrupt):
        encode_frames(store, frames, video, CountingEncoder(stop_after=1500), tmp_path / "stopped", "key")
    again, seen = CountingEncoder(), []
    resumed = encode_frames(
        store, frames, video, again, tmp_path / "stopped", "key", on_frames=lambda *done: seen.append(done)
    )
    assert again.n_frames == 2 + len(frames) - 1024
    assert (seen[0], seen[-1]) == ((1024 + 64, len(frames)), (len(frames), len(frames)))
    assert same(resumed, whole)
    assert [path.name for path in sorted((tmp_path / "stopped").iterdir())] == [f"key-0000{n}.npz" for n in range(3)]
    remove_embeddings(tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()


def same(one: EmbeddingStore, other: EmbeddingStore) -> bool:
    """Whether all eight clips have the same."""
    moments = np.arange(0, MANY - 1, 0.2).tolist()
    pairs = [(one.take(clip, moments, 0.4), other.take(clip, moments, 0.4)) for clip in range(8)]
    return all(np.array_equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-100],
        lambda data: data[:100],
        lambda data: data[:2000] + b"\xff" + data[2001:],
        lambda _: b"{}",
    ],
)
def test_a_damaged_part_is_encoded_anew(tmp_path: Path, damage) -> None:
    store, frames, video = many()
    whole = encode_frames(store, frames, video, CountingEncoder(), tmp_path, "key")
    path = tmp_path / "key-00001.npz"
    path.write_bytes(damage(path.read_bytes()))
    again = CountingEncoder()
    assert same(encode_frames(store, frames, video, again, tmp_path, "key"), whole)
    assert again.n_frames == 2 + 1024


def test_parts_of_another_key_are_never_used(tmp_path: Path) -> None:
    store, frames, video = many()
    encode_frames(store, frames, video, CountingEncoder(), tmp_path, "one")
    other = CountingEncoder()
    encode_frames(store, frames, video, other, tmp_path, "two")
    assert other.n_frames == 2 + len(frames)
    assert {path.name[:3] for path in tmp_path.iterdir()} == {"two"}


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    store, frames, video = many()
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(TrainerError, match=r"expected to keep embeddings of frames, got: .*; make room"):
        encode_frames(store, frames, video, CountingEncoder(), tmp_path / "parts", "key")


def test_a_frame_that_was_left_out_is_our_own_fault(tmp_path: Path) -> None:
    store = CountingStore([5.0], 0)
    frames = list_frames(store, frame_times(store), [0], video_at(0.0), WindowSpec(4.0, 1.0))
    encoded = encode_frames(store, frames, video_at(0.0), CountingEncoder(), tmp_path, "key")
    assert len(encoded) == 6
    with pytest.raises(ValueError, match="expected frames that were encoded"):
        encoded.take(0, [4.0], 0.4)
