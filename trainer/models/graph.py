"""Export a network to an ONNX graph with a dynamic batch axis, at an opset that every supported TensorRT parses."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 17
"""The newest opset that every TensorRT from 8.6 on parses."""


def export_graph(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Export a network as an ONNX graph.

    Args:
        network: In evaluation mode, as the exporter folds its normalisations into the convolutions.
        inputs: Example tensors by name, in the order of `forward`; of batch size two or more, as one of one would
            be exported as a constant batch size.
        outputs: Names of the outputs.

    Raises:
        ValueError: The network is in training mode, or an example has a batch of one.
    """
    if network.training:
        raise ValueError("expected a network in evaluation mode; call its eval() first")
    for name, example in inputs.items():
        if len(example) < 2:
            raise ValueError(f"{name}: expected an example batch of at least 2, got {len(example)}")
    buffer: Any = io.BytesIO()  # Any: torch.onnx.export's annotation omits BytesIO
    with warnings.catch_warnings():
        # the legacy exporter is needed: the newer one writes no opset below 18
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The feature will be removed", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*isinstance.treespec", category=FutureWarning)
        # only from PyTorch's own shape checks while it traces its GRU; the same warning from our code stays visible
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python", module=r"torch\.nn\.modules\.rnn")
        # a constant initial state would fix the batch size; ours is made from the input, and tests cover other batches
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size", category=UserWarning)
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
        )
    graph: bytes = buffer.getvalue()
    return graph
