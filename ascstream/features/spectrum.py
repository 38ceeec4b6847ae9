"""What spectrogram features share: cutting samples into hops, power spectra, and summing them into bands."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ascstream.records import Samples

Bands = NDArray[np.float32]
"""[n_channels, n_bands, n_hops] float32."""

_GROUP = 16
"""Number of bands per matrix product; 8 and 32 were slower for 64 bands."""


class Spectrogram(Protocol):
    """A feature computed hop by hop; it is immutable, so one object serves any number of threads."""

    hop_length: int
    """Samples from one hop to the next."""
    span: int
    """Number of samples that one hop covers."""
    lead: int
    """Number of samples before a hop on which it also depends."""
    is_local: bool
    """Whether a hop depends only on its `lead + span` samples, wherever the input was cut."""

    def hops(self, samples: Samples, lead: int = 0) -> Bands:
        """Compute each hop independently; the first one begins `lead` samples into `samples`."""
        ...

    def relate(self, values: Bands) -> Bands:
        """Apply what needs all hops of an input at once; returns `values` itself if there is nothing to do."""
        ...


class BandWeights:
    """A filter bank as weights over the bins of a spectrum, with most zeros left out.

    Bands are summed in groups of neighbours, each only over the bins it reaches: for a mel bank of 64 bands, this takes
    a third of the time of one dense product.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        """Prepare `weights` [n_bands, n_bins]."""
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
        """Weighted sums of `spectrum`: [n_channels, n_hops, n_bins] → [n_channels, n_bands, n_hops]."""
        out = np.empty((*spectrum.shape[:2], self.n_bands), np.float32)
        for bands, bins, block in self._groups:
            np.matmul(spectrum[:, :, bins], block, out=out[:, :, bands])
        return out.transpose(0, 2, 1)


def cut_hops(samples: Samples, first: int, length: int, hop_length: int, n_hops: int) -> NDArray[np.float32]:
    """A view [n_channels, n_hops, length] of `samples`: a hop every `hop_length` samples, the first at `first`.

    Read-only by convention, since hops overlap.
    """
    samples = np.ascontiguousarray(samples)
    channel, sample = samples.strides
    shape = (samples.shape[0], n_hops, length)
    # numpy's own helpers take eight times as long, which is a twentieth of the cost of five hops
    return np.ndarray(shape, np.float32, samples, first * sample, (channel, hop_length * sample, sample))


def keep_heap() -> None:
    """Make glibc keep up to 8 MiB of free heap instead of returning it to the system again and again.

    The FFT allocates scratch memory for every hop. If that lies at the top of the heap with 128 KiB free below it, each
    release unmaps it and each use faults it in again: 300 page faults and 2.5 times the time for 49 hops of 1764
    samples. Freeing one mmapped block raises that threshold to twice its size (mallopt(3): dynamic mmap threshold);
    other allocators are unaffected. The block itself is never touched.
    """
    np.empty(4 << 20, np.uint8)


def power_spectrum(frames: NDArray[np.float32], n_fft: int) -> NDArray[np.float32]:
    """|X|² of `frames` [n_channels, n_hops, ≤ n_fft], zero-padded to n_fft: [n_channels, n_hops, n_fft // 2 + 1].

    All in float32. It does not matter on which side the padding is: a shift changes only the phase.
    """
    spectrum = np.fft.rfft(frames, n_fft)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power
