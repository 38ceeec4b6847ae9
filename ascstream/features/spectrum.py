"""What spectrogram features share: hops cut from samples, their power spectrum, and its sum into bands."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ascstream.records import Samples

Bands = NDArray[np.float32]
"""[n_channels, n_bands, n_hops] float32."""

_GROUP = 16
"""Bands summed by one matrix product; 8 and 32 were slower at 64 bands."""


class Spectrogram(Protocol):
    """A feature made hop by hop; constants are computed once, so one object serves any number of threads."""

    hop_length: int
    """Samples between two hops."""
    span: int
    """Samples one hop is made of."""
    lead: int
    """Samples before a hop that it depends on as well."""
    is_local: bool
    """Whether a hop depends on no more than its `lead + span` samples, wherever the input was cut."""

    def hops(self, samples: Samples, lead: int = 0) -> Bands:
        """Each hop by itself; the first begins `lead` samples after the first sample of `samples`."""
        ...

    def relate(self, values: Bands) -> Bands:
        """What can be done only when all hops of an input are there; returns `values` itself where that is nothing."""
        ...


class BandWeights:
    """A bank of filters as weights over the bins of a spectrum, zeros left out.

    Bands are summed in groups of neighbours, each over the bins it reaches only: for a mel bank of 64 bands a third of
    the time of one dense product.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        """Take `weights`: [n_bands, n_bins]."""
        self.n_bands = weights.shape[0]
        self._groups: list[tuple[slice, slice, NDArray[np.float32]]] = []
        for first in range(0, self.n_bands, _GROUP):
            rows = weights[first : first + _GROUP]
            reached = np.flatnonzero(rows.any(axis=0))
            bins = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, 0)
            block = np.ascontiguousarray(rows[:, bins].T, dtype=np.float32)
            block.flags.writeable = False
            self._groups.append((slice(first, first + len(rows)), bins, block))

    def sum(self, spectrum: NDArray[np.float32]) -> Bands:
        """Weigh and sum `spectrum`: [n_channels, n_hops, n_bins] → [n_channels, n_bands, n_hops]."""
        out = np.empty((*spectrum.shape[:2], self.n_bands), np.float32)
        for bands, bins, block in self._groups:
            np.matmul(spectrum[:, :, bins], block, out=out[:, :, bands])
        return out.transpose(0, 2, 1)


def cut_hops(samples: Samples, first: int, length: int, hop_length: int, n_hops: int) -> NDArray[np.float32]:
    """A view [n_channels, n_hops, length] of `samples`: a hop every `hop_length` samples, the first from `first` on.

    Only to be read: hops overlap.
    """
    samples = np.ascontiguousarray(samples)
    channel, sample = samples.strides
    shape = (samples.shape[0], n_hops, length)
    # numpy's own helpers take eight times as long, a twentieth of what five hops cost
    return np.ndarray(shape, np.float32, samples, first * sample, (channel, hop_length * sample, sample))


def keep_heap() -> None:
    """Make glibc keep up to 8 MiB of free heap instead of giving it back to the system at every turn.

    The transform allocates scratch for every hop. Where that lies at the top of a heap with 128 KiB free below it,
    each release unmaps it and each use faults it in again: 300 page faults and 2.5 times the time for 49 hops of 1764
    samples. Releasing one mapped block moves that threshold to twice its size (mallopt(3): dynamic mmap threshold);
    other allocators do not care. The block is never touched.
    """
    np.empty(4 << 20, np.uint8)


def power_spectrum(frames: NDArray[np.float32], n_fft: int) -> NDArray[np.float32]:
    """|X|² of `frames` [n_channels, n_hops, ≤ n_fft], zero-padded to n_fft: [n_channels, n_hops, n_fft // 2 + 1].

    In float32 throughout. Where the padding stands does not matter: a shift changes the phase only.
    """
    spectrum = np.fft.rfft(frames, n_fft)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power
