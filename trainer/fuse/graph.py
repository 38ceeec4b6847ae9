"""Two scene graphs and the pool behind them as one graph, in operators that every TensorRT parses; needs onnx only.

Each source keeps its nodes under a prefix; the pool is float32 in every precision. Its arithmetic is that of `pool.py`,
written anew: the golden answers of a fused bundle come from there.
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
"""The fused graph's flags, the ear's first."""
_ORDER: tuple[Modality, ...] = ("audio", "video")
HEADS = ("fused", *_ORDER)
_OPSET = 17
"""The newest that TensorRT 8.6 parses."""
_POOL = "pool_"
"""Names of what is added begin so; those of the sources begin with their modality."""


@dataclass(frozen=True, slots=True)
class Half:
    """One source of a fused graph."""

    graph: bytes
    """Its scene graph."""
    inputs: tuple[InputSpec, ...]
    """What that takes."""
    name: str
    """What messages call it."""


def renamed(inputs: Sequence[InputSpec], modality: Modality) -> tuple[InputSpec, ...]:
    """A source's inputs as the fused graph calls them: no two sources' names meet."""
    return tuple(replace(entry, name=f"{modality}_{entry.name}") for entry in inputs)


def fused_inputs(audio: Sequence[InputSpec], video: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """The inputs of a fused graph: the ear's, the eye's, and the flags."""
    return (*renamed(audio, "audio"), *renamed(video, "video"), InputSpec(PRESENCE, presence=_ORDER))


def fuse_graphs(audio: Half, video: Half, pool: Pool, window: WindowSpec) -> bytes:
    """Join two scene graphs; the answer's heads are log-probabilities.

    Args:
        audio: The ear.
        video: The eye, its frame times within `window`.
        pool: How their answers become one.
        window: Of the fused bundle.

    Raises:
        ExportError: A source is of an opset that TensorRT does not parse, or the two cannot be joined.
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
    """Import onnx.

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
    """Nodes and constants of the fused graph so far."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.sparse: list[Any] = []

    def take(self, graph: Any) -> None:
        """All of a source's."""
        self.nodes += graph.node
        self.constants += graph.initializer
        self.sparse += graph.sparse_initializer

    def constant(self, name: str, value: Any) -> str:
        """A tensor of the pool."""
        self.constants.append(need_onnx().numpy_helper.from_array(np.asarray(value), _POOL + name))
        return _POOL + name

    def row(self, name: str, values: Any) -> str:
        """A float32 constant [1, n]."""
        return self.constant(name, np.atleast_2d(np.asarray(values, np.float32)))

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node of the pool; the heads keep their names."""
        output = output if output in HEADS else _POOL + output
        self.nodes.append(need_onnx().helper.make_node(kind, inputs, [output], name=f"{output}_node", **attributes))
        return output


def _add_pool(nodes: _Nodes, pool: Pool) -> None:
    """The heads, from what the sources answer."""
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
    """[n, n_labels]: log p/π of one modality, 0 where it does not know the label."""
    expert = pool.expert(modality)
    temperature = nodes.row(f"{modality}_temperature", [expert.temperature])
    scaled = nodes.add("Div", [f"{modality}_fused", temperature], f"{modality}_scaled")
    known = nodes.add("LogSoftmax", [scaled], f"{modality}_log_softmax", axis=1)
    own = nodes.row(f"{modality}_log_prior", np.log(pool.own_prior(modality)))
    evidence = nodes.add("Sub", [known, own], f"{modality}_known")
    if expert.labels == pool.labels:
        return evidence
    # an unknown label takes the first one's place, and is then made neutral
    position = {label: index for index, label in enumerate(expert.labels)}
    places = nodes.constant(f"{modality}_places", np.array([position.get(label, 0) for label in pool.labels], np.int64))
    spread = nodes.add("Gather", [evidence, places], f"{modality}_spread", axis=1)
    mask = nodes.row(f"{modality}_mask", pool.known(modality))
    return nodes.add("Mul", [spread, mask], f"{modality}_evidence")


def _models(audio: Half, video: Half) -> dict[Modality, Any]:
    """Both sources as models of one opset, all names behind their prefix."""
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
    """Version of ONNX's own operators."""
    return int(next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1))


def _values(shapes: Mapping[str, tuple[int, ...]]) -> list[Any]:
    """Inputs or outputs of a graph, their batch free."""
    onnx = need_onnx()
    return [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape])
        for name, shape in shapes.items()
    ]
