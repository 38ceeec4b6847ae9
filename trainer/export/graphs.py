"""Traces a trained network as the graphs of a bundle, and refuses graphs whose answers differ from the network's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from engines.base import Engine
from engines.check import BATCHES, GoldenGraph
from engines.manifest import FRAME_GRAPH, FRAME_INPUT, FRAME_OUTPUT, SCENE_GRAPH, GraphName, InputSpec
from engines.ort import OrtEngine
from trainer.data.augment import Floats
from trainer.errors import ExportError
from trainer.evaluate.metrics import softmax
from trainer.inputs import EMBEDDINGS, FEATURES, FRAMES, PRESENCE, WAVEFORM, Inputs
from trainer.models.graph import export_graph
from trainer.models.systems import Deployed, System, deploy, run_network

_TOLERANCE = 1e-5
"""Allowed difference of a probability between a network and its graph."""
_MOST = 1e-3
"""Upper limit of that, even if the network's own rounding is larger: a network less certain than this is no use."""
_RELATIVE = 2e-6
"""Allowed difference of a logit or embedding, relative to the largest of them."""
_ROUNDINGS = 8
"""If training left normalisations with large factors, float32 itself is further from the exact answer: the graph may
then differ from the network by this multiple of the network's own difference from its float64 answers; with few
answers, 4.3 times has been seen. A softmax changes at most half as much as its logits do."""


@dataclass(frozen=True, slots=True)
class NetworkGraphs:
    """A network's float32 graphs, and the answers they must give."""

    graphs: Mapping[GraphName, bytes]
    """The scene graph, and the frame graph if frames are encoded separately."""
    golden: Mapping[GraphName, GoldenGraph]
    """Golden cases and the reference answers to them."""
    inputs: tuple[InputSpec, ...]
    """Inputs of the scene graph, in order."""
    outputs: tuple[str, ...]
    """Heads of the scene graph."""


def trace_network(system: System, network: nn.Module, inputs: Inputs, cases: Mapping[str, Floats]) -> NetworkGraphs:
    """Trace a network as graphs, and check that they give the same answers.

    Args:
        system: The network's kind.
        network: The network, in evaluation mode.
        inputs: Its inputs, with their statistics.
        cases: [N_CASES, …] for each of its inputs.

    Raises:
        ExportError: A graph gives other answers.
    """
    deployed = deploy(system, network)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in cases.items()}
    graphs: dict[GraphName, bytes] = {}
    golden: dict[GraphName, GoldenGraph] = {}
    judge = network.eval()
    if deployed.encoder is not None:
        frames = tensors.pop(FRAMES)
        with torch.no_grad():
            tensors[EMBEDDINGS] = torch.stack([deployed.encoder(part) for part in frames])
        images = frames[:, 0]
        graphs[FRAME_GRAPH] = export_graph(deployed.encoder, {FRAME_INPUT: images[:2]}, [FRAME_OUTPUT])
        answers = {FRAME_OUTPUT: _array(tensors[EMBEDDINGS][:, 0])}
        golden[FRAME_GRAPH] = GoldenGraph({FRAME_INPUT: _array(images)}, answers)
        judge = network.get_submodule("scene")  # so that no frame is encoded twice
    with torch.no_grad():
        logits = {name: _array(part) for name, part in run_network(system, judge, tensors).items()}
    feeds = {name: tensors[name] for name in deployed.scene_inputs}
    graphs[SCENE_GRAPH] = export_graph(deployed.scene, {name: part[:2] for name, part in feeds.items()}, system.outputs)
    golden[SCENE_GRAPH] = GoldenGraph({name: _array(part) for name, part in feeds.items()}, logits)
    exact: dict[GraphName, Callable[[], Mapping[str, np.ndarray]]] = {
        FRAME_GRAPH: lambda: _encode_exactly(deployed.encoder, golden[FRAME_GRAPH]),
        SCENE_GRAPH: lambda: _answer_exactly(system, judge, tensors),
    }
    for name, graph in graphs.items():
        with OrtEngine(graph, name=name) as engine:
            check_answers(engine, golden[name], exact[name])
    size = tensors[EMBEDDINGS].shape[2] if EMBEDDINGS in tensors else None
    return NetworkGraphs(graphs, golden, _specs(deployed, inputs, size), system.outputs)


def check_answers(
    engine: Engine, golden: GoldenGraph, exact: Callable[[], Mapping[str, np.ndarray]] | None = None
) -> None:
    """Compare a float32 graph with its network in batches of 1, 2 and 5.

    Args:
        engine: The graph.
        golden: The network's answers.
        exact: Returns the answers in float64; called only if an answer differs by more than the fixed tolerances.

    Raises:
        ExportError: The network's answers are not finite; or a probability differs by more than 1e-5 or a value by more
            than 2e-6 of the largest, and also by more than eight times the network's own rounding error; or a
            probability differs by more than 1e-3.
    """
    for name, array in golden.answers.items():
        if not np.isfinite(array).all():
            raise ExportError(
                f"{engine.name}: expected numbers for answers, got NaN or infinity in {name}; are these the weights of "
                "a network that was trained? nothing was written"
            )
    allowed = {name: _RELATIVE * max(float(np.abs(array).max()), 1.0) for name, array in golden.answers.items()}
    likely = dict.fromkeys(allowed, _TOLERANCE)
    start = 0
    for size in BATCHES:
        part = slice(start, start + size)
        answers = engine.infer({name: array[part] for name, array in golden.feeds.items()})
        for name, expected in golden.answers.items():
            distances = np.abs(answers[name] - expected[part])
            chances = np.zeros(1)
            if engine.name == SCENE_GRAPH:
                chances = np.abs(softmax(answers[name]) - softmax(expected[part]))
            if exact is not None and (distances.max() > allowed[name] or chances.max() > likely[name]):
                truth, exact = exact(), None
                for other, array in golden.answers.items():
                    rounding = _ROUNDINGS * float(np.abs(array - truth[other]).max())
                    allowed[other] = max(allowed[other], rounding)
                    likely[other] = max(likely[other], min(rounding / 2, _MOST))
            _check(engine.name, name, size, distances, allowed[name])
            _check(engine.name, name, size, chances, likely[name])
        start += size


def _encode_exactly(encoder: nn.Module | None, golden: GoldenGraph) -> dict[str, np.ndarray]:
    """Embeddings computed in float64."""
    assert encoder is not None  # noqa: S101  only called if there is a frame graph
    with torch.no_grad():
        return {
            FRAME_OUTPUT: copy.deepcopy(encoder).double()(torch.from_numpy(golden.feeds[FRAME_INPUT]).double()).numpy()
        }


def _answer_exactly(system: System, network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Logits computed in float64."""
    with torch.no_grad():
        answers = run_network(
            system, copy.deepcopy(network).double(), {name: part.double() for name, part in tensors.items()}
        )
    return {name: part.numpy() for name, part in answers.items()}


def _check(graph: str, output: str, size: int, distances: np.ndarray, allowed: float) -> None:
    """Refuse distances larger than allowed, or NaN."""
    difference = float(distances.max())
    if not difference <= allowed:
        raise ExportError(
            f"{graph}: expected the network's answers within {allowed:.3g} in a batch of {size}, "
            f"got a difference of {difference:.3g} in {output}; nothing was written"
        )


def _specs(deployed: Deployed, inputs: Inputs, embedding_size: int | None) -> tuple[InputSpec, ...]:
    """The manifest's description of the scene graph's inputs."""
    known: dict[str, InputSpec] = {PRESENCE: InputSpec(PRESENCE, presence=("audio", "video"))}
    for name, audio in ((FEATURES, inputs.audio), (WAVEFORM, inputs.waveform)):
        if audio is not None:
            known[name] = InputSpec(name, audio=audio)
    if inputs.video is not None:
        known[FRAMES] = InputSpec(FRAMES, video=inputs.video)
        known[EMBEDDINGS] = InputSpec(EMBEDDINGS, video=replace(inputs.video, embedding_size=embedding_size))
    return tuple(known[name] for name in deployed.scene_inputs)


def _array(tensor: Tensor) -> Floats:
    """A tensor as a contiguous numpy array."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
