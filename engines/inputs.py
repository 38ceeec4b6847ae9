"""How samples and pictures become a network's inputs: the part of a manifest that a front-end follows.

Frozen records, and the exact arithmetic of their sizes. Times are seconds, rates Hz; `manifest.py` has the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from engines.errors import ManifestError
from engines.schema import rule

Modality = Literal["audio", "video"]
"""What a window can be perceived through."""

_LARGEST = 1e9
"""What is subtracted or divided by is not beyond, so that float32 holds the results."""

SHORTEST_STEP_SECONDS = 0.001
"""A thousand answers a second; less than that never ends."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Which stretch of time one prediction is about."""

    seconds: float = rule("a duration in seconds", minimum=SHORTEST_STEP_SECONDS, maximum=60)
    """Length of a window."""
    default_step_seconds: float = rule("a duration in seconds", minimum=SHORTEST_STEP_SECONDS, maximum=60)
    """Time between two windows' ends where the user sets none; never longer than a window."""
    pad_seconds: float = rule("a duration in seconds", minimum=0, maximum=1, default=0.01)
    """A last window short of at most this is padded without further ado."""
    tail_fraction: float = rule("a fraction", minimum=0, maximum=1, default=0.5)
    """What follows the last whole window is padded and marked if it is at least this part of a window; less is dropped
    and counted."""

    def __post_init__(self) -> None:
        if self.default_step_seconds > self.seconds:
            raise ManifestError(
                f"default_step_seconds: expected at most the window's {self.seconds:g} s, "
                f"got {self.default_step_seconds:g}"
            )


@dataclass(frozen=True, slots=True)
class WaveformFeature:
    """The samples themselves: [n_channels, n_samples]."""

    kind: Literal["waveform"] = rule('"waveform"')
    """Always "waveform"."""


@dataclass(frozen=True, slots=True)
class LogMelFeature:
    """A log-mel spectrogram: [n_channels, n_mels, n_hops], or [n_channels, n_hops, n_mels] with `layout` "time_mel"."""

    kind: Literal["logmel"] = rule('"logmel"')
    """Always "logmel"."""
    n_fft: int = rule("an integer number of samples", minimum=2, maximum=65536)
    """Length of the Fourier transform."""
    window_length: int = rule("an integer number of samples", minimum=2, maximum=65536)
    """Length of the analysis window, zero-padded evenly on both sides to n_fft."""
    hop_length: int = rule("an integer number of samples", minimum=1, maximum=65536)
    """Samples between two hops."""
    n_mels: int = rule("an integer number of mel bands", minimum=1, maximum=1024)
    """Mel bands."""
    f_min: float = rule("a frequency in Hz", minimum=0)
    """Lower edge of the lowest band."""
    f_max: float = rule("a frequency in Hz", above=0)
    """Upper edge of the highest band."""
    window: Literal["hann", "hamming", "rectangular"] = rule("a window function", default="hann")
    """Analysis window."""
    periodic: bool = rule("true or false", default=True)
    """Whether the analysis window is periodic (the transform's convention) or symmetric."""
    center: bool = rule("true or false", default=False)
    """Whether hop t is centred on sample t·hop_length; a window's edge columns then depend on where it was cut."""
    pad_mode: Literal["reflect", "constant"] = rule("a padding", default="reflect")
    """Padding at both ends where `center` is true."""
    power: Literal[1, 2] = rule("1 (magnitude) or 2 (power)", default=2)
    """Exponent of the magnitude spectrum."""
    mel_scale: Literal["htk", "slaney", "kaldi"] = rule("a mel scale", default="htk")
    """Formula of the mel scale; kaldi is htk's, with filters whose sides are straight lines over mel, not over Hz."""
    mel_norm: Literal["slaney"] | None = rule('"slaney" or null', default=None)
    """Whether each filter is divided by its width in Hz (half)."""
    preemphasis: float = rule("a coefficient", minimum=0, maximum=1, default=0.0)
    """y[n] = x[n] − a·x[n−1]; 0 switches it off."""
    preemphasis_start: Literal["zero", "drop"] = rule("what there is before the first sample", default="zero")
    """zero: x before the first sample is 0 · drop: there is no y of the first sample, hop 0 begins with the second."""
    log: Literal["natural", "log10", "db"] = rule("a logarithm", default="natural")
    """ln, log10, or decibels: 10·log10 of a power, 20·log10 of a magnitude."""
    log_floor: float = rule("a small positive number", above=0, default=1e-10)
    """Keeps the logarithm finite."""
    log_floor_mode: Literal["clamp", "add"] = rule("how the floor is applied", default="clamp")
    """max(x, floor), or x + floor."""
    range_db: float | None = rule("a range in dB, or null", above=0, default=None)
    """With log "db": values are relative to the input's maximum and end this far below it."""
    row_order: Literal["low_to_high", "high_to_low"] = rule("an order of rows", default="low_to_high")
    """Whether row 0 is the lowest or the highest band."""
    layout: Literal["mel_time", "time_mel"] = rule("a layout", default="mel_time")
    """Order of the last two axes."""

    def __post_init__(self) -> None:
        if self.window_length > self.n_fft:
            raise ManifestError(
                f"window_length: expected at most n_fft = {self.n_fft} samples, got {self.window_length}"
            )
        if self.f_min >= self.f_max:
            raise ManifestError(f"f_max: expected a frequency above f_min = {self.f_min:g} Hz, got {self.f_max:g}")
        if self.range_db is not None and self.log != "db":
            raise ManifestError(f'range_db: expected null where log is "{self.log}", got {self.range_db:g}')
        if self.preemphasis_start == "drop" and not self.preemphasis:
            raise ManifestError('preemphasis_start: expected "zero" where preemphasis is 0, got "drop"')

    @property
    def n_dropped(self) -> int:
        """Samples at an input's beginning that are in no hop: 0 or 1."""
        return int(self.preemphasis_start == "drop")


@dataclass(frozen=True, slots=True)
class GammatoneFeature:
    """A gammatone energy spectrogram in dB: [n_channels, n_bands, n_hops]."""

    kind: Literal["gammatone"] = rule('"gammatone"')
    """Always "gammatone"."""
    form: Literal["fft", "iir"] = rule('"fft" or "iir"')
    """Weighted power spectrum, or Slaney's cascade of biquads; a network wants the one it was trained with."""
    window_length: int = rule("an integer number of samples", minimum=2, maximum=65536)
    """Samples whose energy one hop holds."""
    hop_length: int = rule("an integer number of samples", minimum=1, maximum=65536)
    """Samples between two hops."""
    n_bands: int = rule("an integer number of bands", minimum=1, maximum=1024)
    """Filters, spaced on the ERB-rate scale."""
    f_min: float = rule("a frequency in Hz", minimum=0)
    """Centre frequency the lowest filter approaches."""
    f_max: float = rule("a frequency in Hz", above=0)
    """Centre frequency the highest filter stays below."""
    row_order: Literal["low_to_high", "high_to_low"] = rule("an order of rows", default="high_to_low")
    """Whether row 0 is the lowest or the highest band."""

    def __post_init__(self) -> None:
        if self.f_min >= self.f_max:
            raise ManifestError(f"f_max: expected a frequency above f_min = {self.f_min:g} Hz, got {self.f_max:g}")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to a feature before the network sees it."""

    kind: Literal["none", "affine", "per_bin", "per_clip", "min_max"] = rule("a normalisation")
    """none · affine: (x − mean)/std, one number each · per_bin: the same, a number a band · per_clip: by the window's
    own mean and standard deviation · min_max: the window's own range to [low, high]."""
    mean: tuple[float, ...] | None = rule(
        "a list of numbers, or null", minimum=-_LARGEST, maximum=_LARGEST, default=None
    )
    """affine: one number; per_bin: one a band, in row order."""
    std: tuple[float, ...] | None = rule("a list of positive numbers, or null", minimum=1 / _LARGEST, default=None)
    """As `mean`."""
    epsilon: float = rule("a small number", minimum=0, default=0.0)
    """per_clip: added to the standard deviation."""
    low: float = rule("a number", default=-1.0)
    """min_max: where the smallest value goes."""
    high: float = rule("a number", default=1.0)
    """min_max: where the largest value goes."""
    floor_db: float | None = rule("a range in dB, or null", above=0, default=None)
    """min_max of a feature in dB: values further below the window's maximum are lifted to this first."""

    def __post_init__(self) -> None:
        wanted = self.kind in ("affine", "per_bin")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if wanted and not values:
                raise ManifestError(f"{name}: expected numbers where kind is {self.kind!r}, got nothing")
            if not wanted and values is not None:
                raise ManifestError(f"{name}: expected null where kind is {self.kind!r}, got {len(values)} numbers")
        if wanted and len(self.mean or ()) != len(self.std or ()):
            raise ManifestError(f"std: expected {len(self.mean or ())} numbers as in mean, got {len(self.std or ())}")
        if self.kind == "affine" and len(self.mean or ()) != 1:
            raise ManifestError(f"mean: expected one number where kind is 'affine', got {len(self.mean or ())}")
        if self.floor_db is not None and self.kind != "min_max":
            raise ManifestError(f"floor_db: expected null where kind is {self.kind!r}, got {self.floor_db:g}")
        if self.low >= self.high:
            raise ManifestError(f"high: expected a number above low = {self.low:g}, got {self.high:g}")


@dataclass(frozen=True, slots=True)
class AudioInput:
    """One tensor made of the window's samples."""

    sample_rate: int = rule("an integer in Hz", minimum=1000, maximum=384000)
    """Rate of the samples the feature is computed from; the same for every audio input of a bundle."""
    channels: Literal["mono", "left,right", "left,right,difference"] = rule("a channel arrangement")
    """mono: the mean of left and right · left,right · left,right,difference: L, R and L − R."""
    feature: LogMelFeature | GammatoneFeature | WaveformFeature = rule("an object with a kind")
    """How samples become a tensor."""
    normalisation: Normalisation = rule("an object with a kind", default_factory=lambda: Normalisation(kind="none"))
    """What follows the feature."""
    mono_source: Literal["copy", "refuse"] = rule('"copy" or "refuse"', default="copy")
    """A mono source on a stereo input: both channels alike and announced, or an error."""
    context_seconds: float = rule("a duration in seconds", minimum=0, maximum=10, default=0.0)
    """Samples before the window that filters and hops reach back to; zeros, marked, at the start of a stream."""

    def __post_init__(self) -> None:
        feature = self.feature
        if not isinstance(feature, WaveformFeature) and feature.f_max > self.sample_rate / 2:
            raise ManifestError(
                f"feature.f_max: expected at most half the sample rate, {self.sample_rate / 2:g} Hz, "
                f"got {feature.f_max:g}"
            )
        if self.normalisation.kind == "per_bin":
            n_rows = 0 if isinstance(feature, WaveformFeature) else _n_rows(feature)
            if len(self.normalisation.mean or ()) != n_rows:
                raise ManifestError(
                    f"normalisation.mean: expected one number a band, {n_rows}, "
                    f"got {len(self.normalisation.mean or ())}"
                )

    @property
    def n_channels(self) -> int:
        """Channels of the tensor: 1, 2 or 3."""
        return self.channels.count(",") + 1

    @property
    def n_source_channels(self) -> int:
        """Channels a source has to deliver: 1 or 2."""
        return 1 if self.channels == "mono" else 2


@dataclass(frozen=True, slots=True)
class VideoInput:
    """One tensor made of the window's frames: embeddings where a frame graph encodes them, else the images."""

    width: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """Width of the prepared image."""
    height: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """Height of the prepared image."""
    fit: Literal["crop", "squash"] = rule('"crop" or "squash"')
    """crop: scale the short side, then cut the centre · squash: scale both sides, the aspect ratio gives way."""
    frame_times_seconds: tuple[float, ...] = rule("a list of times in seconds", minimum=0)
    """A slot each, ascending, from the window's start; a slot takes the newest frame at or before its time."""
    max_age_seconds: float = rule("a duration in seconds", above=0)
    """A frame older than this at its slot's time is not taken: the slot is absent."""
    interpolation: Literal["bilinear", "bicubic", "area", "lanczos"] = rule("an interpolation", default="bilinear")
    """How FFmpeg scales."""
    short_side: int | None = rule("an integer number of pixels, or null", minimum=8, maximum=8192, default=None)
    """With fit "crop": length the short side is scaled to before the cut (256 before a cut of 224); null: no margin."""
    channel_order: Literal["rgb", "bgr"] = rule('"rgb" or "bgr"', default="rgb")
    """Order of the colour planes."""
    scale: float = rule("a positive number", minimum=1 / _LARGEST, maximum=_LARGEST, default=1 / 255)
    """Pixels 0…255 are multiplied by this first."""
    mean: tuple[float, ...] = rule(
        "a list of three numbers", minimum=-_LARGEST, maximum=_LARGEST, default=(0.0, 0.0, 0.0)
    )
    """Subtracted after scaling, a number a plane in `channel_order`."""
    std: tuple[float, ...] = rule("a list of three positive numbers", minimum=1 / _LARGEST, default=(1.0,) * 3)
    """Divided by after the mean."""
    embedding_size: int | None = rule("an integer, or null", minimum=1, default=None)
    """Length of what the frame graph makes of an image; null: the scene graph takes the images themselves."""

    def __post_init__(self) -> None:
        times = self.frame_times_seconds
        if not times or list(times) != sorted(set(times)):
            raise ManifestError(f"frame_times_seconds: expected ascending times, at least one, got {list(times)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise ManifestError(f"{name}: expected three numbers, got {len(getattr(self, name))}")
        if self.short_side is not None:
            if self.fit != "crop":
                raise ManifestError(f'short_side: expected null where fit is "squash", got {self.short_side}')
            if self.short_side < max(self.width, self.height):
                raise ManifestError(
                    f"short_side: expected at least the size cut out, {max(self.width, self.height)}, "
                    f"got {self.short_side}"
                )


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the scene graph: exactly one of `audio`, `video`, `presence`."""

    name: str = rule("the name of a graph input")
    """Name in the graph."""
    audio: AudioInput | None = rule("an object", default=None)
    """Made of samples: [n, channels, …]."""
    video: VideoInput | None = rule("an object", default=None)
    """Made of frames: [n, n_frames, embedding_size] or [n, n_frames, 3, height, width]; zeros in an absent modality."""
    presence: tuple[Modality, ...] | None = rule('a list of "audio" and "video"', default=None)
    """Flags [n, len] float32, 1 where that modality is there: the network itself copes with a loss."""

    def __post_init__(self) -> None:
        given = [name for name in ("audio", "video", "presence") if getattr(self, name) is not None]
        if len(given) != 1:
            got = ", ".join(given) or "none"
            raise ManifestError(f"expected exactly one of audio, video, presence, got {got}")
        if self.presence is not None and (not self.presence or len(set(self.presence)) != len(self.presence)):
            raise ManifestError(f"presence: expected distinct modalities, at least one, got {list(self.presence)}")


def seconds_to_samples(seconds: float, sample_rate: int) -> int:
    """A duration that has to be whole in samples, exactly.

    Raises:
        ValueError: It is not: 0.0333 s is 1065.6 samples at 32 kHz.
    """
    exact = Fraction(str(seconds)) * sample_rate
    if exact.denominator != 1:
        raise ValueError(
            f"expected a whole number of samples, got {seconds:g} s = {float(exact):.10g} samples at {sample_rate} Hz"
        )
    return int(exact)


def n_hops(feature: LogMelFeature | GammatoneFeature, n_samples: int) -> int:
    """Hops that a window of `n_samples` (context included) gives."""
    if isinstance(feature, LogMelFeature):
        n_samples -= feature.n_dropped
        if feature.center:
            # n_fft // 2 on both sides is one short of n_fft where that is odd
            return 1 + (n_samples - feature.n_fft % 2) // feature.hop_length
        return 1 + (n_samples - feature.n_fft) // feature.hop_length if n_samples >= feature.n_fft else 0
    return 1 + (n_samples - feature.window_length) // feature.hop_length if n_samples >= feature.window_length else 0


def input_shape(entry: InputSpec, window: WindowSpec) -> tuple[int, ...]:
    """Shape of one input of the scene graph, without its batch axis."""
    if entry.presence is not None:
        return (len(entry.presence),)
    if entry.video is not None:
        video = entry.video
        n_frames = len(video.frame_times_seconds)
        if video.embedding_size is not None:
            return (n_frames, video.embedding_size)
        return (n_frames, 3, video.height, video.width)
    audio = entry.audio
    if audio is None:
        raise ManifestError(f"input {entry.name!r}: expected audio, video or presence, got none")
    feature = audio.feature
    n_samples = seconds_to_samples(window.seconds, audio.sample_rate)
    n_samples += seconds_to_samples(audio.context_seconds, audio.sample_rate)
    if isinstance(feature, WaveformFeature):
        return (audio.n_channels, n_samples)
    hops = n_hops(feature, n_samples)
    rows = _n_rows(feature)
    if isinstance(feature, LogMelFeature) and feature.layout == "time_mel":
        return (audio.n_channels, hops, rows)
    return (audio.n_channels, rows, hops)


def _n_rows(feature: LogMelFeature | GammatoneFeature) -> int:
    """Bands of a feature."""
    return feature.n_mels if isinstance(feature, LogMelFeature) else feature.n_bands
