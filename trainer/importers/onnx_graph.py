"""Import any ONNX graph with one input and one output as a bundle; a small TOML file next to it describes the two.

The graph stays as it is, except for names, a free batch axis, and outputs put in alphabetical order of the labels. A
graph of audio becomes the `scene` graph; a graph of one picture becomes the `frame` graph, and `scene` averages its
answers over the frames.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.check import N_CASES, GoldenGraph
from engines.errors import BackendError, ManifestError, one_line
from engines.graph import check_graph
from engines.manifest import (
    FRAME_GRAPH,
    FRAME_INPUT,
    FRAME_OUTPUT,
    SCENE_GRAPH,
    AudioInput,
    GraphName,
    InputSpec,
    OutputSpec,
    VideoInput,
    WindowSpec,
    check_inputs,
    check_labels,
    check_name,
    input_shape,
    is_plain_name,
    seconds_to_samples,
)
from engines.ort import OrtEngine
from engines.schema import decode, rule
from trainer.errors import ConfigError, DataError
from trainer.export.graphs import NetworkGraphs, check_answers
from trainer.importers.files import SourceFile, read_file
from trainer.importers.imported import UNKNOWN_LICENCE, Imported, Origin
from trainer.importers.material import picture_cases, sound_cases
from trainer.importers.onnx_rewrite import LEAST, Wanted, rewrite, scenes_of_frames
from trainer.inputs import EMBEDDINGS, FEATURES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 30
"""Protocol buffers are limited to 2 GiB."""
_MAX_TOML = 1 << 20
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """What a graph takes and returns; the fields are the keys of the TOML file."""

    graph: str = rule("a file name beside this file")
    """The .onnx file."""
    name: str = rule("a name")
    """Name of the bundle."""
    description: str = rule("a sentence")
    """Description in one line."""
    labels: tuple[str, ...] = rule("a list of labels")
    """In the order of the graph's outputs, whatever that is."""
    window: WindowSpec = rule("an object")
    """Length and step of the window."""
    groups: Mapping[str, tuple[str, ...]] = rule("labels a group", default_factory=dict)
    """Groups of labels, for coarser answers."""
    audio: AudioInput | None = rule("an object", default=None)
    """The input, if it is computed from audio; the keys are the manifest's."""
    video: VideoInput | None = rule("an object", default=None)
    """The input, if it is one picture [n, 3, height, width]."""
    answers: Literal["logits", "probabilities"] = rule("what the graph answers", default="logits")
    """What the graph returns; the logarithm of probabilities is taken."""
    temperature: float = rule("a positive number", minimum=1e-6, default=1.0)
    """Logits are divided by it."""
    licence: str = rule("an SPDX expression", default=UNKNOWN_LICENCE)
    """Licence of the weights."""
    authors: str = rule("a sentence", default="Not said.")
    """Who published it, for the card."""
    data: str = rule("a sentence", default="Not said.")
    """What it was trained on, for the card."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.audio is None) == (self.video is None):
            raise ManifestError(f"expected one of audio and video, got {'none' if self.audio is None else 'both'}")
        if not is_plain_name(self.graph):
            raise ManifestError(f"graph: expected a file name beside this file, got {self.graph!r}")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise ManifestError(f"labels: expected at least two, no label twice, got {list(self.labels)}")
        check_labels(tuple(sorted(self.labels)), self.groups)
        if self.video is not None and self.video.embedding_size is not None:
            raise ManifestError(f"video.embedding_size: expected nothing, got {self.video.embedding_size}")
        try:
            check_inputs((self.input_spec(),), self.window)
        except ManifestError as error:
            raise ManifestError(str(error).replace("inputs[0].", "")) from None

    def input_spec(self) -> InputSpec:
        """Return the scene graph's input."""
        if self.video is None:
            return InputSpec(FEATURES, audio=self.audio)
        return InputSpec(EMBEDDINGS, video=replace(self.video, embedding_size=len(self.labels)))


def import_onnx(path: Path) -> Imported:
    """Read a graph via the TOML file that describes it.

    Args:
        path: The .toml file.

    Raises:
        ConfigError: The TOML file is invalid.
        DataError: The graph is unreadable, or does not match the TOML file.
    """
    if path.suffix.lower() == ".onnx":
        raise _no_toml(path, "the graph itself")
    described = read_file(path, _MAX_TOML)
    config = _config(path, described.data)
    source = read_file(path.parent / config.graph, MAX_BYTES)
    try:
        check_graph(source.data)
        graphs, n_parameters = _graphs(config, source)
    except BackendError as error:
        raise DataError(f"{source.path}: {one_line(str(error))}") from None
    return Imported(
        name=config.name,
        description=config.description,
        labels=tuple(sorted(config.labels)),
        groups=config.groups,
        window=config.window,
        graphs=graphs,
        n_parameters=n_parameters,
        sources=(source, described),
        origin=Origin(
            network="An ONNX graph.",
            authors=config.authors,
            data=config.data,
            terms=_terms(config),
        ),
        answers=f"The graph's {config.answers}, put in alphabetical order of the labels."
        + (" A window's score is the mean over its frames." if config.video is not None else ""),
        checked="The golden answers are the graph's own before it was rewritten, one window at a time, on computed "
        "material.",
        licence=config.licence,
        outputs=(OutputSpec("fused", config.temperature),),
    )


def _no_toml(path: Path, got: str) -> ConfigError:
    """The error if something else than the TOML file was named."""
    return ConfigError(
        f"{path}: expected the .toml file that describes the graph, got {got}; name the .toml, or write one beside the "
        "graph (docs/importing.md shows one)"
    )


def _terms(config: GraphConfig) -> str:
    """What is known about the licence: a sentence."""
    if config.licence == UNKNOWN_LICENCE:
        return "No licence is stated. Ask its authors before you pass this bundle on."
    return f"{config.licence}, as its importer says."


def _config(path: Path, data: bytes) -> GraphConfig:
    """Parse and validate the TOML file."""
    try:
        content = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise _no_toml(path, "a file that is no text") from None
    except (ValueError, RecursionError) as error:  # not TOML, endless brackets
        raise ConfigError(f"{path}: expected TOML, got something else: {one_line(str(error))}") from None
    try:
        return decode(GraphConfig, content)
    except ManifestError as error:
        raise ConfigError(f"{path}: {one_line(str(error))}") from None


def _graphs(config: GraphConfig, source: SourceFile) -> tuple[NetworkGraphs, int]:
    """The rewritten graphs with their golden cases, and the number of weights."""
    order = [config.labels.index(label) for label in sorted(config.labels)]
    scores = config.answers == "probabilities"
    if config.audio is not None:
        spec = config.input_spec()
        lengths = (config.window.seconds, config.audio.context_seconds)
        n_samples = sum(seconds_to_samples(length, config.audio.sample_rate) for length in lengths)
        wanted = Wanted(FEATURES, input_shape(spec, config.window), "fused", order, scores)
        rewritten, n_parameters = rewrite(source.data, wanted)
        cases = sound_cases(config.audio, n_samples)
        only = GoldenGraph({FEATURES: cases}, {"fused": _one_by_one(source, cases, wanted)})
        return _compared({SCENE_GRAPH: rewritten}, {SCENE_GRAPH: only}, spec), n_parameters
    assert config.video is not None  # noqa: S101  exactly one of the two is given
    wanted = Wanted(FRAME_INPUT, (3, config.video.height, config.video.width), FRAME_OUTPUT, order, scores)
    rewritten, n_parameters = rewrite(source.data, wanted)
    pictures = np.ascontiguousarray(picture_cases(config.video)[:, 0])
    answers = _one_by_one(source, pictures, wanted)
    n_frames, n_labels = len(config.video.frame_times_seconds), len(order)
    several = np.repeat(answers[:, None], n_frames, axis=1)
    golden: dict[GraphName, GoldenGraph] = {
        FRAME_GRAPH: GoldenGraph({FRAME_INPUT: pictures}, {FRAME_OUTPUT: answers}),
        SCENE_GRAPH: GoldenGraph({EMBEDDINGS: several}, {"fused": _log_softmax(answers)}),
    }
    graphs: dict[GraphName, bytes] = {FRAME_GRAPH: rewritten, SCENE_GRAPH: scenes_of_frames(n_frames, n_labels)}
    return _compared(graphs, golden, config.input_spec()), n_parameters


def _one_by_one(source: SourceFile, cases: Floats, wanted: Wanted) -> Floats:
    """Run the original graph on one case at a time; returns logits [N_CASES, n_labels] in the wanted order."""
    n_labels = len(wanted.order)
    with OrtEngine(source.data, name="graph") as engine:
        name, output = next(iter(engine.inputs)), next(iter(engine.outputs))
        answers = np.concatenate([engine.infer({name: case[None]})[output] for case in cases])
    if answers.shape != (N_CASES, n_labels):
        raise DataError(f"{source.path}: expected [1, {n_labels}] answers, a label each, got {list(answers.shape)[1:]}")
    if not np.isfinite(answers).all():
        raise DataError(f"{source.path}: expected finite answers on computed material, got NaN or infinity")
    ordered = answers[:, list(wanted.order)]
    if not wanted.takes_logarithm:
        return ordered
    if ordered.min() < 0 or np.abs(ordered.sum(axis=1) - 1).max() > 1e-3:
        raise DataError(f'{source.path}: expected probabilities that sum to 1, got others; set answers = "logits"')
    logarithms: Floats = np.log(np.maximum(ordered, np.float32(LEAST)))
    return logarithms


def _log_softmax(logits: Floats) -> Floats:
    """Log-softmax, computed in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    logarithms: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logarithms.astype(np.float32)


def _compared(
    graphs: Mapping[GraphName, bytes], golden: Mapping[GraphName, GoldenGraph], spec: InputSpec
) -> NetworkGraphs:
    """Check that the graphs answer in batches as the original graph did case by case, and return them."""
    for name, graph in graphs.items():
        with OrtEngine(graph, name=name) as engine:
            try:
                check_answers(engine, golden[name])
            except BackendError as error:
                raise BackendError(
                    f"expected a graph that takes any batch, got: {one_line(str(error), 200)}; export it with a free "
                    "first axis, and no fixed one inside"
                ) from None
    return NetworkGraphs(graphs, golden, (spec,), ("fused",))
