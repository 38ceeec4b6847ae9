"""Recordings in memory: any stretch, zeros outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.memory import MemoryStore
from trainer.data.store import ClipStore
from trainer.errors import DataError

RECORDINGS = [np.arange(1, 11, dtype=np.float32), np.arange(40, dtype=np.float32).reshape(2, 20)]


@given(st.integers(0, 1), st.integers(-30, 50), st.integers(0, 60))
def test_any_stretch_is_a_slice_with_zeros_outside(clip: int, start: int, n_samples: int) -> None:
    store: ClipStore = MemoryStore(RECORDINGS, 10)
    recording = np.atleast_2d(RECORDINGS[clip])
    expected = np.pad(recording, ((0, 0), (100, 100)))[:, 100 + start : 100 + start + n_samples]
    got = store.samples(clip, start, n_samples)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float32


def test_lengths_are_told() -> None:
    store = MemoryStore(RECORDINGS, 10)
    assert (len(store), store.sample_rate, store.seconds(0), store.seconds(1)) == (2, 10, 1.0, 2.0)


def test_there_are_no_pictures() -> None:
    with pytest.raises(DataError, match="expected a corpus with pictures, got recordings in memory"):
        MemoryStore(RECORDINGS, 10).frames(0, [0.5], 1.0)
