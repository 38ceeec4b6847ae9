"""The description a bundle gives of itself: frozen records, read from one `manifest.json`.

The records that define the network's inputs are in `inputs.py` (and importable from here); the bundle's folder is
handled in `bundle.py`.

The manifest holds everything a runtime must know to turn samples and images into calibrated scores, and nothing about
how it does so. Times are in seconds, rates in Hz, levels in dBFS. `Manifest.from_json` rejects whatever it does not
fully understand.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from engines.errors import ManifestError, one_line
from engines.inputs import (
    SHORTEST_STEP_SECONDS,
    AudioInput,
    GammatoneFeature,
    InputSpec,
    LogMelFeature,
    Modality,
    Normalisation,
    VideoInput,
    WaveformFeature,
    WindowSpec,
    input_shape,
    n_hops,
    seconds_to_samples,
)
from engines.schema import decode, encode, rule

__all__ = [
    "FRAME_GRAPH",
    "FRAME_INPUT",
    "FRAME_OUTPUT",
    "SCENE_GRAPH",
    "SCHEMA_VERSION",
    "SHORTEST_STEP_SECONDS",
    "AudioInput",
    "FileSpec",
    "GammatoneFeature",
    "GraphName",
    "GraphSpec",
    "InputSpec",
    "LogMelFeature",
    "Manifest",
    "Modality",
    "Normalisation",
    "OutputName",
    "OutputSpec",
    "Precision",
    "SmoothingSpec",
    "Thresholds",
    "Tolerance",
    "VideoInput",
    "WaveformFeature",
    "WindowSpec",
    "check_name",
    "graph_shapes",
    "input_shape",
    "is_plain_name",
    "n_hops",
    "seconds_to_samples",
]

SCHEMA_VERSION = 1
"""The manifest schema this version writes and reads."""

Precision = Literal["float32", "float16", "int8"]
"""The precision of a graph's arithmetic; float32 is the reference."""

OutputName = Literal["fused", "audio", "video"]
"""A head of the scene graph: for all modalities together, or for a single one."""

GraphName = Literal["scene", "frame"]
"""A graph of a bundle. scene: inputs to logits; frame: one image to one embedding."""

SCENE_GRAPH: Final = "scene"
FRAME_GRAPH: Final = "frame"
FRAME_INPUT: Final = "image"
"""The frame graph's only input: [n, 3, height, width] float32."""
FRAME_OUTPUT: Final = "embedding"
"""The frame graph's only output: [n, embedding_size] float32."""

_LONGEST_NAME = 128
"""Maximum length in characters of a bundle's name, a label or a group: anything longer would flood a terminal."""
_MAX_NUMBERS = 1 << 26
"""Maximum total size of one window's inputs, in elements: 256 MiB, 40 times the largest size that makes sense."""
_MAX_SPECTRUM = 1 << 24
"""Maximum size of a spectrogram's intermediate arrays: hops, or bands, times samples per hop; 16 times the largest we
know of."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One head of the scene graph: its logits [n, n_labels], in an output named after the head."""

    name: OutputName = rule("a head")
    """fused (always present) · audio · video: a head that uses that modality alone."""
    temperature: float = rule("a positive number", minimum=1e-6, default=1.0)
    """Logits are divided by this before the softmax; fitted on held-out recordings."""
    labels: tuple[str, ...] | None = rule("a list of labels, or null", default=None)
    """Labels it has learnt, in alphabetical order: its scores of others are mere priors. None: all of them."""


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One graph, in each precision the bundle provides."""

    name: GraphName = rule("a graph")
    """scene: inputs to logits · frame: one image to one embedding."""
    files: Mapping[str, str] = rule("a file name a precision")
    """Precision to file name; float32, the reference, is always present."""

    def __post_init__(self) -> None:
        known = ("float32", "float16", "int8")
        for precision in self.files:
            if precision not in known:
                raise ManifestError(f"files: expected precisions of {', '.join(known)}, got {precision!r}")
        if "float32" not in self.files:
            raise ManifestError("files.float32: expected a file name, got nothing; float32 is the reference")


@dataclass(frozen=True, slots=True)
class FileSpec:
    """The hash and size that identify a file of the bundle."""

    sha256: str = rule("64 hexadecimal digits")
    """Hash of its contents."""
    size: int = rule("an integer number of bytes", minimum=0)
    """Its size in bytes."""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ManifestError(f"sha256: expected 64 lower-case hexadecimal digits, got {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to name a scene, when only its group, and when to say unknown. The user can override `scene` and `group`."""

    scene: float = rule("a probability", minimum=0, maximum=1, default=0.5)
    """Smoothed score above which a scene is named."""
    group: float = rule("a probability", minimum=0, maximum=1, default=0.6)
    """Summed score above which a group is named when no scene is."""
    hysteresis: float = rule("a probability", minimum=0, maximum=0.5, default=0.1)
    """A named answer is kept until it falls this far below its threshold, or another one leads it by this much."""
    silence_dbfs: float = rule("a level in dBFS", maximum=0, default=-90.0)
    """A window whose RMS level stays below this has no sound to judge: digital silence, not just a quiet room."""
    dark_luma: float = rule("a luma of 0…255", minimum=0, maximum=255, default=10.0)
    """Frames with a mean luma below this and hardly any contrast are taken for a covered lens."""
    lost_fraction: float = rule("a fraction", minimum=0, maximum=1, default=0.5)
    """A window in which more than this fraction of the samples is lost is not judged by its audio."""


@dataclass(frozen=True, slots=True)
class SmoothingSpec:
    """The recursive filter over windows; its parameters are in seconds."""

    time_constant_seconds: float = rule("a duration in seconds", minimum=0, default=2.0)
    """Evidence of this duration counts as one independent window; 0 turns smoothing off."""
    dwell_seconds: float = rule("a duration in seconds", above=0, default=30.0)
    """Expected time spent in a scene: the prior against switching."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How close a backend must come to the golden answers."""

    logits: float = rule("a positive number", above=0, default=1e-4)
    """Largest absolute difference of a logit in float32."""
    float16_logits: float = rule("a positive number", above=0, default=0.05)
    """The same for float16 graphs and plans."""
    int8_logits: float = rule("a positive number", above=0, default=0.5)
    """The same for int8 graphs and plans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The full description of one bundle."""

    schema: int = rule("an integer")
    """Version of this schema; the first key in the file."""
    name: str = rule("a name")
    """The bundle's name: letters, digits, '-', '_' and '.'."""
    version: str = rule("a version")
    """The bundle's version."""
    description: str = rule("a sentence")
    """What the bundle is, in one line."""
    licence: str = rule("an SPDX expression")
    """Licence of the weights; the licences of the training data are in the model card."""
    labels: tuple[str, ...] = rule("a list of labels")
    """Scenes in alphabetical order, which is the order of the logits."""
    groups: Mapping[str, tuple[str, ...]] = rule("labels a group", default_factory=dict)
    """Coarser classes: a group's score is the sum of its labels' scores."""
    window: WindowSpec = rule("an object")
    """Window length, step, and handling of the tail."""
    inputs: tuple[InputSpec, ...] = rule("a list of inputs")
    """The scene graph's inputs."""
    outputs: tuple[OutputSpec, ...] = rule("a list of outputs")
    """The heads of the scene graph that the runtime uses."""
    graphs: tuple[GraphSpec, ...] = rule("a list of graphs")
    """scene, plus frame if images are encoded separately."""
    files: Mapping[str, FileSpec] = rule("a hash and a size a file")
    """Hash and size of every other file of the bundle."""
    golden: str | None = rule("a file name, or null", default=None)
    """Sample inputs with the logits computed by the training framework."""
    card: str | None = rule("a file name, or null", default=None)
    """The model card."""
    thresholds: Thresholds = rule("an object", default_factory=Thresholds)
    """When to name a scene, a group or neither."""
    smoothing: SmoothingSpec = rule("an object", default_factory=SmoothingSpec)
    """The smoothing filter over windows."""
    tolerance: Tolerance = rule("an object", default_factory=Tolerance)
    """How closely every backend must match the golden answers."""

    def __post_init__(self) -> None:
        check_name(self.name)
        check_labels(self.labels, self.groups)
        check_inputs(self.inputs, self.window)
        _check_graphs(self)
        _check_files(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest.

        Raises:
            ManifestError: It is not JSON, has another schema version, or is invalid; the message names the key.
        """
        try:
            data = json.loads(text, object_pairs_hook=_distinct)
        except ManifestError:
            raise
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"manifest: expected JSON, got something else ({error})") from None
        if not isinstance(data, dict):
            raise ManifestError(f"manifest: expected an object, got {type(data).__name__}")
        schema = data.get("schema")
        if schema != SCHEMA_VERSION or isinstance(schema, bool):
            raise ManifestError(
                f"schema: expected {SCHEMA_VERSION}, the only one this version reads, got {json.dumps(schema)}; "
                "upgrade with: pip install --upgrade ascstream"
            )
        return decode(cls, data)

    def to_json(self) -> str:
        """The manifest as JSON text: keys in the order of this class, with a newline at the end."""
        return json.dumps(encode(self), indent=2, ensure_ascii=False) + "\n"

    @property
    def audio_inputs(self) -> tuple[tuple[str, AudioInput], ...]:
        """Name and description of each input computed from samples."""
        return tuple((entry.name, entry.audio) for entry in self.inputs if entry.audio is not None)

    @property
    def video_input(self) -> tuple[str, VideoInput] | None:
        """Name and description of the input made from frames, if there is one."""
        return next(((entry.name, entry.video) for entry in self.inputs if entry.video is not None), None)

    @property
    def presence_input(self) -> tuple[str, tuple[Modality, ...]] | None:
        """Name and order of the presence flags, if the network takes them."""
        return next(((entry.name, entry.presence) for entry in self.inputs if entry.presence is not None), None)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities the bundle takes as input."""
        names: list[Modality] = []
        if self.audio_inputs:
            names.append("audio")
        if self.video_input is not None:
            names.append("video")
        return tuple(names)

    @property
    def sample_rate(self) -> int | None:
        """Sample rate of all audio inputs in Hz; None without audio."""
        return self.audio_inputs[0][1].sample_rate if self.audio_inputs else None

    @property
    def n_source_channels(self) -> int:
        """Number of channels a source has to deliver: 0 without audio, else 1 or 2."""
        return max((audio.n_source_channels for _, audio in self.audio_inputs), default=0)

    @property
    def context_seconds(self) -> float:
        """The longest context before the window that any input needs."""
        return max((audio.context_seconds for _, audio in self.audio_inputs), default=0.0)

    def output(self, name: OutputName) -> OutputSpec | None:
        """The head of that name, if there is one."""
        return next((output for output in self.outputs if output.name == name), None)

    def never_learnt(self, name: OutputName) -> tuple[str, ...]:
        """The labels that the head of that name has not learnt; empty if there is no such head."""
        output = self.output(name)
        if output is None or output.labels is None:
            return ()
        return tuple(label for label in self.labels if label not in output.labels)

    def graph(self, name: GraphName) -> GraphSpec | None:
        """The graph of that name, if there is one."""
        return next((graph for graph in self.graphs if graph.name == name), None)


def graph_shapes(manifest: Manifest, graph: GraphName) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes of a graph's inputs and outputs, without the batch axis; empty if the bundle has no such graph."""
    if graph == SCENE_GRAPH:
        inputs = {entry.name: input_shape(entry, manifest.window) for entry in manifest.inputs}
        return inputs, {output.name: (len(manifest.labels),) for output in manifest.outputs}
    if manifest.video_input is None or manifest.video_input[1].embedding_size is None:
        return {}, {}
    video = manifest.video_input[1]
    return {FRAME_INPUT: (3, video.height, video.width)}, {FRAME_OUTPUT: (video.embedding_size or 0,)}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, rejecting duplicate keys, since parsers differ in which one they keep."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ManifestError(f"manifest: expected the key {json.dumps(twice[0])} once, got it twice in one object")
    return dict(pairs)


def check_name(name: str) -> None:
    """Check that a name is a valid folder name on every system.

    Raises:
        ManifestError: It is not.
    """
    if not name or name[0] == "." or not all(char.isascii() and (char.isalnum() or char in "-_.") for char in name):
        raise ManifestError(f"name: expected letters, digits, '-', '_' and '.', got {json.dumps(name)}")
    if len(name) > _LONGEST_NAME:
        raise ManifestError(f"name: expected at most {_LONGEST_NAME} characters, got {len(name)}")


def check_labels(labels: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> None:
    """Check that labels are distinct and sorted, and that groups are disjoint and consist of labels.

    Raises:
        ManifestError: They are not.
    """
    if len(labels) < 2 or list(labels) != sorted(set(labels)):
        raise ManifestError(f"labels: expected at least two distinct labels in alphabetical order, got {list(labels)}")
    for index, label in enumerate(labels):
        if label != label.strip() or label in ("", "unknown"):
            raise ManifestError(
                f'labels[{index}]: expected a scene\'s name, and not "unknown", got {json.dumps(label)}'
            )
    for name in (*labels, *groups):
        if len(name) > _LONGEST_NAME:
            raise ManifestError(
                f"labels and groups: expected names of at most {_LONGEST_NAME} characters, got {len(name)} in "
                f"{one_line(name, 40)}"
            )
    seen: dict[str, str] = {}
    for group, members in groups.items():
        if group in labels or group != group.strip() or group in ("", "unknown"):
            raise ManifestError(f'groups.{group}: expected a name that is no label, and not "unknown"')
        if not members:
            raise ManifestError(f"groups.{group}: expected at least one label, got none")
        for index, label in enumerate(members):
            where = f"groups.{group}[{index}]"
            if label not in labels:
                raise ManifestError(f"{where}: expected one of the labels, got {json.dumps(label)}")
            if label in seen:
                raise ManifestError(
                    f"{where}: expected {json.dumps(label)} in one group, got it in {json.dumps(seen[label])} too"
                )
            seen[label] = group


def check_inputs(inputs: tuple[InputSpec, ...], window: WindowSpec) -> None:
    """Check names, the number of inputs of each kind and their sample rates, then each input by itself.

    Raises:
        ManifestError: Something is wrong; the message names the key.
    """
    if len({entry.name for entry in inputs}) != len(inputs):
        raise ManifestError(f"inputs: expected distinct names, got {json.dumps([entry.name for entry in inputs])}")
    if all(entry.presence is not None for entry in inputs):
        raise ManifestError("inputs: expected at least one made of audio or video, got none")
    for kind in ("video", "presence"):
        if sum(getattr(entry, kind) is not None for entry in inputs) > 1:
            raise ManifestError(f"inputs: expected at most one {kind} input, got several")
    rate: int | None = None
    n_numbers = 0
    for index, entry in enumerate(inputs):
        where = f"inputs[{index}]"
        if entry.audio is not None:
            rate = rate if rate is not None else entry.audio.sample_rate
            if entry.audio.sample_rate != rate:
                raise ManifestError(
                    f"{where}.audio.sample_rate: expected one rate for all audio inputs, {rate} Hz, "
                    f"got {entry.audio.sample_rate}"
                )
            _check_audio(where, entry.audio, window)
        if entry.video is not None and entry.video.frame_times_seconds[-1] > window.seconds:
            raise ManifestError(
                f"{where}.video.frame_times_seconds: expected times within the window of {window.seconds:g} s, "
                f"got {entry.video.frame_times_seconds[-1]:g}"
            )
        shape = input_shape(entry, window)
        n_numbers += math.prod(shape)
        if n_numbers > _MAX_NUMBERS:
            raise ManifestError(f"{where}: expected at most {_MAX_NUMBERS} numbers a window, got {list(shape)}")


def _check_audio(where: str, audio: AudioInput, window: WindowSpec) -> None:
    """Check that times are whole numbers of samples, and enough of them for one hop and its padding."""
    n_samples = 0
    for name, seconds in (
        ("window.seconds", window.seconds),
        (f"{where}.audio.context_seconds", audio.context_seconds),
    ):
        try:
            n_samples += seconds_to_samples(seconds, audio.sample_rate)
        except ValueError as error:
            raise ManifestError(f"{name}: {error}") from None
    feature = audio.feature
    if not isinstance(feature, WaveformFeature):
        hops = n_hops(feature, n_samples)
        if hops < 1:
            raise ManifestError(f"{where}.audio.feature: expected at least one hop a window, got {n_samples} samples")
        span, bands = _span_and_bands(feature)
        for name, count in (("hops", hops), ("bands", bands)):
            if count * span > _MAX_SPECTRUM:
                raise ManifestError(
                    f"{where}.audio.feature: expected at most {_MAX_SPECTRUM // span} {name} of {span} samples "
                    f"a window, got {count}"
                )
    if not isinstance(feature, LogMelFeature) or not feature.center or feature.pad_mode != "reflect":
        return
    n_samples -= feature.n_dropped
    if n_samples <= feature.n_fft // 2:
        raise ManifestError(
            f"{where}.audio.feature.n_fft: expected at most {2 * n_samples - 1}, so that a window of "
            f"{n_samples} samples can be reflected, got {feature.n_fft}"
        )


def _span_and_bands(feature: LogMelFeature | GammatoneFeature) -> tuple[int, int]:
    """Number of samples in a hop, and the number of bands they are reduced to."""
    if isinstance(feature, LogMelFeature):
        return feature.n_fft, feature.n_mels
    return feature.window_length, feature.n_bands


def _check_graphs(manifest: Manifest) -> None:
    """Require a scene graph, a frame graph exactly if frames have embeddings, and a fused head."""
    names = [graph.name for graph in manifest.graphs]
    if len(set(names)) != len(names) or SCENE_GRAPH not in names:
        raise ManifestError(f"graphs: expected one 'scene' and at most one 'frame', got {names}")
    video = manifest.video_input
    encodes = video is not None and video[1].embedding_size is not None
    if encodes != (FRAME_GRAPH in names):
        got = "one" if FRAME_GRAPH in names else "none"
        wanted = "a frame graph, since embedding_size is set" if encodes else "no frame graph"
        raise ManifestError(f"graphs: expected {wanted}, got {got}")
    heads = [output.name for output in manifest.outputs]
    if len(set(heads)) != len(heads) or "fused" not in heads:
        raise ManifestError(f"outputs: expected 'fused' and no head twice, got {heads}")
    for index, head in enumerate(heads):
        if head != "fused" and head not in manifest.modalities:
            raise ManifestError(f"outputs[{index}].name: expected a modality the bundle has, got {head!r}")
    for index, output in enumerate(manifest.outputs):
        known = output.labels
        if known is not None and (not known or known != tuple(label for label in manifest.labels if label in known)):
            raise ManifestError(
                f"outputs[{index}].labels: expected some of the labels, in alphabetical order, got {json.dumps(known)}"
            )
    presence = manifest.presence_input
    if presence is not None and set(presence[1]) != set(manifest.modalities):
        raise ManifestError(f"inputs: expected presence flags for {list(manifest.modalities)}, got {list(presence[1])}")


def _check_files(manifest: Manifest) -> None:
    """Check that every referenced file is listed, and that every name stays inside the bundle."""
    referred: dict[str, str] = {}
    for index, graph in enumerate(manifest.graphs):
        referred |= {f"graphs[{index}].files.{precision}": name for precision, name in graph.files.items()}
    if manifest.golden is not None:
        referred["golden"] = manifest.golden
    if manifest.card is not None:
        referred["card"] = manifest.card
    for where, name in [*((f"files.{name}", name) for name in manifest.files), *referred.items()]:
        if not is_plain_name(name):
            raise ManifestError(f"{where}: expected a file name inside the bundle, got {json.dumps(name)}")
    for where, name in referred.items():
        if name not in manifest.files:
            raise ManifestError(f"{where}: expected a file listed under files, got {json.dumps(name)}")


def is_plain_name(name: str) -> bool:
    """Whether `name` is one path component on every system: no folder, no "..", no drive, no control character."""
    if name in ("", ".", "..") or name.lower() == "manifest.json":
        return False
    return name.isprintable() and len(name.encode()) <= 128 and not any(char in '/\\:*?"<>|' for char in name)
