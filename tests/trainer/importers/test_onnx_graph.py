"""Any ONNX graph: answers in alphabetical order are its own, batches are free, and what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from engines.backends import load_engines
from engines.bundle import open_bundle
from engines.ort import OrtEngine
from trainer.cli import main
from trainer.errors import ConfigError, DataError
from trainer.importers.bundle import write_import
from trainer.importers.onnx_graph import import_onnx
from trainer.models.graph import export_graph

LABELS = ["tram", "bus", "park"]
AUDIO = """
[audio]
sample_rate = 16000
channels = "mono"
[audio.feature]
kind = "logmel"
n_fft = 512
window_length = 400
hop_length = 160
n_mels = 40
f_min = 20
f_max = 7600
"""
VIDEO = """
[video]
width = 32
height = 24
fit = "squash"
frame_times_seconds = [0.2, 0.8]
max_age_seconds = 1.0
"""
HEAD = """
graph = "net.onnx"
name = "any-net"
description = "Three vehicles and a park."
labels = ["tram", "bus", "park"]
licence = "MIT"
authors = "Somebody, somewhere."
{more}
[groups]
vehicles = ["tram", "bus"]
[window]
seconds = 1.0
default_step_seconds = 0.5
"""


def write_graph(path: Path, shape: tuple[int, ...], *, batch: int | None = None, scores: bool = False) -> None:
    """A small network on [n, *shape]; with a batch that is fixed where one is given."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(shape[0], 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 3), *([nn.Softmax(dim=1)] if scores else [])).eval()
    model = onnx.load_from_string(export_graph(network, {"x": torch.zeros(2, *shape)}, ["y"]))
    if batch:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)


def write_toml(folder: Path, tail: str = AUDIO, more: str = "") -> Path:
    path = folder / "net.toml"
    path.write_text(HEAD.format(more=more) + tail)
    return path


@pytest.mark.parametrize("batch", [None, 1])
def test_answers_are_the_graph_s_own_in_alphabetical_order(batch: int | None, tmp_path: Path) -> None:
    write_graph(tmp_path / "net.onnx", (1, 40, 97), batch=batch)
    bundle = write_import(import_onnx(write_toml(tmp_path)), tmp_path / "bundle").bundle
    assert bundle.manifest.labels == ("bus", "park", "tram")
    assert bundle.manifest.licence == "MIT"
    features = np.random.default_rng(0).standard_normal((5, 1, 40, 97)).astype(np.float32)
    with OrtEngine((tmp_path / "net.onnx").read_bytes()) as engine:
        own = np.concatenate([engine.infer({"x": case[None]})["y"] for case in features])
    with load_engines(bundle, backend="onnxruntime") as engines:
        answers = engines.scene.infer({"features": features})["fused"]
    np.testing.assert_allclose(answers, own[:, [1, 2, 0]], rtol=0, atol=1e-5)
    card = (tmp_path / "bundle/CARD.md").read_text()
    assert "Somebody, somewhere." in card
    assert "| `net.onnx` |" in card
    assert "| `net.toml` |" in card


def test_names_inside_a_graph_may_be_those_of_a_bundle(tmp_path: Path) -> None:
    write_graph(tmp_path / "net.onnx", (1, 40, 97))
    model = onnx.load(tmp_path / "net.onnx")
    names = {model.graph.node[0].output[0]: "fused", model.graph.initializer[0].name: "features"}
    model.graph.initializer[0].name = "features"
    for node in model.graph.node:
        for side in (node.input, node.output):
            fresh = [names.get(name, name) for name in side]
            del side[:]
            side.extend(fresh)
    onnx.save(model, tmp_path / "net.onnx")
    bundle = write_import(import_onnx(write_toml(tmp_path)), tmp_path / "bundle").bundle
    assert bundle.manifest.graphs[0].name == "scene"


def test_scores_become_logarithms(tmp_path: Path) -> None:
    write_graph(tmp_path / "net.onnx", (1, 40, 97), scores=True)
    bundle = write_import(
        import_onnx(write_toml(tmp_path, more='answers = "probabilities"')), tmp_path / "bundle"
    ).bundle
    features = np.random.default_rng(0).standard_normal((2, 1, 40, 97)).astype(np.float32)
    with OrtEngine((tmp_path / "net.onnx").read_bytes()) as engine:
        own = engine.infer({"x": features})["y"]
    with load_engines(bundle, backend="onnxruntime") as engines:
        answers = engines.scene.infer({"features": features})["fused"]
    np.testing.assert_allclose(np.exp(answers), own[:, [1, 2, 0]], rtol=0, atol=1e-6)
    write_graph(tmp_path / "net.onnx", (1, 40, 97))
    with pytest.raises(DataError, match=r'expected probabilities that sum to 1, got others; set answers = "logits"'):
        import_onnx(tmp_path / "net.toml")


def test_a_picture_s_graph_is_run_once_a_frame_and_averaged(tmp_path: Path) -> None:
    write_graph(tmp_path / "net.onnx", (3, 24, 32))
    bundle = write_import(import_onnx(write_toml(tmp_path, VIDEO)), tmp_path / "bundle").bundle
    images = np.random.default_rng(0).standard_normal((4, 3, 24, 32)).astype(np.float32)
    with OrtEngine((tmp_path / "net.onnx").read_bytes()) as engine:
        own = engine.infer({"x": images})["y"][:, [1, 2, 0]].astype(np.float64)
    scores = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
    with load_engines(bundle, backend="onnxruntime") as engines:
        assert engines.frame is not None
        embeddings = engines.frame.infer({"image": images})["embedding"].reshape(2, 2, 3)
        answers = engines.scene.infer({"embeddings": embeddings})["fused"]
    np.testing.assert_allclose(np.exp(answers), scores.reshape(2, 2, 3).mean(axis=1), rtol=0, atol=1e-6)


def refusal(path: Path, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as raised:
        import_onnx(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    path = write_toml(tmp_path)
    assert "net.onnx: expected a file to import, got: No such file or directory" in refusal(path)
    write_graph(tmp_path / "net.onnx", (1, 40, 90))
    assert "x: expected float32 [n, 1, 40, 97], as the feature is described, got float32 [n, 1, 40, 90]" in refusal(
        path
    )
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.input[0].type.tensor_type.elem_type = 99
    onnx.save(model, tmp_path / "net.onnx")
    assert "got another type [n, 1, 40, 90]" in refusal(path)
    (tmp_path / "net.onnx").write_bytes(b"weights")
    assert "net.onnx: graph: expected an ONNX graph, got bytes that are none" in refusal(path)
    write_graph(tmp_path / "net.onnx", (1, 40, 97))
    model = onnx.load(tmp_path / "net.onnx")
    weight = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    broken = numpy_helper.to_array(weight).copy()
    broken[0, 0, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(broken, weight.name))
    onnx.save(model, tmp_path / "net.onnx")
    assert f"expected finite weights, got NaN or infinity in '{weight.name}'" in refusal(path)
    write_graph(tmp_path / "net.onnx", (1, 40, 97))
    path.write_text(path.read_text().replace('"park"]\nlicence', '"park", "metro"]\nlicence'))
    assert "expected [1, 4] answers, a label each, got [3]" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[window]", "[windows]", "windows: unknown key; did you mean 'window'?"),
        ('"net.onnx"', '"../net.onnx"', "graph: expected a file name beside this file, got '../net.onnx'"),
        (
            "n_mels = 40",
            "n_mels = 0",
            "audio.feature.n_mels: expected an integer number of mel bands, at least 1, got 0",
        ),
        ('["tram", "bus", "park"]\nlic', '["tram", "tram"]\nlic', "labels: expected at least two, no label twice"),
        ("[audio]", "[audio", "Expected ']'"),
        ("16000", "1979-05-27", 'audio.sample_rate: expected an integer in Hz, got "1979-05-27"'),
        ("[audio]", "a = " + 5000 * "[" + "\n[audio]", "expected TOML, got something else: "),
        ("seconds = 1.0", "seconds = 1.00001", "window.seconds: expected a whole number of samples, got 1.00001 s"),
        ("20\nf_max", "20\nn_fft = 3\nf_max", "expected TOML, got something else: "),
        ('"tram", "bus", "park"', '"tram", " bus", "park"', 'expected a scene\'s name, and not "unknown", got " bus"'),
        (
            '"tram", "bus", "park"',
            f'"tram", "bus", "{1000 * "p"}"',
            "expected names of at most 128 characters, got 1000",
        ),
        ('["tram", "bus"]', '["plane"]', 'groups.vehicles[0]: expected one of the labels, got "plane"'),
        ("any-net", 300 * "n", "name: expected at most 128 characters, got 300"),
        (AUDIO, VIDEO.replace("0.8", "1.8"), "video.frame_times_seconds: expected times within the window of 1 s"),
        (AUDIO, "", "expected one of audio and video, got none"),
        (AUDIO, AUDIO + VIDEO, "expected one of audio and video, got both"),
    ],
)
def test_a_file_that_describes_nothing_is_refused(old: str, new: str, expected: str, tmp_path: Path) -> None:
    path = write_toml(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    message = refusal(path, ConfigError)
    assert message.startswith(str(path))
    assert expected in message


@pytest.mark.parametrize(("name", "got"), [("net.onnx", "the graph itself"), ("net", "a file that is no text")])
def test_a_graph_in_place_of_its_description_is_said(name: str, got: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x08\x08\x12\xff\xfe")
    message = refusal(tmp_path / name, ConfigError)
    assert f"expected the .toml file that describes the graph, got {got}; name the .toml" in message


def test_a_batch_that_is_fixed_inside_is_said(tmp_path: Path) -> None:
    weight, make_node = np.zeros((3880, 3), np.float32), onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            make_node("Reshape", ["x", "shape"], ["flat"]),
            make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 40, 97])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.array([1, 3880]), "shape"), numpy_helper.from_array(weight, "w")],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "net.onnx")
    message = refusal(write_toml(tmp_path))
    assert "expected a graph that takes any batch, got: scene: ONNX Runtime failed: " in message
    assert message.endswith("export it with a free first axis, and no fixed one inside")


def test_the_command_makes_a_bundle_that_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_graph(tmp_path / "net.onnx", (1, 40, 97))
    path = write_toml(tmp_path)
    assert main(["import", "onnx", str(path), "--out", str(tmp_path / "bundle")]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'bundle'}\n"
    assert "Terms: MIT, as its importer says." in printed.err
    path.write_text(path.read_text().replace('licence = "MIT"\n', ""))
    assert main(["import", "onnx", str(path), "--out", str(tmp_path / "bundle"), "--overwrite"]) == 0
    assert "Terms: No licence is stated. Ask its authors" in capsys.readouterr().err
    assert open_bundle(tmp_path / "bundle").manifest.name == "any-net"
    assert json.loads((tmp_path / "bundle/manifest.json").read_text())["groups"] == {"vehicles": ["tram", "bus"]}
