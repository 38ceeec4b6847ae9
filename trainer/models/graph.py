"""A network to an ONNX graph with a free batch axis, at an opset that every supported TensorRT parses."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 17
"""The newest that every TensorRT from 8.6 on parses."""


def export_graph(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> bytes:
    """Write a network as an ONNX graph.

    Args:
        network: In evaluation mode: the exporter folds its normalisations into the convolutions.
        inputs: Name to an example, in the order of `forward`; a batch of at least two, as one would fix the batch.
        outputs: Names of what it answers.

    Raises:
        ValueError: The network is in training mode, or an example has a batch of one.
    """
    if network.training:
        raise ValueError("expected a network in evaluation mode; call its eval() first")
    for name, example in inputs.items():
        if len(example) < 2:
            raise ValueError(f"{name}: expected an example batch of at least 2, got {len(example)}")
    buffer: Any = io.BytesIO()  # which the annotation of torch.onnx.export leaves out
    with warnings.catch_warnings():
        # the newer exporter writes no opset below 18
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The feature will be removed", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*isinstance.treespec", category=FutureWarning)
        # PyTorch's own checks of shapes while it traces its GRU; ours would still be heard
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python", module=r"torch\.nn\.modules\.rnn")
        # a fixed initial state would fix the batch; here it is made from the input, and batches are tested
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
