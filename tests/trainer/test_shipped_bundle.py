"""The bundles in the package: small, whole, as the configurations say, and honest about what they learnt from."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.trt_operators import faults

from ascstream.bundles import find_bundle, shipped
from engines.backends import Engines, load_engines
from engines.base import Array
from engines.bundle import open_bundle, verify
from engines.check import check_parity, require_parity
from engines.manifest import InputSpec, input_shape
from trainer.config import load_config

AUDIO, AV = find_bundle("slim-audio"), find_bundle("slim-av")
MOST_BYTES = {"slim-audio": 1_200_000, "slim-av": 12_000_000}
CREDITS = (
    "Berlin Noise by Thomas Rosen is licensed under CC BY 4.0",
    "Copyright (c) 2019 Linus Lee",
    "gezortenplotz (freesound 44796, CC BY)",
    "SDLx (freesound 259988, CC BY 3.0)",
    "Pixabay Content License or CC0",
    "66 of MicIRP (micirp.blogspot.com, Xaudia)",
    "ESC-10, K. J. Piczak 2015, CC BY 3.0",
    "YAMNet, of Google, Apache-2.0, trained on AudioSet",
)
ROW = re.compile(r"^\| (?P<file>\S+/\S+) \| (?P<label>\w+) \| .* \| `(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)
ARCHIVE = re.compile(r"^\| (?P<stem>\w+) \| .* \| [\d,]+ \| .* \| `(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)
needs_data = pytest.mark.skipif("ASCSTREAM_TEST_DATA" not in os.environ, reason="ASCSTREAM_TEST_DATA is not set")


def card(folder: Path) -> str:
    return (folder / "CARD.md").read_text(encoding="utf-8")


def test_every_shipped_bundle_is_tested_here() -> None:
    assert shipped() == {"slim-audio": AUDIO, "slim-av": AV}
    assert find_bundle() == AV


@pytest.mark.parametrize("name", MOST_BYTES)
def test_a_shipped_bundle_is_whole_and_small(name: str) -> None:
    bundle = open_bundle(find_bundle(name))
    verify(bundle)
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= MOST_BYTES[name]
    for precision in ("float32", "float16", "int8"):
        with load_engines(bundle, backend="onnxruntime", precision=precision) as engines:
            assert engines.precision == precision
            require_parity(check_parity(bundle, engines))


@pytest.mark.parametrize("name", MOST_BYTES)
def test_a_shipped_bundle_has_every_precision_of_an_opset_and_operators_every_tensorrt_reads(name: str) -> None:
    bundle = open_bundle(find_bundle(name))
    for spec in bundle.manifest.graphs:
        assert set(spec.files) == {"float32", "float16", "int8"}
        for file in spec.files.values():
            graph = bundle.read(file)
            assert [(opset.domain, opset.version) for opset in onnx.load_from_string(graph).opset_import] == [("", 17)]
            assert faults(graph) == []


@pytest.mark.parametrize(
    ("file", "most"),
    [(AUDIO / "scene.onnx", 130_000), (AV / "scene.onnx", 130_000), (AV / "frame.onnx", 500_000)],
    ids=["slim-audio", "slim-av scene", "slim-av frame"],
)
def test_a_shipped_graph_is_slim(file: Path, most: int) -> None:
    graph = onnx.load(file).graph
    assert sum(int(np.prod(tensor.dims)) for tensor in graph.initializer) <= most


def test_the_shipped_graphs_that_learnt_are_of_few_operators() -> None:
    learnt = {"Add", "Constant", "Conv", "Flatten", "Gemm", "MatMul", "Mul", "ReduceMean", "Relu", "Sigmoid"}
    fusion = {"Div", "Gather", "Greater", "LogSoftmax", "Where"}
    levels = {"Sub"}  # a window less its own mean level: gain changes nothing
    for file, allowed in (
        (AUDIO / "scene.onnx", learnt | levels),
        (AV / "scene.onnx", learnt | levels | fusion),
        (AV / "frame.onnx", learnt),
    ):
        assert {node.op_type for node in onnx.load(file).graph.node} <= allowed, file


def test_the_shipped_audio_bundle_is_what_the_configuration_describes() -> None:
    config = load_config(Path(__file__).parents[2] / "configs/slim_audio.toml")
    manifest = open_bundle(AUDIO).manifest
    assert (manifest.name, manifest.version, manifest.licence) == (config.name, "2.1.0", "Apache-2.0")
    assert manifest.window == config.window
    assert manifest.smoothing == config.smoothing
    ((_, audio),) = manifest.audio_inputs
    assert audio.feature == config.audio.feature
    assert input_shape(InputSpec("features", audio=audio), manifest.window) == (1, 64, 48)
    assert manifest.labels == (
        "airport", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_traffic",
    )  # fmt: skip
    assert manifest.groups["transportation"] == ("metro",)


def test_the_shipped_audio_visual_bundle_hears_and_sees_as_the_configurations_describe() -> None:
    ear, eye = (
        load_config(Path(__file__).parents[2] / "configs" / name) for name in ("slim_audio.toml", "slim_visual.toml")
    )
    manifest = open_bundle(AV).manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("slim-av", "1.1.0", "Apache-2.0")
    assert manifest.window == ear.window == eye.window
    ((_, audio),) = manifest.audio_inputs
    assert audio == open_bundle(AUDIO).manifest.audio_inputs[0][1]
    _, video = manifest.video_input
    seen = eye.video
    assert (video.width, video.height, video.frame_times_seconds) == (seen.width, seen.height, seen.frame_times_seconds)
    assert manifest.presence_input == ("presence", ("audio", "video"))
    assert [output.name for output in manifest.outputs] == ["fused", "audio", "video"]
    assert manifest.labels == (
        "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_traffic",
    )  # fmt: skip
    assert manifest.groups == {
        "indoor": ("airport", "metro_station", "shopping_mall"),
        "outdoor": ("park", "public_square", "street_traffic"),
        "transportation": ("bus", "metro"),
    }
    assert set(open_bundle(AUDIO).manifest.labels) < set(manifest.labels)


def answers(engines: Engines, audio: Array, image: Array, presence: tuple[float, float]) -> dict[str, Array]:
    """What the scene graph says, of embeddings that the frame graph gave."""
    assert engines.frame is not None
    embeddings = engines.frame.infer({"image": image})["embedding"][:, None]
    flags = np.tile(np.array([presence], np.float32), (len(audio), 1))
    return engines.scene.infer({"audio_features": audio, "video_embeddings": embeddings, "presence": flags})


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_where_either_modality_is_missing_the_other_one_answers_alone(precision: str) -> None:
    bundle = open_bundle(AV)
    shapes = {entry.name: input_shape(entry, bundle.manifest.window) for entry in bundle.manifest.inputs}
    rng = np.random.default_rng(0)
    audio, other_audio = rng.standard_normal((2, 4, *shapes["audio_features"]), dtype=np.float32)
    image, other_image = rng.standard_normal((2, 4, 3, 128, 128), dtype=np.float32)
    with load_engines(bundle, backend="onnxruntime", precision=precision) as engines:
        both = answers(engines, audio, image, (1, 1))
        heard = answers(engines, audio, image, (1, 0))
        seen = answers(engines, audio, image, (0, 1))
        np.testing.assert_array_equal(heard["fused"], answers(engines, audio, other_image, (1, 0))["fused"])
        np.testing.assert_array_equal(seen["fused"], answers(engines, other_audio, image, (0, 1))["fused"])
    np.testing.assert_allclose(heard["fused"], both["audio"], atol=1e-5)
    np.testing.assert_allclose(seen["fused"], both["video"], atol=1e-5)
    assert np.abs(both["fused"] - both["audio"]).max() > 0.1
    assert np.abs(both["fused"] - both["video"]).max() > 0.1


@pytest.mark.parametrize("folder", [AUDIO, AV], ids=lambda folder: folder.name)
def test_a_shipped_card_credits_every_source_of_sound(folder: Path) -> None:
    text = card(folder)
    for words in CREDITS:
        assert words in text
    assert len(ROW.findall(text)) == 48


def test_the_shipped_cards_name_what_is_missing() -> None:
    assert "It knows no bus, street_pedestrian, tram" in card(AUDIO)
    assert re.search(r"\bbus\b.*: by sound alone", card(AV))
    assert re.search(r"\bmetro\b.*: by pictures? alone", card(AV))
    assert "It knows no metro, street_pedestrian, tram" in card(AV)


def test_the_shipped_audio_visual_card_credits_every_source_of_pictures() -> None:
    text = card(AV)
    for words in (
        "MiniPlaces (Zhou et al.): the copyright belongs to the owners of the images",
        "Karatzas et al., ICDAR 2015 Robust Reading",
        "Poly Haven; Emil Persson (humus.name)",
    ):
        assert words in text
    archives = [row["stem"] for row in ARCHIVE.finditer(text)]
    assert len(set(archives)) == len(archives) == 25
    assert {"icdar2015", "polyhaven", "tram_interior"} < set(archives)


def test_the_shipped_audio_visual_card_names_the_graphs_that_it_was_made_of() -> None:
    frame, ear = (AV / "frame.onnx", AUDIO / "scene.onnx")
    for graph in (frame, ear):
        assert f"| `{graph.name}` | `{hashlib.sha256(graph.read_bytes()).hexdigest()}` |" in card(AV)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("folder", [AUDIO, AV], ids=lambda folder: folder.name)
def test_a_shipped_card_names_the_recordings_by_their_hash(folder: Path) -> None:
    root = Path(os.environ["ASCSTREAM_TEST_DATA"]) / "scenes_audio"
    for row in ROW.finditer(card(folder)):
        assert hashlib.sha256((root / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]


@pytest.mark.data
@needs_data
def test_the_shipped_audio_visual_card_names_the_pictures_archives_by_their_hash() -> None:
    root = Path(os.environ["ASCSTREAM_TEST_DATA"]) / "scenes_images"
    named = {row["stem"]: row["sha256"] for row in ARCHIVE.finditer(card(AV))}
    held = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.tar")}
    assert named == held
