"""How audio samples and images become a network's inputs: the part of a manifest that a front-end follows.

Frozen records, and the exact arithmetic of their sizes. Times are in seconds, rates in Hz; `manifest.py` has the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from engines.errors import ManifestError
from engines.schema import rule

Modality = Literal["audio", "video"]
"""One of the senses that inputs can come from."""

_LARGEST = 1e9
"""Upper bound for means, scales and the inverse of divisors, so that float32 can hold the results."""

SHORTEST_STEP_SECONDS = 0.001
"""A thousand predictions a second; with a shorter step, a stream would practically never end."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The stretch of time that one prediction covers."""

    seconds: float = rule("a duration in seconds", minimum=SHORTEST_STEP_SECONDS, maximum=60)
    """Length of a window."""
    default_step_seconds: float = rule("a duration in seconds", minimum=SHORTEST_STEP_SECONDS, maximum=60)
    """Time between the ends of consecutive windows unless the user sets one; never longer than a window."""
    pad_seconds: float = rule("a duration in seconds", minimum=0, maximum=1, default=0.01)
    """A last window that is short by at most this much is padded without being marked."""
    tail_fraction: float = rule("a fraction", minimum=0, maximum=1, default=0.5)
    """The remainder after the last whole window is padded and marked if it is at least this fraction of a window;
    otherwise it is dropped and counted."""

    def __post_init__(self) -> None:
        if self.default_step_seconds > self.seconds:
            raise ManifestError(
                f"default_step_seconds: expected at most the window's {self.seconds:g} s, "
                f"got {self.default_step_seconds:g}"
            )


@dataclass(frozen=True, slots=True)
class WaveformFeature:
    """The raw samples: [n_channels, n_samples]."""

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
    """Length of the analysis window, zero-padded equally on both sides to n_fft."""
    hop_length: int = rule("an integer number of samples", minimum=1, maximum=65536)
    """Samples between consecutive hops."""
    n_mels: int = rule("an integer number of mel bands", minimum=1, maximum=1024)
    """Number of mel bands."""
    f_min: float = rule("a frequency in Hz", minimum=0)
    """Lower edge of the lowest band."""
    f_max: float = rule("a frequency in Hz", above=0)
    """Upper edge of the highest band."""
    window: Literal["hann", "hamming", "rectangular"] = rule("a window function", default="hann")
    """Analysis window."""
    periodic: bool = rule("true or false", default=True)
    """Whether the analysis window is periodic (the usual choice for an FFT) or symmetric."""
    center: bool = rule("true or false", default=False)
    """Whether hop t is centred on sample t·hop_length; the first and last hops then depend on where a window is cut."""
    pad_mode: Literal["reflect", "constant"] = rule("a padding", default="reflect")
    """Padding at both ends where `center` is true."""
    power: Literal[1, 2] = rule("1 (magnitude) or 2 (power)", default=2)
    """Exponent of the magnitude spectrum."""
    mel_scale: Literal["htk", "slaney", "kaldi"] = rule("a mel scale", default="htk")
    """Formula of the mel scale; kaldi: htk's formula, with filters that are triangular in mel instead of in Hz."""
    mel_norm: Literal["slaney"] | None = rule('"slaney" or null', default=None)
    """slaney: each filter is divided by half its width in Hz; null: not normalised."""
    preemphasis: float = rule("a coefficient", minimum=0, maximum=1, default=0.0)
    """y[n] = x[n] − a·x[n−1]; 0 switches it off."""
    preemphasis_start: Literal["zero", "drop"] = rule("what there is before the first sample", default="zero")
    """zero: the sample before the first is 0 · drop: y begins with the second sample, and so does hop 0."""
    log: Literal["natural", "log10", "db"] = rule("a logarithm", default="natural")
    """ln, log10, or decibels: 10·log10 of a power, 20·log10 of a magnitude."""
    log_floor: float = rule("a small positive number", above=0, default=1e-10)
    """Keeps the logarithm's argument above zero."""
    log_floor_mode: Literal["clamp", "add"] = rule("how the floor is applied", default="clamp")
    """max(x, floor), or x + floor."""
    range_db: float | None = rule("a range in dB, or null", above=0, default=None)
    """With log "db": values are relative to the input's maximum and clipped this far below it."""
    row_order: Literal["low_to_high", "high_to_low"] = rule("an order of rows", default="low_to_high")
    """Whether row 0 holds the lowest or the highest band."""
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
        """Samples at the start of an input that belong to no hop: 0 or 1."""
        return int(self.preemphasis_start == "drop")


@dataclass(frozen=True, slots=True)
class GammatoneFeature:
    """A gammatone energy spectrogram in dB: [n_channels, n_bands, n_hops]."""

    kind: Literal["gammatone"] = rule('"gammatone"')
    """Always "gammatone"."""
    form: Literal["fft", "iir"] = rule('"fft" or "iir"')
    """Weighted power spectrum, or Slaney's cascade of biquads; must be the one the network was trained with."""
    window_length: int = rule("an integer number of samples", minimum=2, maximum=65536)
    """Number of samples over which one hop sums the energy."""
    hop_length: int = rule("an integer number of samples", minimum=1, maximum=65536)
    """Samples between consecutive hops."""
    n_bands: int = rule("an integer number of bands", minimum=1, maximum=1024)
    """Number of filters, spaced on the ERB-rate scale."""
    f_min: float = rule("a frequency in Hz", minimum=0)
    """Centre frequency of the lowest filter."""
    f_max: float = rule("a frequency in Hz", above=0)
    """Upper limit of the centre frequencies, which the highest one stays below."""
    row_order: Literal["low_to_high", "high_to_low"] = rule("an order of rows", default="high_to_low")
    """Whether row 0 holds the lowest or the highest band."""

    def __post_init__(self) -> None:
        if self.f_min >= self.f_max:
            raise ManifestError(f"f_max: expected a frequency above f_min = {self.f_min:g} Hz, got {self.f_max:g}")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How a feature is normalised before the network sees it."""

    kind: Literal["none", "affine", "per_bin", "per_clip", "min_max"] = rule("a normalisation")
    """none · affine: (x − mean)/std with one number each · per_bin: the same with one number per band · per_clip: with
    the window's own mean and standard deviation · min_max: maps the window's own range to [low, high]."""
    mean: tuple[float, ...] | None = rule(
        "a list of numbers, or null", minimum=-_LARGEST, maximum=_LARGEST, default=None
    )
    """affine: one number; per_bin: one per band, in row order."""
    std: tuple[float, ...] | None = rule("a list of positive numbers, or null", minimum=1 / _LARGEST, default=None)
    """Same form as `mean`."""
    epsilon: float = rule("a small number", minimum=0, default=0.0)
    """per_clip: added to the standard deviation."""
    low: float = rule("a number", default=-1.0)
    """min_max: what the smallest value is mapped to."""
    high: float = rule("a number", default=1.0)
    """min_max: what the largest value is mapped to."""
    floor_db: float | None = rule("a range in dB, or null", above=0, default=None)
    """min_max of a feature in dB: before scaling, values are clipped to at most this far below the window's maximum."""

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
    """One tensor computed from the window's samples."""

    sample_rate: int = rule("an integer in Hz", minimum=1000, maximum=384000)
    """Sample rate from which the feature is computed; the same for all audio inputs of a bundle."""
    channels: Literal["mono", "left,right", "left,right,difference"] = rule("a channel arrangement")
    """mono: the mean of left and right · left,right · left,right,difference: L, R and L − R."""
    feature: LogMelFeature | GammatoneFeature | WaveformFeature = rule("an object with a kind")
    """How samples become a tensor."""
    normalisation: Normalisation = rule("an object with a kind", default_factory=lambda: Normalisation(kind="none"))
    """Applied to the feature."""
    mono_source: Literal["copy", "refuse"] = rule('"copy" or "refuse"', default="copy")
    """For a mono source on a stereo input; copy: use it for both channels and tell the user · refuse: an error."""
    context_seconds: float = rule("a duration in seconds", minimum=0, maximum=10, default=0.0)
    """How far before the window filters and hops reach back; zeros, marked, at the start of a stream."""

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
        """Number of channels of the tensor: 1, 2 or 3."""
        return self.channels.count(",") + 1

    @property
    def n_source_channels(self) -> int:
        """Number of channels a source has to deliver: 1 or 2."""
        return 1 if self.channels == "mono" else 2


@dataclass(frozen=True, slots=True)
class VideoInput:
    """One tensor made from the window's frames: embeddings if there is a frame graph, else the images themselves."""

    width: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """Width of the prepared image in pixels."""
    height: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """Height of the prepared image in pixels."""
    fit: Literal["crop", "squash"] = rule('"crop" or "squash"')
    """crop: scale the short side, then cut out the centre · squash: scale both sides, ignoring the aspect ratio."""
    frame_times_seconds: tuple[float, ...] = rule("a list of times in seconds", minimum=0)
    """One slot per time, ascending, from the window's start; each takes the newest frame at or before its time."""
    max_age_seconds: float = rule("a duration in seconds", above=0)
    """A frame older than this at its slot's time is not used: the slot counts as absent."""
    interpolation: Literal["bilinear", "bicubic", "area", "lanczos"] = rule("an interpolation", default="bilinear")
    """FFmpeg's scaling algorithm."""
    short_side: int | None = rule("an integer number of pixels, or null", minimum=8, maximum=8192, default=None)
    """With fit "crop": length the short side is scaled to before the cut (256 for a cut of 224); null: no margin."""
    channel_order: Literal["rgb", "bgr"] = rule('"rgb" or "bgr"', default="rgb")
    """Order of the colour channels."""
    scale: float = rule("a positive number", minimum=1 / _LARGEST, maximum=_LARGEST, default=1 / 255)
    """Pixel values 0…255 are first multiplied by this."""
    mean: tuple[float, ...] = rule(
        "a list of three numbers", minimum=-_LARGEST, maximum=_LARGEST, default=(0.0, 0.0, 0.0)
    )
    """Subtracted after scaling; one number per channel, in `channel_order`."""
    std: tuple[float, ...] = rule("a list of three positive numbers", minimum=1 / _LARGEST, default=(1.0,) * 3)
    """Divisor applied after subtracting the mean."""
    embedding_size: int | None = rule("an integer, or null", minimum=1, default=None)
    """Length of the embedding the frame graph computes from an image; null: the scene graph takes the images."""

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
    """Computed from samples: [n, channels, …]."""
    video: VideoInput | None = rule("an object", default=None)
    """Made from frames: [n, n_frames, embedding_size] or [n, n_frames, 3, height, width]; zeros where absent."""
    presence: tuple[Modality, ...] | None = rule('a list of "audio" and "video"', default=None)
    """Flags [n, len] float32, 1 where that modality is present, for networks that handle missing modalities."""

    def __post_init__(self) -> None:
        given = [name for name in ("audio", "video", "presence") if getattr(self, name) is not None]
        if len(given) != 1:
            got = ", ".join(given) or "none"
            raise ManifestError(f"expected exactly one of audio, video, presence, got {got}")
        if self.presence is not None and (not self.presence or len(set(self.presence)) != len(self.presence)):
            raise ManifestError(f"presence: expected distinct modalities, at least one, got {list(self.presence)}")


def seconds_to_samples(seconds: float, sample_rate: int) -> int:
    """Convert a duration to samples exactly; it must be a whole number of them.

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
    """Number of hops in a window of `n_samples`, context included."""
    if isinstance(feature, LogMelFeature):
        n_samples -= feature.n_dropped
        if feature.center:
            # with n_fft // 2 of padding on both sides, an odd n_fft lacks one sample
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
    """Number of bands of a feature."""
    return feature.n_mels if isinstance(feature, LogMelFeature) else feature.n_bands
