"""The audio bundle in the package: small, whole, as the configuration says, and honest about its recordings."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from ascstream.bundles import find_bundle
from engines.backends import load_engines
from engines.bundle import open_bundle, verify
from engines.check import check_parity, require_parity
from engines.manifest import InputSpec, input_shape
from trainer.config import load_config

BUNDLE = find_bundle("slim-audio")
CARD = (BUNDLE / "CARD.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<file>\S+) \| (?P<label>\w+) \| .* \| `(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)


def test_the_shipped_bundle_is_whole_and_small() -> None:
    bundle = open_bundle(BUNDLE)
    verify(bundle)
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 1_000_000
    with load_engines(bundle) as engines:
        require_parity(check_parity(bundle, engines))


def test_the_shipped_graph_is_slim_and_of_an_opset_every_tensorrt_reads() -> None:
    graph = onnx.load(BUNDLE / "scene.onnx")
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 17)]
    assert sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer) <= 130_000
    assert {node.op_type for node in graph.graph.node} <= {
        "Add", "Constant", "Conv", "Flatten", "Gemm", "MatMul", "Mul", "ReduceMean", "Relu", "Sigmoid",
    }  # fmt: skip


def test_the_shipped_bundle_is_what_the_configuration_describes() -> None:
    config = load_config(Path(__file__).parents[2] / "configs/slim_audio.toml")
    manifest = open_bundle(BUNDLE).manifest
    assert (manifest.name, manifest.version, manifest.licence) == (config.name, "1.0.0", "Apache-2.0")
    assert manifest.window == config.window
    assert manifest.smoothing == config.smoothing
    ((_, audio),) = manifest.audio_inputs
    assert audio.feature == config.audio.feature
    assert input_shape(InputSpec("features", audio=audio), manifest.window) == (1, 64, 48)
    assert manifest.labels == (
        "airport", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_traffic",
    )  # fmt: skip
    assert manifest.groups["transportation"] == ("metro",)


def test_the_shipped_card_credits_every_source_and_names_what_is_missing() -> None:
    for words in (
        "Berlin Noise by Thomas Rosen is licensed under CC BY 4.0",
        "Copyright (c) 2019 Linus Lee",
        "gezortenplotz (freesound 44796, CC BY)",
        "SDLx (freesound 259988, CC BY 3.0)",
        "Pixabay Content License or CC0",
        "It knows no bus, street_pedestrian, tram",
    ):
        assert words in CARD
    assert len(ROW.findall(CARD)) == 48


@pytest.mark.data
@pytest.mark.skipif("ASCSTREAM_TEST_DATA" not in os.environ, reason="ASCSTREAM_TEST_DATA is not set")
def test_the_shipped_card_names_the_recordings_by_their_hash() -> None:
    root = Path(os.environ["ASCSTREAM_TEST_DATA"]) / "scenes_audio"
    for row in ROW.finditer(CARD):
        assert hashlib.sha256((root / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
