"""What a run is made of: one TOML file, frozen records, every key checked; the input is the manifest's own record.

`load_config("configs/slim_audio.toml", ["train.epochs=2"])`. Unknown keys are refused with the nearest known one.
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
"""What stands for the name of a network's folder in the file of weights that it begins with."""
MACHINE_KEYS = ("train.threads", "train.workers", "train.device")
"""What says how a machine is used, and nothing of what comes out: a run that was stopped goes on with others."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where some of the recordings come from, for the card."""

    title: str = rule("a title")
    """What it is."""
    url: str = rule("an address")
    """Where anyone can gather it."""
    licence: str = rule("a licence")
    """Under which terms."""
    credit: str | None = rule("a sentence, or null", default=None)
    """The attribution it asks for."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which recordings, and what they are called: either a list of them, or a corpus that `trainer prepare` decoded."""

    labels: str | None = rule("a CSV file or a folder of classes, inside the data folder, or null", default=None)
    """`file,scene_label[,confidence,licence,recording,source]`, files beside it; or a folder with a folder a class."""
    prepared: str | None = rule("a folder that `trainer prepare` made, inside the data folder, or null", default=None)
    """A prepared corpus: trained on its training split, reported on its evaluation split."""
    fold: str | None = rule("a fold's name, or null", default=None)
    """Of a prepared corpus that is dealt into folds: the one to report on."""
    validation_share: float = rule("a fraction", above=0, maximum=0.5, default=0.1)
    """Of a prepared corpus: part of the training clips, in whole locations, that chooses the epoch."""
    calibration_cities: int = rule("an integer", minimum=0, default=1)
    """Of a prepared corpus of three cities or more: training cities held out whole to fit the temperatures on."""
    impulse_responses: str | None = rule("a folder inside the data folder, or null", default=None)
    """Impulse responses of microphones."""
    impulse_response_credit: str = rule("a sentence", default="")
    """Where they come from, for the card."""
    none_label: str = rule("a label", default="none")
    """Recordings of none of the scenes: never trained on, only to see how often the network is sure of itself."""
    min_recordings: int = rule("an integer", minimum=2, default=2)
    """A label with fewer recordings cannot be evaluated and is left out."""
    groups: Mapping[str, tuple[str, ...]] = rule("labels a group", default_factory=dict)
    """Coarser answers; labels that are not trained are left out."""
    sources: Mapping[str, SourceConfig] = rule("an object a source", default_factory=dict)
    """Sources by the name in the CSV's `source`, or the first folder of `file`."""


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What is done to windows in training, and how often. Probabilities are per window."""

    gain_db: float = rule("a range in dB", minimum=0, default=20.0)
    """Uniform gain of ± this."""
    response_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """An impulse response of a microphone, if there are any."""
    tilt_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """A smooth random frequency response."""
    tilt_db: float = rule("a range in dB", minimum=0, default=8.0)
    """Standard deviation of that response at its knots, an octave apart."""
    lowpass_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """A low-pass, as codecs and telephones have."""
    lowpass_hertz: float = rule("a frequency in Hz", above=0, default=3000.0)
    """Lowest cut-off; the highest is half the sample rate; uniform in its logarithm."""
    noise_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """White or pink noise under the window."""
    noise_snr_db: float = rule("a ratio in dB", default=10.0)
    """Loudest noise: signal above it by this much; the quietest lies 40 dB lower."""
    mix_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """Another recording of the same scene on top, −10 to 0 dB."""
    mixup: float = rule("a number", minimum=0, default=0.2)
    """Beta(α, α) of mixing two windows' features and labels; 0 switches it off."""
    style_probability: float = rule("a probability", minimum=0, maximum=1, default=0.3)
    """Frequency-wise MixStyle: a band's mean and spread mixed with those of another window."""
    band_mask: int = rule("an integer number of bands", minimum=0, default=12)
    """Longest of two masks over bands."""
    hop_mask: int = rule("an integer number of hops", minimum=0, default=10)
    """Longest of two masks over hops."""
    mixup_form: Literal["pair", "batch", "every_other"] = rule("a form of mixup", default="pair")
    """pair: a weight a window · batch: one weight a batch · every_other: one weight, in every second batch."""
    mono_probability: float = rule("a probability", minimum=0, maximum=1, default=0.2)
    """Stereo networks: both channels replaced by their mean, as from a mono microphone."""
    flip_probability: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Frames mirrored left to right, all of a window alike."""
    crop_scale: float = rule("a fraction", above=0, maximum=1, default=0.7)
    """Smallest part of a frame's sides that is cut out and scaled back, all of a window alike."""
    colour: float = rule("a fraction", minimum=0, maximum=1, default=0.3)
    """Brightness, contrast and saturation vary by ± this part."""
    drop_audio: float = rule("a probability", minimum=0, maximum=1, default=0.15)
    """Audio-visual networks with presence flags: the sound is missing."""
    drop_video: float = rule("a probability", minimum=0, maximum=1, default=0.15)
    """Audio-visual networks with presence flags: the picture is missing."""
    rotate_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Frames turned by a quarter, either way, as a camera may be held."""
    darken_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Frames as at night: down to a tenth of their light, with the noise that comes with it."""
    blur_probability: float = rule("a probability", minimum=0, maximum=1, default=0.0)
    """Frames out of focus: a Gaussian of up to a fiftieth of their width."""
    none_share: float = rule("a fraction", minimum=0, maximum=0.5, default=0.0)
    """Windows of none of the scenes, where the corpus has such clips: trained to be as likely any of them (Hendrycks et
    al., outlier exposure, 2019)."""


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """Trained weights that a part of the network begins with."""

    file: str = rule("a file inside the data folder")
    """A .safetensors file, or a checkpoint of tensors and plain values alone. "{split}" in its name stands for the
    network's folder, "fold-0" … "final" where a run trains several: weights that have not met what a fold holds out."""
    sha256: str | None = rule("64 hexadecimal digits, or null", default=None)
    """Hash that file must have."""
    credit: str | None = rule("a sentence, or null", default=None)
    """What the card says of them: what they were trained on, whose work that is, under which terms."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network."""

    name: str = rule("a network's name; `trainer models` lists them", default="slim_audio")
    """Name in the registry."""
    dropout: float | None = rule("a probability, or null", minimum=0, maximum=0.9, default=None)
    """Part dropped in training, where the network drops any; null: as much as it drops by itself."""
    weights: Mapping[str, WeightsConfig] = rule("a table a part", default_factory=dict)
    """Trained weights that parts begin with, as `[model.weights.encoder]`; "" is all of the network."""
    freeze: tuple[str, ...] = rule("a list of names of parts", default=())
    """Parts that keep their weights, as "encoder"."""
    options: Mapping[str, int | float | bool | str] = rule("a number, a word, true or false", default_factory=dict)
    """What else the network's factory takes, as its docstring says."""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """One stage of a recipe that trains a network part by part; what is null is as in `[train]`."""

    parts: tuple[str, ...] = rule("a list of names of parts")
    """Modules that are trained, as "scene.audio"; all others are frozen. [""]: all."""
    answer: str = rule("an output", default="fused")
    """Output that the loss is about."""
    epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """At most."""
    learning_rate: float | None = rule("a positive number, or null", above=0, default=None)
    """Peak."""
    batch_size: int | None = rule("an integer, or null", minimum=2, default=None)
    """Windows a step."""
    mixup: float | None = rule("a number, or null", minimum=0, default=None)
    """Beta(α, α)."""
    plateau_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Of schedule plateau."""
    stop_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Early stop."""


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Knowledge distillation: the network also learns a teacher's answers (Hinton et al. 2015)."""

    teacher: str = rule("a bundle or a run, inside the data folder")
    """A bundle's folder, or a finished run of this trainer; its labels must be the same."""
    temperature: float = rule("a positive number", above=0, default=2.0)
    """Both answers are softened by this; the loss is multiplied by its square."""
    weight: float = rule("a fraction", minimum=0, maximum=1, default=0.5)
    """Of the teacher's answers in the loss; the labels have the rest."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long and how fast."""

    epochs: int = rule("an integer", minimum=1, default=40)
    """Passes of `windows_per_epoch`."""
    windows_per_epoch: int = rule("an integer", minimum=1, default=2048)
    """Windows drawn: scenes alike, then recordings alike, then a random place."""
    batch_size: int = rule("an integer", minimum=2, default=64)
    """Windows a step."""
    learning_rate: float = rule("a positive number", above=0, default=2e-3)
    """Peak of the schedule: warm-up over a tenth, then half a cosine to zero."""
    weight_decay: float = rule("a number", minimum=0, default=0.05)
    """AdamW's, on weights of two axes and more."""
    label_smoothing: float = rule("a fraction", minimum=0, maximum=0.5, default=0.05)
    """Part of the target spread over all scenes."""
    average_decay: float = rule("a fraction", minimum=0, maximum=0.99999, default=0.99)
    """Exponential moving average of the weights: what is evaluated and exported."""
    threads: int = rule("an integer", minimum=1, default=1)
    """Threads torch may use."""
    workers: int = rule("an integer", minimum=1, default=1)
    """Threads that prepare windows ahead."""
    optimizer: Literal["adamw", "adam", "sgd"] = rule("an optimiser", default="adamw")
    """adam: weight decay as a penalty; sgd: with `momentum`."""
    momentum: float = rule("a fraction", minimum=0, maximum=0.999, default=0.9)
    """Of sgd."""
    schedule: Literal["cosine", "onecycle", "linear", "plateau", "constant"] = rule("a schedule", default="cosine")
    """cosine: warm-up over a tenth, then half a cosine to zero · onecycle: up over 0.3, down to 1e-4 of it, momentum
    opposite · linear: warm-up over a tenth, constant to a third, down to 0.5 % at nine tenths · plateau: times
    `plateau_factor` after `plateau_epochs` without a lower validation loss · constant."""
    plateau_factor: float = rule("a fraction", above=0, maximum=1, default=0.5)
    """Of schedule plateau."""
    plateau_epochs: int = rule("an integer", minimum=1, default=15)
    """Of schedule plateau."""
    stop_epochs: int | None = rule("an integer, or null", minimum=1, default=None)
    """Training ends after so many epochs without a lower validation loss; null: never early."""
    select: Literal["last", "best"] = rule('"last" or "best"', default="last")
    """Weights that are kept: the last epoch's, or those of the lowest validation loss (prepared corpora)."""
    head_weight: float = rule("a number", minimum=0, default=0.3)
    """Weight of the loss of each head beside the answer, in networks that have such."""
    mixed_precision: bool = rule("true or false", default=False)
    """bfloat16 where the device is quick at it: activations, not weights."""
    device: str = rule('"auto", "cpu" or "cuda"', default="auto")
    """auto: a GPU if there is one."""
    cache_embeddings: bool | None = rule("true, false or null", default=None)
    """Frames encoded once, not once an epoch, where the encoder is frozen and frames are not augmented (prepared
    corpora); null: where that changes no number and is less work; true: also where mixup then mixes embeddings."""
    steps: tuple[StepConfig, ...] = rule("a list of tables", default=())
    """Stages trained one after another, each with its own parts and rates; none: all of it at once."""
    distil: DistilConfig | None = rule("a table, or null", default=None)
    """A teacher to learn from."""


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How held-out figures come about."""

    folds: int = rule("an integer", minimum=2, default=5)
    """Parts the recordings are dealt into; each is held out once."""
    hold_out_sources: bool = rule("true or false", default=True)
    """Whether each source is held out once, too, where every scene remains in the others."""
    step_seconds: float = rule("a duration in seconds", above=0, default=0.5)
    """Time between two held-out windows' ends."""
    precision: float = rule("a fraction", minimum=0, maximum=1, default=0.8)
    """Part of the answers named that shall be right: thresholds are the lowest that reach it on held-out recordings."""


@dataclass(frozen=True, slots=True)
class BundleConfig:
    """What the exported bundle says of itself."""

    version: str = rule("a version", default="1.0.0")
    """The bundle's version."""
    description: str = rule("a sentence", default="A scene classifier.")
    """What it is, in a line."""
    licence: str = rule("an SPDX expression", default="Apache-2.0")
    """Licence of the weights."""
    limits: tuple[str, ...] = rule("a list of sentences", default=())
    """What the card says it cannot do, beside what the figures say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One run."""

    name: str = rule("a name")
    """Of the run and of its bundle."""
    seed: int = rule("an integer", minimum=0, default=1)
    """Everything random follows from it."""
    data: DataConfig = rule("a table")
    """Recordings."""
    audio: AudioInput | None = rule("a table, or null", default=None)
    """Features, as in the manifest; without `normalisation`, each band's is measured in training."""
    waveform: AudioInput | None = rule("a table, or null", default=None)
    """The samples themselves, for networks that take them, beside features or alone."""
    video: VideoInput | None = rule("a table, or null", default=None)
    """Frames, as in the manifest."""
    window: WindowSpec = rule("a table")
    """Length, step and tail."""
    smoothing: SmoothingSpec = rule("a table", default_factory=SmoothingSpec)
    """The runtime's filter."""
    model: ModelConfig = rule("a table", default_factory=ModelConfig)
    """The network."""
    augment: AugmentConfig = rule("a table", default_factory=AugmentConfig)
    """What is done to windows in training."""
    train: TrainConfig = rule("a table", default_factory=TrainConfig)
    """How long and how fast."""
    evaluate: EvaluateConfig = rule("a table", default_factory=EvaluateConfig)
    """How held-out figures come about."""
    bundle: BundleConfig = rule("a table", default_factory=BundleConfig)
    """What the bundle says of itself."""

    @property
    def inputs(self) -> Inputs:
        """What the network takes."""
        return Inputs(self.audio, self.waveform, self.video)

    @property
    def n_window_samples(self) -> int:
        """Samples that the network hears of a window, the context before it included, at its rate."""
        return self.inputs.n_samples(self.window.seconds)


def load_config(path: Path, settings: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        path: A TOML file.
        settings: "a.b=value" each, over what the file says; the value as in TOML, or else a string; "a.b=" leaves the
            key out. Of data.labels and data.prepared, which exclude each other, the one set here counts.

    Raises:
        ConfigError: The file cannot be read, or says something it may not; the message names the key.
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
            if setting.partition("=")[0].strip() == f"data.{key}":
                data["data"].pop(other, None)
    table = data.get("data")
    if isinstance(table, dict) and type(table.get("fold")) is int:
        table["fold"] = str(table["fold"])  # folds are names, most of them numbers: data.fold=1
    return parse_config(data, str(path))


def parse_config(data: Mapping[str, Any], where: str = "config") -> Config:
    """Build a configuration from parsed TOML or JSON.

    Raises:
        ConfigError: It says something it may not; the message names the key.
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
    """Put "a.b=value" into nested tables."""
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
