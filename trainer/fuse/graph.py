"""Joins two scene graphs and the pool behind them in one graph, with operators that every TensorRT parses; needs onnx.

The nodes of each source get a prefix; the pool is float32 in every precision. It implements the arithmetic of `pool.py`
a second time, independently: a fused bundle's golden answers come from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engines.manifest import InputSpec, Modality, WindowSpec, input_shape
from trainer.errors import ExportError, MissingError
from trainer.fuse.pool import PRESENT, Pool

PRESENCE = "presence"
"""The fused graph's input of presence flags, audio first."""
_ORDER: tuple[Modality, ...] = ("audio", "video")
HEADS = ("fused", *_ORDER)
_OPSET = 17
"""The newest that TensorRT 8.6 parses."""
_POOL = "pool_"
"""Prefix of the names of added nodes and tensors; names from the sources begin with their modality."""


@dataclass(frozen=True, slots=True)
class Half:
    """One source of a fused graph."""

    graph: bytes
    """Its scene graph."""
    inputs: tuple[InputSpec, ...]
    """The inputs of that graph."""
    name: str
    """Its name in error messages."""


def renamed(inputs: Sequence[InputSpec], modality: Modality) -> tuple[InputSpec, ...]:
    """Prefix a source's inputs with their modality, as in the fused graph, so that no two names collide."""
    return tuple(replace(entry, name=f"{modality}_{entry.name}") for entry in inputs)


def fused_inputs(audio: Sequence[InputSpec], video: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Return the inputs of a fused graph: the audio source's, the video source's, and the presence flags."""
    return (*renamed(audio, "audio"), *renamed(video, "video"), InputSpec(PRESENCE, presence=_ORDER))


def fuse_graphs(audio: Half, video: Half, pool: Pool, window: WindowSpec) -> bytes:
    """Join two scene graphs; the heads of the fused graph return log-probabilities.

    Args:
        audio: The audio source.
        video: The video source, its frame times within `window`.
        pool: How their answers are combined.
        window: Window of the fused bundle.

    Raises:
        ExportError: A source has an opset that TensorRT does not parse, or the two cannot be joined.
        MissingError: onnx is not installed.
    """
    onnx = need_onnx()
    models = _models(audio, video)
    nodes = _Nodes()
    for model in models.values():
        nodes.take(model.graph)
    _add_pool(nodes, pool)
    inputs = fused_inputs(audio.inputs, video.inputs)
    shapes = {entry.name: input_shape(entry, window) for entry in inputs}
    graph = onnx.helper.make_graph(
        nodes.nodes,
        "fused",
        _values(shapes),
        _values({head: (len(pool.labels),) for head in HEADS}),
        nodes.constants,
        sparse_initializer=nodes.sparse,
    )
    domains: dict[str, int] = {}
    for entry in (entry for model in models.values() for entry in model.opset_import):
        if domains.setdefault(entry.domain, entry.version) != entry.version:
            raise ExportError(f"expected one version of the operators of {entry.domain!r} in both graphs, got two")
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in domains.items()]
    ir_version = max(model.ir_version for model in models.values())
    fused = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="ascstream")
    try:
        onnx.checker.check_model(fused, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"expected graphs that can be joined, got: {error}") from None
    return bytes(fused.SerializeToString(deterministic=True))


def need_onnx() -> Any:
    """Import onnx and the submodules used here, and return it.

    Raises:
        MissingError: It is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.compose
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
        import onnx.version_converter
    except ImportError as error:
        raise MissingError(
            f"expected onnx, which graphs are joined with, got: {error}; type: pip install 'ascstream[build]'"
        ) from None
    return onnx


class _Nodes:
    """The nodes and constants of the fused graph, as it is built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.sparse: list[Any] = []

    def take(self, graph: Any) -> None:
        """Add all nodes and constants of a source's graph."""
        self.nodes += graph.node
        self.constants += graph.initializer
        self.sparse += graph.sparse_initializer

    def constant(self, name: str, value: Any) -> str:
        """Add a constant tensor of the pool; returns its name."""
        self.constants.append(need_onnx().numpy_helper.from_array(np.asarray(value), _POOL + name))
        return _POOL + name

    def row(self, name: str, values: Any) -> str:
        """Add a float32 constant [1, n]; returns its name."""
        return self.constant(name, np.atleast_2d(np.asarray(values, np.float32)))

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node of the pool and return its output's name, which gets the pool's prefix unless it is a head."""
        output = output if output in HEADS else _POOL + output
        self.nodes.append(need_onnx().helper.make_node(kind, inputs, [output], name=f"{output}_node", **attributes))
        return output


def _add_pool(nodes: _Nodes, pool: Pool) -> None:
    """Add the nodes that compute the heads from the sources' outputs."""
    even = nodes.row("log_even", np.full(len(pool.labels), -np.log(len(pool.labels))))
    middle = nodes.row("half", [PRESENT])
    weighted, there = [], {}
    for index, modality in enumerate(_ORDER):
        evidence = _add_evidence(nodes, pool, modality)
        nodes.add("LogSoftmax", [evidence], modality, axis=1)
        weight = nodes.row(f"{modality}_weight", [pool.expert(modality).weight])
        weighted.append(nodes.add("Mul", [evidence, weight], f"{modality}_weighted"))
        column = nodes.constant(f"{modality}_column", np.array([index], np.int64))
        flag = nodes.add("Gather", [PRESENCE, column], f"{modality}_flag", axis=1)
        there[modality] = nodes.add("Greater", [flag, middle], f"{modality}_there")
    audio, video = _ORDER
    both = nodes.add("LogSoftmax", [nodes.add("Add", weighted, "weighed")], "both", axis=1)
    by_eye = nodes.add("Where", [there[video], video, even], "by_eye_or_none")
    with_eye = nodes.add("Where", [there[video], both, audio], "by_both_or_ear")
    nodes.add("Where", [there[audio], with_eye, by_eye], "fused")


def _add_evidence(nodes: _Nodes, pool: Pool, modality: Modality) -> str:
    """Add the nodes for the evidence [n, n_labels] of one modality: log p/π, 0 for labels it does not know."""
    expert = pool.expert(modality)
    temperature = nodes.row(f"{modality}_temperature", [expert.temperature])
    scaled = nodes.add("Div", [f"{modality}_fused", temperature], f"{modality}_scaled")
    known = nodes.add("LogSoftmax", [scaled], f"{modality}_log_softmax", axis=1)
    own = nodes.row(f"{modality}_log_prior", np.log(pool.own_prior(modality)))
    evidence = nodes.add("Sub", [known, own], f"{modality}_known")
    if expert.labels == pool.labels:
        return evidence
    # an unknown label gathers the first column, which the mask then sets to 0, neutral
    position = {label: index for index, label in enumerate(expert.labels)}
    places = nodes.constant(f"{modality}_places", np.array([position.get(label, 0) for label in pool.labels], np.int64))
    spread = nodes.add("Gather", [evidence, places], f"{modality}_spread", axis=1)
    mask = nodes.row(f"{modality}_mask", pool.known(modality))
    return nodes.add("Mul", [spread, mask], f"{modality}_evidence")


def _models(audio: Half, video: Half) -> dict[Modality, Any]:
    """Both sources as models of the same opset, all names with their modality as prefix."""
    onnx = need_onnx()
    models: dict[Modality, Any] = {}
    for modality, half in zip(_ORDER, (audio, video), strict=True):
        model = onnx.load_from_string(half.graph)
        if _opset(model) > _OPSET:
            raise ExportError(
                f"{half.name}: expected a graph of opset {_OPSET} or older, as TensorRT wants it, got {_opset(model)}; "
                f"export it with opset {_OPSET}"
            )
        models[modality] = model
    newest = max(_opset(model) for model in models.values())
    for modality, model in models.items():
        converted = model if _opset(model) == newest else onnx.version_converter.convert_version(model, newest)
        models[modality] = onnx.compose.add_prefix(converted, f"{modality}_")
    return models


def _opset(model: Any) -> int:
    """Version of ONNX's default operator set."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1))


def _values(shapes: Mapping[str, tuple[int, ...]]) -> list[Any]:
    """Inputs or outputs of a graph, with a free batch axis."""
    onnx = need_onnx()
    return [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape])
        for name, shape in shapes.items()
    ]
