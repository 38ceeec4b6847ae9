"""Known-answer bundles, one per shape of system: graphs small enough to say in plain numpy what they compute.

Sound: the mel bands are cut into as many equal groups as there are labels (`band_groups`), and a label's audio logit is
`AUDIO_GAIN` times the mean of its group: a tone in the group of a label (`tone_hz`) makes that label win.
Picture: mean red, green and blue, times `PICTURE_GAIN`, are the logits of bus, park and metro_station, others 0.
Both: the sum of the two, each times its presence flag where the graph takes flags.

Every function writes a bundle into `folder` and gives its path; keywords replace fields of the manifest (the graphs
follow `inputs`, `outputs`, `window`, and `labels`, some of `LABELS`), `scene` and `frame` replace the graphs' bytes,
`golden=None` leaves the golden cases out. `expected_logits` is what the scene graph of a bundle answers, computed
without it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import write_bundle
from engines.check import N_CASES, GoldenGraph, write_golden
from engines.manifest import (
    AudioInput,
    GraphSpec,
    InputSpec,
    LogMelFeature,
    Normalisation,
    OutputSpec,
    VideoInput,
    WaveformFeature,
    WindowSpec,
    input_shape,
)

LABELS = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
GROUPS = {
    "indoor": ("airport", "metro_station", "shopping_mall"),
    "outdoor": ("park", "public_square", "street_pedestrian", "street_traffic"),
    "transportation": ("bus", "metro", "tram"),
}
COLOURS = {"bus": (255, 0, 0), "park": (0, 255, 0), "metro_station": (0, 0, 255)}
"""A picture of that RGB colour makes that label win."""

AUDIO_GAIN = 0.5
PICTURE_GAIN = 4.0
WAVE_GAIN = 8.0
"""two_inputs: the mean square of the waveform, times this, is added to the logit of the last label."""
DIFFERENCE_GAIN = 2.0
"""stereo_difference: the mean of the difference channel, times this, is added to the logit of the first label."""
EMBEDDING_SIZE = 8
"""An embedding is mean red, green, blue, and five zeros."""
OPSET = 17
IR_VERSION = 8
"""What goes with opset 17: TensorRT 8.6 and ONNX Runtime both read it."""

Array = NDArray[np.float32]
FRAME_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


def mono_logmel(folder: Path, **overrides: Any) -> Path:
    """24 kHz, 1-s windows, 48 hops of 64 bands, not centred: the slim audio network's input."""
    return _write(folder, "mono_logmel", {"inputs": (_LOGMEL,)} | overrides)


def two_inputs(folder: Path, **overrides: Any) -> Path:
    """48 kHz waveform, and a centred log-mel spectrogram normalised by the window's own statistics."""
    waveform = InputSpec("waveform", audio=AudioInput(48_000, "mono", WaveformFeature("waveform")))
    feature = LogMelFeature("logmel", 2048, 2048, 256, 128, 0.0, 24_000.0, center=True)
    logmel = AudioInput(48_000, "mono", feature, Normalisation("per_clip", epsilon=1e-6))
    return _write(folder, "two_inputs", {"inputs": (waveform, InputSpec("logmel", audio=logmel))} | overrides)


def stereo_difference(folder: Path, **overrides: Any) -> Path:
    """44.1 kHz, left, right and difference, 50 hops of 40 ms every 20 ms: they reach 20 ms before the window."""
    feature = LogMelFeature(
        "logmel", 1764, 1764, 882, 64, 0.0, 22_050.0, window="rectangular", log="db", row_order="high_to_low"
    )
    audio = AudioInput(
        44_100, "left,right,difference", feature, Normalisation("min_max", floor_db=80.0), context_seconds=0.02
    )
    return _write(folder, "stereo_difference", {"inputs": (InputSpec("logmel", audio=audio),)} | overrides)


def ten_seconds(folder: Path, **overrides: Any) -> Path:
    """32 kHz, 10-s windows every second, 501 centred hops, time before frequency, affine."""
    feature = LogMelFeature(
        "logmel", 1024, 1024, 640, 64, 50.0, 14_000.0, center=True, mel_scale="slaney", log="db", layout="time_mel"
    )
    normalisation = Normalisation("affine", mean=(-40.0,), std=(20.0,))
    entry = InputSpec("logmel", audio=AudioInput(32_000, "mono", feature, normalisation))
    return _write(folder, "ten_seconds", {"inputs": (entry,), "window": WindowSpec(10.0, 1.0)} | overrides)


def image_only(folder: Path, **overrides: Any) -> Path:
    """One 48 × 32 picture a second, straight into the scene graph."""
    video = VideoInput(48, 32, "squash", (0.5,), 1.0)
    return _write(folder, "image_only", {"inputs": (InputSpec("picture", video=video),)} | overrides)


def frames_only(folder: Path, **overrides: Any) -> Path:
    """Five embeddings a second and no sound."""
    return _write(folder, "frames_only", {"inputs": (_FRAMES,)} | overrides)


def audio_visual(folder: Path, **overrides: Any) -> Path:
    """Sound and five embeddings a second, presence flags, all three heads."""
    inputs = (_LOGMEL, _FRAMES, InputSpec("presence", presence=("audio", "video")))
    return _write(folder, "audio_visual", {"inputs": inputs, "outputs": _ALL_HEADS} | overrides)


def audio_visual_no_presence(folder: Path, **overrides: Any) -> Path:
    """Sound and five embeddings a second; a head for each modality, but no flags."""
    fields = {"inputs": (_LOGMEL, _FRAMES), "outputs": _ALL_HEADS}
    return _write(folder, "audio_visual_no_presence", fields | overrides)


def late_fusion_bare(folder: Path, **overrides: Any) -> Path:
    """Sound and five embeddings a second; neither flags nor single heads: it needs both."""
    return _write(folder, "late_fusion_bare", {"inputs": (_LOGMEL, _FRAMES)} | overrides)


SHAPES: dict[str, Callable[..., Path]] = {
    builder.__name__: builder
    for builder in (
        mono_logmel,
        two_inputs,
        stereo_difference,
        ten_seconds,
        image_only,
        frames_only,
        audio_visual,
        audio_visual_no_presence,
        late_fusion_bare,
    )
}
"""Every shape of system, by name."""

_LOGMEL = InputSpec(
    "logmel", audio=AudioInput(24_000, "mono", LogMelFeature("logmel", 1024, 1024, 480, 64, 0.0, 12_000.0))
)
_FRAMES = InputSpec("frames", video=VideoInput(48, 32, "squash", FRAME_TIMES, 0.4, embedding_size=EMBEDDING_SIZE))
_ALL_HEADS = (OutputSpec("fused"), OutputSpec("audio"), OutputSpec("video"))


def band_groups(n_mels: int, n_labels: int = len(LABELS)) -> list[range]:
    """The mel bands of each label, low to high: equal groups, as nearly as whole bands allow."""
    edges = [label * n_mels // n_labels for label in range(n_labels + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges)]


def tone_hz(label: str, feature: LogMelFeature | None = None) -> float:
    """A frequency in the middle of a label's bands (HTK mel), by default those of `mono_logmel`."""
    feature = feature or LogMelFeature("logmel", 1024, 1024, 480, 64, 0.0, 12_000.0)
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (feature.f_min, feature.f_max))
    group = band_groups(feature.n_mels)[LABELS.index(label)]
    band = (group[0] + group[-1]) / 2
    mel = low + (band + 1) * (high - low) / (feature.n_mels + 1)
    return float(700 * (10 ** (mel / 2595) - 1))


def expected_logits(feeds: Mapping[str, NDArray[Any]], inputs: tuple[InputSpec, ...]) -> dict[str, NDArray[np.float64]]:
    """What the scene graph of a bundle answers: [n, n_labels] for "audio", "video" and "fused", in plain numpy."""
    heads: dict[str, NDArray[np.float64]] = {}
    for entry in inputs:
        if entry.audio is not None:
            logits = _audio_logits(feeds[entry.name].astype(np.float64), entry.audio)
            heads["audio"] = heads["audio"] + logits if "audio" in heads else logits
        elif entry.video is not None:
            heads["video"] = _picture_logits(feeds[entry.name].astype(np.float64), entry.video)
    flags = next((feeds[entry.name] for entry in inputs if entry.presence is not None), None)
    parts = [heads[name] for name in ("audio", "video") if name in heads]
    if flags is not None:
        parts = [part * flags[:, index : index + 1] for index, part in enumerate(parts)]
    return heads | {"fused": np.sum(parts, axis=0)}


def expected_embedding(images: NDArray[Any]) -> NDArray[np.float64]:
    """What the frame graph answers: [n, 3, height, width] to [n, EMBEDDING_SIZE]."""
    embedding = np.zeros((len(images), EMBEDDING_SIZE))
    embedding[:, :3] = images.astype(np.float64).mean(axis=(2, 3))
    return embedding


def _audio_logits(array: NDArray[np.float64], audio: AudioInput) -> NDArray[np.float64]:
    """[n, channels, …] to [n, n_labels]."""
    logits = np.zeros((len(array), len(LABELS)))
    if isinstance(audio.feature, WaveformFeature):
        logits[:, -1] = WAVE_GAIN * np.square(array).mean(axis=(1, 2))
        return logits
    if isinstance(audio.feature, LogMelFeature) and audio.feature.layout == "time_mel":
        array = array.swapaxes(2, 3)
    if isinstance(audio.feature, LogMelFeature) and audio.feature.row_order == "high_to_low":
        array = array[:, :, ::-1]
    heard = array[:, : audio.n_source_channels]
    for label, group in enumerate(band_groups(array.shape[2])):
        logits[:, label] = AUDIO_GAIN * heard[:, :, group.start : group.stop].mean(axis=(1, 2, 3))
    if audio.n_channels == 3:
        logits[:, 0] += DIFFERENCE_GAIN * array[:, 2].mean(axis=(1, 2))
    return logits


def _picture_logits(array: NDArray[np.float64], video: VideoInput) -> NDArray[np.float64]:
    """[n, n_frames, 3, height, width] or [n, n_frames, embedding_size] to [n, n_labels]."""
    colour = array.mean(axis=(1, 3, 4)) if video.embedding_size is None else array.mean(axis=1)
    logits = np.zeros((len(array), len(LABELS)))
    for plane, label in enumerate(COLOURS):
        logits[:, LABELS.index(label)] = PICTURE_GAIN * colour[:, plane]
    return logits


@dataclass
class _Graph:
    """Nodes and constants of a graph under construction."""

    nodes: list[Any]
    constants: list[Any]

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def bytes(self, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]) -> bytes:
        def values(side: Mapping[str, tuple[int, ...]]) -> list[Any]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *side[name]]) for name in side]

        graph = helper.make_graph(self.nodes, "known", values(inputs), values(outputs), self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def scene_graph(
    inputs: tuple[InputSpec, ...],
    outputs: tuple[OutputSpec, ...],
    window: WindowSpec,
    *,
    bias: float = 0.0,
    labels: tuple[str, ...] = LABELS,
) -> bytes:
    """The scene graph of a bundle; `bias` is added to the first label of `fused`, to make a wrong one.

    With fewer `labels`, the others' logits are left out.
    """
    graph = _Graph([], [])
    parts: dict[str, list[str]] = {}
    flags: tuple[str, tuple[str, ...]] | None = None
    for entry in inputs:
        if entry.audio is not None:
            parts.setdefault("audio", []).append(_add_audio(graph, entry.name, entry.audio))
        elif entry.video is not None:
            parts["video"] = [_add_picture(graph, entry.name, entry.video)]
        elif entry.presence is not None:
            flags = (entry.name, entry.presence)
    every = "" if labels == LABELS else "_of_every_label"
    heads = {name: graph.add("Sum", sums, f"{name}{every}") for name, sums in parts.items()}
    if flags is not None:
        for index, modality in enumerate(flags[1]):
            column = graph.constant(f"{modality}_column", np.array([index], np.int64))
            flag = graph.add("Gather", [flags[0], column], f"{modality}_flag", axis=1)
            heads[modality] = graph.add("Mul", [heads[modality], flag], f"{modality}_if_present")
    first = np.eye(1, len(LABELS), dtype=np.float32) * np.float32(bias)
    graph.add("Sum", [*heads.values(), graph.constant("bias", first)], f"fused{every}")
    if every:
        columns = graph.constant("columns", np.array([LABELS.index(label) for label in labels], np.int64))
        for name in ("fused", *parts):
            graph.add("Gather", [f"{name}{every}", columns], name, axis=1)
    return graph.bytes(
        {entry.name: input_shape(entry, window) for entry in inputs},
        {output.name: (len(labels),) for output in outputs},
    )


def frame_graph(height: int = 32, width: int = 48) -> bytes:
    """The frame graph of a bundle: mean red, green, blue, and zeros."""
    graph = _Graph([], [])
    graph.add("ReduceMean", ["image"], "colour", axes=[2, 3], keepdims=0)
    graph.add("MatMul", ["colour", graph.constant("eye", np.eye(3, EMBEDDING_SIZE, dtype=np.float32))], "embedding")
    return graph.bytes({"image": (3, height, width)}, {"embedding": (EMBEDDING_SIZE,)})


def _add_audio(graph: _Graph, name: str, audio: AudioInput) -> str:
    """The nodes of one audio input; their result is [n, n_labels]."""
    feature = audio.feature
    weights = np.zeros((audio.n_channels, 1, len(LABELS)), np.float32)
    if isinstance(feature, WaveformFeature):
        squares = graph.add("Mul", [name, name], f"{name}_squares")
        summary = graph.add("ReduceMean", [squares], f"{name}_mean", axes=[1, 2], keepdims=1)
        weights[0, 0, -1] = WAVE_GAIN
    else:
        assert isinstance(feature, LogMelFeature)
        time_axis = 2 if feature.layout == "time_mel" else 3
        summary = graph.add("ReduceMean", [name], f"{name}_mean", axes=[time_axis], keepdims=0)
        weights = np.zeros((audio.n_channels, feature.n_mels, len(LABELS)), np.float32)
        for label, group in enumerate(band_groups(feature.n_mels)):
            weights[: audio.n_source_channels, group.start : group.stop, label] = AUDIO_GAIN / (
                len(group) * audio.n_source_channels
            )
        if audio.n_channels == 3:
            weights[2, :, 0] = DIFFERENCE_GAIN / feature.n_mels
        if feature.row_order == "high_to_low":
            weights = weights[:, ::-1]
    flat = graph.add("Flatten", [summary], f"{name}_flat", axis=1)
    constant = graph.constant(f"{name}_weights", np.ascontiguousarray(weights.reshape(-1, len(LABELS))))
    return graph.add("MatMul", [flat, constant], f"{name}_logits")


def _add_picture(graph: _Graph, name: str, video: VideoInput) -> str:
    """The nodes of the video input; their result is [n, n_labels]."""
    embeds = video.embedding_size is not None
    axes = [1] if embeds else [1, 3, 4]
    colour = graph.add("ReduceMean", [name], f"{name}_colour", axes=axes, keepdims=0)
    weights = np.zeros((video.embedding_size or 3, len(LABELS)), np.float32)
    for plane, label in enumerate(COLOURS):
        weights[plane, LABELS.index(label)] = PICTURE_GAIN
    return graph.add("MatMul", [colour, graph.constant(f"{name}_weights", weights)], f"{name}_logits")


def golden_feeds(inputs: tuple[InputSpec, ...], window: WindowSpec, n: int = N_CASES) -> dict[str, Array]:
    """`n` reproducible sets of feeds of the scene graph; presence flags are 1."""
    rng = np.random.default_rng(2021)
    return {
        entry.name: np.ones((n, len(entry.presence)), np.float32)
        if entry.presence is not None
        else rng.standard_normal((n, *input_shape(entry, window)), dtype=np.float32)
        for entry in inputs
    }


def _write(folder: Path, name: str, overrides: Mapping[str, Any]) -> Path:
    """Write one bundle to `folder / name`."""
    fields: dict[str, Any] = {
        "name": name,
        "version": "1.0.0",
        "description": "A known-answer bundle for tests",
        "licence": "Apache-2.0",
        "labels": LABELS,
        "groups": GROUPS,
        "window": WindowSpec(1.0, 1.0),
        "outputs": (OutputSpec("fused"),),
        "golden": "golden.npz",
        **overrides,
    }
    inputs, outputs, window = fields["inputs"], fields["outputs"], fields["window"]
    labels = fields["labels"]
    scene = fields.pop("scene", None) or scene_graph(inputs, outputs, window, labels=labels)
    files: dict[str, bytes] = {"scene.onnx": scene}
    graphs = [GraphSpec("scene", {"float32": "scene.onnx"})]
    feeds = golden_feeds(inputs, window)
    columns = [LABELS.index(label) for label in labels]
    answers = {head: logits[:, columns] for head, logits in expected_logits(feeds, inputs).items()}
    cases = {"scene": GoldenGraph(feeds, {output.name: answers[output.name].astype(np.float32) for output in outputs})}
    video = next((entry.video for entry in inputs if entry.video is not None), None)
    if video is not None and video.embedding_size is not None:
        files["frame.onnx"] = fields.pop("frame", None) or frame_graph(video.height, video.width)
        graphs.append(GraphSpec("frame", {"float32": "frame.onnx"}))
        images = np.random.default_rng(2021).random((N_CASES, 3, video.height, video.width), dtype=np.float32)
        cases["frame"] = GoldenGraph({"image": images}, {"embedding": expected_embedding(images).astype(np.float32)})
    if fields["golden"] is not None:
        files[fields["golden"]] = write_golden(cases)
    return write_bundle(folder / name, {"graphs": graphs} | fields, files, overwrite=True).path
