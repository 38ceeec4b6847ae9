"""Every network in every precision on a GPU: what PyTorch and ONNX Runtime answer, on random and on real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.every_network import BIG, SMALL, trace
from support.gpu import require_gpu
from support.gpu_parity import compare, label_agreement

from engines.errors import BackendError
from engines.manifest import Precision
from trainer.export.precisions import PRECISIONS

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3000)]
ALLOWED: Mapping[Precision, float] = {"float32": 1e-4, "float16": 0.02, "int8": 0.5}
"""Of a probability, or of an embedding by its largest number, to PyTorch's: random weights, at worst."""
ALIKE: Mapping[Precision, float] = {"float32": 1e-4, "float16": 0.01, "int8": 0.1}
"""The same to ONNX Runtime with the very graph that was compiled."""


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [*SMALL, *BIG])
def test_a_network_answers_as_in_pytorch_and_onnx_runtime(name: str, precision: Precision) -> None:
    require_gpu()
    try:
        found = compare(trace(name), precision)
    except BackendError as error:
        if "to quantise" in str(error) or "typed so" in str(error):
            pytest.skip(f"the network has no {precision} graph: {error}")
        raise
    for part, (to_pytorch, to_onnxruntime) in found.items():
        assert to_pytorch <= ALLOWED[precision], part
        assert to_onnxruntime <= ALIKE[precision], part


@pytest.mark.parametrize(("precision", "least"), [("float32", 1.0), ("float16", 0.999), ("int8", 0.99)])
def test_the_bundle_that_ships_labels_real_windows_alike(precision: Precision, least: float, tmp_path: Path) -> None:
    require_gpu()
    assert label_agreement(precision, tmp_path) >= least
