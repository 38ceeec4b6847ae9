"""Run configuration: one TOML file parsed into frozen records, every key checked; inputs are the manifest's records.

Usage: `load_config("configs/slim_audio.toml", ["train.epochs=2"])`. An unknown key is an error that suggests the
nearest known one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engines.errors import ManifestError
from engines.manifest import AudioInput, SmoothingSpec, VideoInput, WindowSpec, check_name
from engines.schema import decode, rule
from trainer.errors import ConfigError
from trainer.inputs import Inputs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


SPLIT = "{split}"
"""Placeholder, in the name of an initial-weights file, for the name of a network's folder."""
MACHINE_KEYS = ("train.threads", "train.workers", "train.device")
"""Keys that affect how the machine is used but not the result: they may change when a stopped run is resumed."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A source of recordings, as described on the model card."""

    title: str = rule("a title")
    """Title of the source."""
    url: str = rule("an address")
    """Where the recordings can be obtained."""
    licence: str = rule("a licence")
    """Licence of the recordings."""
    credit: str | None = rule("a sentence, or null", default=None)
    """The attribution that the licence requires."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The recordings and their labels: either a list of them, or a corpus that `trainer prepare` decoded."""

    labels: str | None = rule("a CSV file or a folder of classes, inside the data folder, or null", default=None)
    """`file,scene_label[,confidence,licence,recording,source]` with files beside it, or a folder with one folder
    per class."""
    prepared: str | None = rule("a folder that `trainer prepare` made, inside the data folder, or null", default=None)
    """A prepared corpus: its training split is trained on, its evaluation split reported on."""
    fold: str | None = rule("a fold's name, or null", default=None)
    """For a prepared corpus divided into folds: the fold to report on."""
    validation_share: float = rule("a fraction", above=0, maximum=0.5, default=0.1)
    """For a prepared corpus: fraction of the training clips, in whole locations, held out to select the epoch."""
    calibration_cities: int = rule("an integer", minimum=0, default=1)
    """For a prepared corpus of three or more cities: training cities held out whole to fit the temperatures on."""
    impulse_responses: str | None = rule("a folder inside the data folder, or null", default=None)
    """Folder of microphone impulse responses."""
    impulse_response_credit: str = rule("a sentence", default="")
    """Where they come from, for the model card."""
    none_label: str = rule("a label", default="none")
    """Label of listed recordings that show none of the scenes: never trained on, used only to measure how often the
    network is confident about them; `outliers` are trained on."""
    outliers: str | None = rule("a folder inside the data folder, or null", default=None)
    """For listed recordings: folder of recordings of none of the scenes, from which `augment.none_share` takes its
    windows; never evaluated on."""
    outliers_credit: str = rule("a sentence", default="")
    """Where they come from, for the model card."""
    min_recordings: int = rule("an integer", minimum=2, default=2)
    """A label with fewer recordings cannot be evaluated and is left out."""
    groups: Mapping[str, tuple[str, ...]] = rule("labels a group", default_factory=dict)
    """Coarser classes, each a list of labels; labels that are not trained are left out."""
    sources: Mapping[str, SourceConfig] = rule("an object a source", default_factory=dict)
    """Sources, keyed by the value of the CSV column `source` or, without it, by the first folder in `file`."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Augmentation of training windows: what is applied, and how often. Probabilities are per window."""

    gain_db: float = rule("a range in dB", minimum=0, default=20.0)
    """Random gain, uniform within ± this many dB."""
    response_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Convolve with a microphone's impulse response, if any are configured."""
    tilt_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Apply a smooth random frequency response."""
    tilt_db: float = rule("a range in dB", minimum=0, default=8.0)
    """Standard deviation of that response at its knots, which are one octave apart."""
    lowpass_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Apply a low-pass filter, as codecs and telephones do."""
    lowpass_hertz: float = rule("a frequency in Hz", above=0, default=3000.0)
    """Lowest cut-off frequency; the highest is half the sample rate, and the logarithm is drawn uniformly."""
    noise_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """Add white or pink noise."""
    noise_snr_db: float = rule("a ratio in dB", default=10.0)
    """Lowest signal-to-noise ratio; the highest is 40 dB above it."""
    mix_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """Mix in another recording of the same scene, at −10 to 0 dB."""
    mixup: float = rule("a number", minimum=0, default=0.2)
    """α of mixup's Beta(α, α): the weights that mix two windows' inputs and labels; 0 disables mixup."""
    style_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """Frequency-wise MixStyle: mix each band's mean and standard deviation with those of another window."""
    band_mask: int = rule("an integer number of bands", minimum=0, default=12)
    """Maximum width of each of two frequency masks, in bands."""
    hop_mask: int = rule("an integer number of hops", minimum=0, default=10)
    """Maximum width of each of two time masks, in hops."""
    mixup_form: Literal["pair", "batch", "every_other"] = rule("a form of mixup", default="pair")
    """pair: one weight per window · batch: one per batch · every_other: one per batch, in every second batch only."""
    mono_probability: float = rule("a probability", minimum=0, maximum=1, default=0.2)
    """For stereo networks: replace both channels by their mean, as if from a mono microphone."""
    flip_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Mirror frames left to right, all frames of a window alike."""
    crop_scale: float = rule("a fraction", above=0, maximum=1, default=0.7)
    """Smallest crop, as a fraction of a frame's sides, scaled back to full size; all frames of a window alike."""
    colour: float = rule("a fraction", minimum=0, maximum=1, default=0.3)
    """Vary brightness, contrast and saturation by up to ± this fraction."""
    drop_audio: float = rule("a probability", minimum=0, maximum=1, default=0.15)
    """For audio-visual networks with presence flags: drop the sound."""
    drop_video: float = rule("a probability", minimum=0, maximum=1, default=0.15)
    """For audio-visual networks with presence flags: drop the picture."""
    rotate_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Rotate square frames by 90° either way, as a camera may be held."""
    darken_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Darken frames as at night: down to a tenth of their brightness, with the sensor noise that comes with it."""
    blur_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Blur frames as if out of focus: Gaussian with a radius of up to a fiftieth of their width."""
    none_share: float = rule("a fraction", minimum=0, maximum=0.5, default=0.0)
    """Fraction of windows that show none of the scenes, if the corpus has such clips; trained towards a uniform
    distribution over the scenes (outlier exposure, Hendrycks et al. 2019)."""


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """Pretrained weights that initialise a part of the network."""

    file: str = rule("a file inside the data folder")
    """A .safetensors file, or a checkpoint that holds only tensors and plain values. "{split}" in its name stands for
    the network's folder ("fold-0" … "final") where a run trains several: weights not trained on what that fold holds
    out."""
    sha256: str | None = rule("64 hexadecimal digits, or null", default=None)
    """The hash that the file must have."""
    credit: str | None = rule("a sentence, or null", default=None)
    """Credit on the model card: what the weights were trained on, who made them, under which licence."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network architecture and its initial weights."""

    name: str = rule("a network's name; `trainer models` lists them", default="slim_audio")
    """The network's name in the registry."""
    dropout: float | None = rule("a probability, or null", minimum=0, maximum=0.9, default=None)
    """Dropout probability, where the network has dropout; null: the network's default."""
    weights: Mapping[str, WeightsConfig] = rule("a table a part", default_factory=dict)
    """Initial weights by part, as in `[model.weights.encoder]`; "" is the whole network."""
    freeze: tuple[str, ...] = rule("a list of names of parts", default=())
    """Parts whose weights are frozen, such as "encoder"."""
    options: Mapping[str, int | float | bool | str] = rule("a number, a word, true or false", default_factory=dict)
    """Further arguments of the network's factory; see its docstring."""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """One stage of a recipe that trains a network part by part; null fields inherit from `[train]`."""

    parts: tuple[str, ...] = rule("a list of names of parts")
    """Modules to train, such as "scene.audio"; all others are frozen. [""]: the whole network."""
    answer: str = rule("an output", default="fused")
    """The output that the loss is computed on."""
    epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Maximum number of epochs."""
    learning_rate: float | None = rule("a positive number, or null", above=0, default=None)
    """Peak learning rate."""
    batch_size: int | None = rule("an integer, or null", minimum=2, default=None)
    """Windows per step."""
    mixup: float | None = rule("a number, or null", minimum=0, default=None)
    """α of mixup's Beta(α, α); see `augment.mixup`."""
    plateau_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """For schedule plateau; see `train.plateau_epochs`."""
    stop_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Early stopping; see `train.stop_epochs`."""


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Knowledge distillation: the network also learns from a teacher's outputs (Hinton et al. 2015)."""

    teacher: str = rule("a bundle or a run, inside the data folder")
    """A bundle folder or a finished run of this trainer; its labels must be the same."""
    temperature: float = rule("a positive number", above=0, default=2.0)
    """Temperature that softens both outputs; the loss is multiplied by its square."""
    weight: float = rule("a fraction", minimum=0, maximum=1, default=0.5)
    """Weight of the teacher's term in the loss; the labels get the remainder."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Training duration, optimisation and checkpoint selection."""

    epochs: int = rule("an integer", minimum=1, default=40)
    """Number of epochs, each of `windows_per_epoch` windows."""
    windows_per_epoch: int = rule("an integer", minimum=1, default=2048)
    """Windows drawn per epoch: scenes equally often, within each its recordings equally often, at a random position."""
    batch_size: int = rule("an integer", minimum=2, default=64)
    """Windows per step."""
    learning_rate: float = rule("a positive number", above=0, default=2e-3)
    """Peak learning rate of the schedule."""
    weight_decay: float = rule("a number", minimum=0, default=0.05)
    """Weight decay; AdamW applies it only to parameters of two or more dimensions."""
    label_smoothing: float = rule("a fraction", minimum=0, maximum=0.5, default=0.05)
    """Fraction of the target spread over all scenes."""
    average_decay: float = rule("a fraction", minimum=0, maximum=0.99999, default=0.99)
    """Decay of the exponential moving average of the weights, which is what is evaluated and exported."""
    threads: int = rule("an integer", minimum=1, default=1)
    """Number of threads torch may use."""
    workers: int = rule("an integer", minimum=1, default=1)
    """Number of threads that prepare windows in advance."""
    optimizer: Literal["adamw", "adam", "sgd"] = rule("an optimiser", default="adamw")
    """adam: weight decay as an L2 penalty; sgd: with `momentum`."""
    momentum: float = rule("a fraction", minimum=0, maximum=0.999, default=0.9)
    """Momentum of sgd."""
    schedule: Literal["cosine", "onecycle", "linear", "plateau", "constant"] = rule("a schedule", default="cosine")
    """cosine: warm-up over a tenth, then half a cosine to zero · onecycle: up over 0.3, then down to 1e-4 of the
    initial rate, momentum opposite · linear: warm-up over a tenth, constant until a third, down to 0.5 % at nine
    tenths · plateau: times `plateau_factor` after `plateau_epochs` without a lower validation loss · constant."""
    plateau_factor: float = rule("a fraction", above=0, maximum=1, default=0.5)
    """For schedule plateau: factor applied to the learning rate."""
    plateau_epochs: int = rule("an integer", minimum=1, default=15)
    """For schedule plateau: epochs without a lower validation loss before the rate is reduced."""
    stop_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Training ends after this many epochs without a lower validation loss; null: no early stopping."""
    select: Literal["last", "best"] = rule('"last" or "best"', default="last")
    """Which weights to keep: those of the last epoch, or of the lowest validation loss (prepared corpora only)."""
    head_weight: float = rule("a number", minimum=0, default=0.3)
    """Loss weight of each auxiliary head, in networks that have any."""
    mixed_precision: bool = rule("true or false", default=False)
    """Compute activations in bfloat16 where the device is fast at it; weights are not converted."""
    device: str = rule('"auto", "cpu" or "cuda"', default="auto")
    """auto: a GPU if one is available."""
    cache_embeddings: bool | None = rule("true, false or null", default=None)
    """Encode frames once instead of every epoch, if the encoder is frozen and frames are not augmented (prepared
    corpora only); null: where this changes no number and saves work; true: even where mixup then mixes embeddings."""
    steps: tuple[StepConfig, ...] = rule("a list of tables", default=())
    """Stages trained one after another, each with its own parts and rates; empty: the whole network in one stage."""
    distil: DistilConfig | None = rule("a table, or null", default=None)
    """A teacher to distil from."""


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How held-out metrics are computed."""

    folds: int = rule("an integer", minimum=2, default=5)
    """Number of folds the recordings are divided into; each is held out once."""
    hold_out_sources: bool = rule("true or false", default=True)
    """Whether to hold out each source once as well, if every scene remains in the other sources."""
    step_seconds: float = rule("a duration in seconds", above=0, default=0.5)
    """Time between the ends of consecutive held-out windows."""
    precision: float = rule("a fraction", minimum=0, maximum=1, default=0.8)
    """Target precision of named answers: thresholds are the lowest that reach it on held-out recordings."""


@dataclass(frozen=True, slots=True)
class BundleConfig:
    """Metadata of the exported bundle."""

    version: str = rule("a version", default="1.0.0")
    """Version of the bundle."""
    description: str = rule("a sentence", default="A scene classifier.")
    """One-line description."""
    licence: str = rule("an SPDX expression", default="Apache-2.0")
    """Licence of the weights."""
    limits: tuple[str, ...] = rule("a list of sentences", default=())
    """Limitations that the model card states beyond what the metrics show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of one run."""

    name: str = rule("a name")
    """Name of the run and of its bundle."""
    seed: int = rule("an integer", minimum=0, default=1)
    """Seed of all random numbers."""
    data: DataConfig = rule("a table")
    """Recordings and labels."""
    audio: AudioInput | None = rule("a table, or null", default=None)
    """Features, as in the manifest; without `normalisation`, each band's statistics are measured in training."""
    waveform: AudioInput | None = rule("a table, or null", default=None)
    """Raw samples, for networks that take them, alone or beside features."""
    video: VideoInput | None = rule("a table, or null", default=None)
    """Frames, as in the manifest."""
    window: WindowSpec = rule("a table")
    """Window length, step and tail."""
    smoothing: SmoothingSpec = rule("a table", default_factory=SmoothingSpec)
    """The runtime's smoothing filter."""
    model: ModelConfig = rule("a table", default_factory=ModelConfig)
    """The network."""
    augment: AugmentConfig = rule("a table", default_factory=AugmentConfig)
    """Augmentation of training windows."""
    train: TrainConfig = rule("a table", default_factory=TrainConfig)
    """Training duration and optimisation."""
    evaluate: EvaluateConfig = rule("a table", default_factory=EvaluateConfig)
    """How held-out metrics are computed."""
    bundle: BundleConfig = rule("a table", default_factory=BundleConfig)
    """Metadata of the exported bundle."""

    @property
    def inputs(self) -> Inputs:
        """The network's inputs."""
        return Inputs(self.audio, self.waveform, self.video)

    @property
    def n_window_samples(self) -> int:
        """Number of samples per window at the network's sample rate, including the preceding context."""
        return self.inputs.n_samples(self.window.seconds)


def load_config(path: Path, settings: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path: A TOML file.
        settings: Overrides of the form "a.b=value"; the value is parsed as TOML, or else taken as a string; "a.b="
            removes the key. Setting one of the mutually exclusive data.labels and data.prepared removes the other.

    Raises:
        ConfigError: The file cannot be read or is invalid; the message names the key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: expected a TOML file, got: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, got something else: {error}") from None
    for setting in settings:
        _set(data, setting)
        for key, other in (("labels", "prepared"), ("prepared", "labels")):
            name, _, value = setting.partition("=")
            if name.strip() == f"data.{key}" and value.strip():
                data["data"].pop(other, None)
    table = data.get("data")
    if isinstance(table, dict) and type(table.get("fold")) is int:
        table["fold"] = str(table["fold"])  # folds are named, mostly by numbers: data.fold=1
    return parse_config(data, str(path))


def parse_config(data: Mapping[str, Any], where: str = "config") -> Config:
    """Build a configuration from parsed TOML or JSON.

    Raises:
        ConfigError: The configuration is invalid; the message names the key.
    """
    try:
        config = decode(Config, data)
        check_name(config.name)
    except ManifestError as error:
        raise ConfigError(f"{where}: {error}") from None
    if (config.data.labels is None) == (config.data.prepared is None):
        got = "both" if config.data.labels is not None else "none"
        raise ConfigError(f"{where}: data: expected either labels or prepared, got {got}")
    if config.augment.drop_audio + config.augment.drop_video > 1:
        raise ConfigError(
            f"{where}: augment.drop_audio and augment.drop_video: expected at most 1 together, as never both are "
            f"dropped, got {config.augment.drop_audio:g} and {config.augment.drop_video:g}"
        )
    video, rotated = config.video, config.augment.rotate_probability
    if rotated and video is not None and video.width != video.height:
        raise ConfigError(
            f"{where}: augment.rotate_probability: expected 0 for frames of {video.width}×{video.height}, as only "
            f"square ones can be rotated, got {rotated:g}"
        )
    group_of: dict[str, str] = {}
    for group, members in config.data.groups.items():
        for label in members:
            if group_of.setdefault(label, group) != group:
                raise ConfigError(
                    f"{where}: data.groups: expected {label!r} in one group, "
                    f"got it in {group_of[label]!r} and {group!r}"
                )
    rates = {entry.sample_rate for entry in (config.audio, config.waveform) if entry is not None}
    if len(rates) > 1:
        raise ConfigError(
            f"{where}: waveform.sample_rate: expected the rate of [audio], got {sorted(rates)}; a source has one rate"
        )
    if not rates and config.video is None:
        raise ConfigError(f"{where}: expected a table [audio], [waveform] or [video], got none: a network takes inputs")
    return config


def _set(data: dict[str, Any], setting: str) -> None:
    """Apply one "a.b=value" override to nested tables."""
    key, equals, text = setting.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set: expected KEY=VALUE, as in train.epochs=10, got {setting!r}")
    for name in names[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {setting}: expected a table at {name!r}, got a value")
    if not text.strip():
        data.pop(names[-1], None)
        return
    try:
        data[names[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        data[names[-1]] = text
