"""The sound of a container as gapless blocks: decoded, mixed and resampled, with every missing sample accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from ascstream.errors import DecodeError
from ascstream.records import AudioBlock, Samples, StreamEvent
from ascstream.sources.base import AudioWants
from ascstream.sources.blocks import BlockMaker
from ascstream.sources.mixing import Mixer, read_samples
from ascstream.sources.packets import JUMP_MESSAGE, Absence, PacketReader, Stamped
from ascstream.sources.resampling import Resampler
from ascstream.sources.span import Span

_TOLERANCE_SECONDS = Fraction(1, 100)
"""Timestamps may differ by this much from the sample count: containers round them (Matroska to 1 ms), and the shortest
packet that can be lost is longer. The count starts at the last gap, so rounding errors do not accumulate."""
_VORBIS_WOBBLE_SAMPLES = 512
"""Vorbis timestamps may be off by a quarter of the difference between its block lengths, usually 448 samples, and are
then right again; losing a long block loses 1024 samples."""
_BLOCK_SECONDS = 0.1
"""Samples are resampled and passed on in pieces of about this length."""
_OVERLAP_SECONDS = 0.1
"""A shorter overlap is not worth an event."""
_HIGHEST_RATE = 1 << 24
"""Hz, far above any recorder's: only a damaged header announces more, and resampling it would need a huge filter."""
_LOUDEST = 1e6
"""120 dB above full scale: a louder, infinite or NaN value is not a valid sample."""


@dataclass(slots=True)
class _Stretch:
    """A run of consecutive samples at one sample rate."""

    rate: int
    """Sample rate of the source, in Hz."""
    start: Fraction
    """Time of the first sample."""
    n_samples: int
    """Number of samples so far, at the source's rate."""
    resampler: Resampler
    """Converts them to the wanted rate."""

    @property
    def end(self) -> Fraction:
        return self.start + Fraction(self.n_samples, self.rate)


class AudioTrack:
    """Decodes one audio stream; times are in seconds since the medium's beginning."""

    def __init__(
        self, stream: av.AudioStream, reader: PacketReader, span: Span, wants: AudioWants, blocks: BlockMaker
    ) -> None:
        self._stream = stream
        self._reader = reader
        self._span = span
        self._wants = wants
        self._mixer = Mixer(wants.n_channels)
        self._tick = stream.time_base or Fraction(1, 1000)
        self._tick_seconds = float(self._tick)
        self._ticks_per_second = 1 / self._tick
        self._zero_seconds = float(span.zero)
        wobble = _VORBIS_WOBBLE_SAMPLES if "vorbis" in stream.codec_context.name else 0
        self._tolerance = float(max(_TOLERANCE_SECONDS, 2 * self._tick, Fraction(wobble, stream.rate or 8000)))
        self._has_edits = "mp4" in stream.container.format.name
        self._stretch: _Stretch | None = None
        self._pending: list[Samples] = []
        self._n_pending = 0
        self._blocks = blocks
        self._anchored = span.decode_from == 0
        self._n_corrupt = 0
        self._overlap = 0.0
        self._mono_told = False

    def items(self) -> Iterator[AudioBlock | StreamEvent | None]:
        """Yield blocks and events until the track or the span ends; None where the picture must advance first."""
        while not self._blocks.full:
            packet = self._reader.take(self._stream.index)
            if packet is Absence.FAR:
                yield from self._flush()
                yield None
                continue
            yield from self._decode(None if packet is Absence.ENDED else packet)
            if packet is Absence.ENDED:
                break
        yield from self._flush()
        yield from self._closing_events()

    def _decode(self, packet: Stamped | None) -> Iterator[AudioBlock | StreamEvent]:
        if packet is not None:
            jump = self._reader.straighten(packet)
            if jump is not None and jump.first:
                yield StreamEvent(self._blocks.time, "jump", JUMP_MESSAGE, abs(jump.seconds))
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.EOFError:
            frames = []
        except av.FFmpegError:
            yield from self._count_corrupt()
            frames = []
        for frame in frames:
            yield from self._place(frame)

    def _place(self, frame: av.AudioFrame) -> Iterator[AudioBlock | StreamEvent]:
        """Place a frame by its timestamp: after a gap, right after the last one, or with the part that overlaps cut."""
        rate = frame.sample_rate
        if not 0 < rate <= _HIGHEST_RATE:
            yield from self._count_corrupt()
            return
        if self._stretch is not None and rate != self._stretch.rate:
            yield from self._flush()
        if frame.pts is None and not self._anchored:
            return  # after a seek, the time of an unstamped frame is unknown
        samples = read_samples(frame)
        if self._has_edits and frame.duration and self._ticks_per_second == rate:
            samples = samples[:, : frame.duration]  # an edit list may trim the last packet
        expected = self._blocks.end if self._stretch is None else self._stretch.end
        if frame.pts is not None:
            ahead = frame.pts * self._tick_seconds - self._zero_seconds - float(expected)
            tolerance = self._tolerance if self._anchored else 0.5 / rate
            self._anchored |= ahead > -samples.shape[1] / rate
            if ahead > tolerance:
                yield from self._flush()
                yield from self._blocks.lose_until(frame.pts * self._tick - self._span.zero)
            elif ahead < -tolerance:
                samples = self._cut_overlap(samples, -ahead, rate)
        if samples.shape[1]:
            yield from self._append(samples, frame)

    def _cut_overlap(self, samples: Samples, seconds: float, rate: int) -> Samples:
        """Cut the part that repeats earlier sound, and count it unless it only precedes where decoding begins."""
        late = min(round(seconds * rate), samples.shape[1])
        if self._blocks.begun:
            self._overlap += late / rate
        return samples[:, late:]

    def _append(self, samples: Samples, frame: av.AudioFrame) -> Iterator[AudioBlock | StreamEvent]:
        """Mix samples and add them to the stretch; if any is invalid, the frame's duration counts as lost."""
        rate = frame.sample_rate
        if not (samples.max() <= _LOUDEST and samples.min() >= -_LOUDEST):  # also true if one is NaN
            yield from self._count_corrupt()
            yield from self._flush()
            yield from self._blocks.lose_until(self._blocks.end + Fraction(samples.shape[1], rate))
            return
        if self._stretch is None:
            yield from self._check_channels(samples.shape[0])
            resampler = Resampler(rate, self._wants.sample_rate, self._wants.n_channels)
            self._stretch = _Stretch(rate, self._blocks.end, 0, resampler)
        mixed = self._mixer.mix(samples, frame)
        self._pending.append(mixed)
        self._n_pending += mixed.shape[1]
        self._stretch.n_samples += mixed.shape[1]
        if self._n_pending >= _BLOCK_SECONDS * rate:
            yield from self._push(self._stretch)

    def _push(self, stretch: _Stretch) -> Iterator[AudioBlock]:
        if self._pending:
            joined = np.concatenate(self._pending, axis=1)
            self._pending.clear()
            self._n_pending = 0
            # a second at a time: at 1 Hz, one packet would resample to gigabytes
            for start in range(0, joined.shape[1], stretch.rate):
                yield from self._blocks.add(stretch.resampler.push(joined[:, start : start + stretch.rate]))

    def _flush(self) -> Iterator[AudioBlock]:
        """End the stretch: pass on the rest, cut or padded to the exact number of samples for its duration."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None:
            yield from self._push(stretch)
            yield from self._blocks.add_last(stretch.resampler.finish(), stretch.end)

    def _check_channels(self, n_channels: int) -> Iterator[StreamEvent]:
        if n_channels == 1 and self._wants.n_channels == 2 and not self._mono_told:
            if self._wants.refuse_mono:
                raise DecodeError(
                    "the sound is mono, and the bundle listens to left and right; give a stereo recording"
                )
            self._mono_told = True
            yield StreamEvent(self._blocks.time, "mono_source", "the sound is mono: left and right are the same")

    def _count_corrupt(self) -> Iterator[StreamEvent]:
        self._n_corrupt += 1
        if self._n_corrupt == 1:
            yield StreamEvent(
                self._blocks.time,
                "corrupt",
                "a part of the sound cannot be decoded and counts as lost; more are counted",
            )

    def _closing_events(self) -> Iterator[StreamEvent]:
        if self._n_corrupt > 1:
            yield StreamEvent(
                self._blocks.time, "corrupt", f"{self._n_corrupt} parts of the sound could not be decoded"
            )
        if self._overlap > _OVERLAP_SECONDS:
            message = f"{self._overlap:.2f} s of the sound came twice or too late: left out"
            yield StreamEvent(self._blocks.time, "overlap", message, self._overlap)
