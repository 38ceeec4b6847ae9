"""Fused bundles of known-answer ones: what they answer, in every precision, and what does not go together."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import bundles
from support.cards import with_card
from support.trt_operators import unknown_operators

from engines.backends import load_engines
from engines.bundle import Bundle, open_bundle, verify, write_bundle
from engines.check import N_CASES, GoldenGraph, check_parity, write_golden
from engines.errors import BundleError
from engines.manifest import GraphSpec, InputSpec, OutputSpec, Thresholds, VideoInput, WindowSpec
from engines.ort import OrtEngine
from engines.precision import to_float16, to_int8
from trainer.errors import ConfigError, ExportError
from trainer.evaluate.metrics import softmax
from trainer.fuse.bundle import Fusion, Naming, fuse_bundles, pool_of
from trainer.fuse.pool import Pool
from trainer.fuse.weights import with_weights

EARS = ("airport", "bus", "metro", "park", "tram")
EYES = ("bus", "metro_station", "park", "street_traffic")


def groups_of(labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {group: tuple(label for label in members if label in labels) for group, members in bundles.GROUPS.items()}
    return {group: members for group, members in found.items() if members}


def ear(folder: Path, labels: tuple[str, ...] = bundles.LABELS, temperature: float = 1.0, **overrides: Any) -> Bundle:
    fields = {"labels": labels, "groups": groups_of(labels), "outputs": (OutputSpec("fused", temperature),)}
    return open_bundle(bundles.mono_logmel(folder, **{**fields, **overrides}))


def eye(folder: Path, labels: tuple[str, ...] = bundles.LABELS, temperature: float = 1.0, **overrides: Any) -> Bundle:
    fields = {"labels": labels, "groups": groups_of(labels), "outputs": (OutputSpec("fused", temperature),)}
    return open_bundle(bundles.frames_only(folder, **{**fields, **overrides}))


def fused(folder: Path, audio: Bundle, video: Bundle, pool: Pool | None = None) -> Fusion:
    return fuse_bundles(audio, video, folder / "fused", pool or pool_of(audio.manifest, video.manifest))


def feeds_of(bundle: Bundle, presence: tuple[float, float], n: int = 4) -> dict[str, np.ndarray]:
    feeds = bundles.golden_feeds(bundle.manifest.inputs, bundle.manifest.window, n)
    feeds["presence"] = np.tile(np.array(presence, np.float32), (n, 1))
    return feeds


def test_it_answers_what_the_sources_answer_pooled_by_hand(tmp_path: Path) -> None:
    audio, video = ear(tmp_path, temperature=2.0), eye(tmp_path, temperature=0.5)
    bundle = fused(tmp_path, audio, video).bundle
    feeds = feeds_of(bundle, (1, 1))
    known = bundles.expected_logits(
        {"logmel": feeds["audio_logmel"], "frames": feeds["video_frames"]},
        (*audio.manifest.inputs, *video.manifest.inputs),
    )
    p_audio, p_video = softmax(known["audio"], 2.0), softmax(known["video"], 0.5)
    product = p_audio * p_video
    with load_engines(bundle, backend="onnxruntime") as engines:
        answers = engines.scene.infer(feeds)
    assert softmax(answers["audio"]) == pytest.approx(p_audio, abs=1e-6)
    assert softmax(answers["video"]) == pytest.approx(p_video, abs=1e-6)
    assert softmax(answers["fused"]) == pytest.approx(product / product.sum(axis=1, keepdims=True), abs=1e-6)
    assert [output.temperature for output in bundle.manifest.outputs] == [1.0, 1.0, 1.0]
    assert "of the two calibrated answers, with the prior taken out:" in bundle.read("CARD.md").decode()


@pytest.mark.parametrize(
    ("presence", "head", "absent"), [((1, 0), "audio", "video_frames"), ((0, 1), "video", "audio_logmel")]
)
def test_where_one_is_absent_the_other_answers_bit_for_bit_and_nan_stays_outside(
    presence: tuple[float, float], head: str, absent: str, tmp_path: Path
) -> None:
    audio, video = ear(tmp_path, EARS), eye(tmp_path, EYES)
    pool = with_weights(pool_of(audio.manifest, video.manifest, {"park": 2.0}), 1.3, 0.6)
    bundle = fused(tmp_path, audio, video, pool).bundle
    with load_engines(bundle, backend="onnxruntime") as engines:
        whole = engines.scene.infer(feeds_of(bundle, (1, 1)))
        broken = feeds_of(bundle, presence)
        broken[absent] = np.full_like(broken[absent], np.nan)
        with OrtEngine(bundle.read("scene.onnx")) as bare:
            answers = bare.infer(broken)
    np.testing.assert_array_equal(answers["fused"], whole[head])
    np.testing.assert_array_equal(answers[head], whole[head])


def test_labels_are_the_union_and_what_one_does_not_know_is_neutral_for_it(tmp_path: Path) -> None:
    audio, video = ear(tmp_path, EARS), eye(tmp_path, EYES)
    pool = with_weights(pool_of(audio.manifest, video.manifest), 1.2, 0.7)
    bundle = fused(tmp_path, audio, video, pool).bundle
    union = ("airport", "bus", "metro", "metro_station", "park", "street_traffic", "tram")
    assert bundle.manifest.labels == union
    assert bundle.manifest.groups == groups_of(union)
    assert [output.labels for output in bundle.manifest.outputs] == [None, EARS, EYES]
    assert bundle.manifest.never_learnt("audio") == ("metro_station", "street_traffic")
    feeds = feeds_of(bundle, (1, 1))
    with load_engines(bundle, backend="onnxruntime") as engines:
        answers = {head: softmax(values) for head, values in engines.scene.infer(feeds).items()}
    for head, own in (("audio", EARS), ("video", EYES)):
        unknown = [index for index, label in enumerate(union) if label not in own]
        assert answers[head][:, unknown] == pytest.approx(1 / 7, abs=1e-6)
    known = bundles.expected_logits(
        {"logmel": feeds["audio_logmel"], "frames": feeds["video_frames"]},
        (*audio.manifest.inputs, *video.manifest.inputs),
    )
    columns = [[bundles.LABELS.index(label) for label in labels] for labels in (EARS, EYES)]
    expected = pool.answers(known["audio"][:, columns[0]], known["video"][:, columns[1]], np.ones((4, 2)))
    assert answers["fused"] == pytest.approx(np.exp(expected["fused"]), abs=1e-6)


def test_the_manifest_takes_the_ears_window_and_both_their_thresholds(tmp_path: Path) -> None:
    audio = ear(tmp_path, window=WindowSpec(1.0, 0.5), thresholds=Thresholds(scene=0.7, dark_luma=3.0), licence="MIT")
    video = eye(tmp_path, thresholds=Thresholds(scene=0.2, dark_luma=20.0), licence="CC-BY-4.0 OR Apache-2.0")
    done = fuse_bundles(
        audio, video, tmp_path / "av", pool_of(audio.manifest, video.manifest), naming=Naming("both", "2.1.0")
    )
    manifest = done.bundle.manifest
    assert (manifest.name, manifest.version) == ("both", "2.1.0")
    assert manifest.window == WindowSpec(1.0, 0.5)
    assert (manifest.thresholds.scene, manifest.thresholds.dark_luma) == (0.7, 20.0)
    assert manifest.licence == "MIT AND (CC-BY-4.0 OR Apache-2.0)"
    assert [entry.name for entry in manifest.inputs] == ["audio_logmel", "video_frames", "presence"]
    verify(done.bundle)
    card = done.bundle.read("CARD.md").decode()
    assert card.startswith("# both 2.1.0\n\nmono_logmel 1.0.0 for sound and frames_only 1.0.0 for pictures, pooled.\n")
    assert "Sound counts 1.00, pictures 1.00: no labelled data were given" in card
    assert "of the two answers, which were not calibrated here, with the prior taken out:" in card
    assert "The prior π that is taken out of both is even." in card
    assert "## What hears: mono_logmel 1.0.0\n" in card
    assert "Licence: CC-BY-4.0 OR Apache-2.0." in card


def test_a_card_keeps_what_its_sources_say_of_data_licences_and_limits(tmp_path: Path) -> None:
    limits = "## What it cannot do\n\n* sing\n"
    text = f"# ear\n\n## How good it is\n\nsuperbly\n\n## Recordings\n\nfifty of them\n\n### More\n\nnone\n\n{limits}"
    audio = with_card(ear(tmp_path), text)
    card = fused(tmp_path, audio, eye(tmp_path)).bundle.read("CARD.md").decode()
    assert "### Recordings\n\nfifty of them\n\n#### More\n\nnone\n\n### What it cannot do\n\n* sing\n" in card
    assert "superbly" not in card
    assert "It has no card: what it was trained on is not known" in card  # the eye


def test_the_graph_is_one_that_every_tensorrt_parses(tmp_path: Path) -> None:
    audio = ear(tmp_path, EARS)
    bundle = fused(tmp_path, audio, eye(tmp_path, EYES)).bundle
    graph = bundle.read("scene.onnx")
    assert unknown_operators(graph) == unknown_operators(audio.read("scene.onnx")) == ["Sum"]  # the known answers' own
    assert [entry.version for entry in onnx.load_from_string(graph).opset_import] == [17]
    assert bundle.read("frame.onnx") == bundles.frame_graph()


def layered(folder: Path, name: str, inputs: tuple[InputSpec, ...], n_in: int, precisions: tuple[str, ...]) -> Bundle:
    """A bundle whose scene graph has three layers, in these precisions."""
    rng = np.random.default_rng(len(name))
    sizes = (n_in, 32, 32, 10)
    weights = [(rng.standard_normal(pair) / np.sqrt(pair[0])).astype(np.float32) for pair in itertools.pairwise(sizes)]
    nodes = [helper.make_node("Flatten", [inputs[0].name], ["x0"], axis=1)]
    for index in range(3):
        nodes.append(helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"y{index}" if index < 2 else "fused"]))
        nodes += [helper.make_node("Relu", [f"y{index}"], [f"x{index + 1}"])] if index < 2 else []
    feeds = bundles.golden_feeds(inputs, WindowSpec(1.0, 1.0))
    shape = next(iter(feeds.values())).shape[1:]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info(inputs[0].name, TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made = {"float32": model.SerializeToString()}
    if "float16" in precisions:
        made["float16"] = to_float16(made["float32"])
    if "int8" in precisions:
        made["int8"] = to_int8(made["float32"], [feeds])
    with OrtEngine(made["float32"]) as engine:
        golden = write_golden({"scene": GoldenGraph(feeds, engine.infer(feeds))})
    fields = {
        "name": name,
        "version": "1.0.0",
        "description": "Three layers",
        "licence": "Apache-2.0",
        "labels": bundles.LABELS,
        "window": WindowSpec(1.0, 1.0),
        "inputs": inputs,
        "outputs": (OutputSpec("fused"),),
        "graphs": (GraphSpec("scene", {precision: f"scene.{precision}.onnx" for precision in made}),),
        "golden": "golden.npz",
    }
    files = {f"scene.{precision}.onnx": data for precision, data in made.items()} | {"golden.npz": golden}
    return write_bundle(folder / name, fields, files)


def hearing(folder: Path, *precisions: str) -> Bundle:
    inputs = open_bundle(bundles.mono_logmel(folder)).manifest.inputs
    return layered(folder, "hearing", inputs, 64 * 48, precisions)


def seeing(folder: Path, *precisions: str) -> Bundle:
    inputs = open_bundle(bundles.image_only(folder)).manifest.inputs
    return layered(folder, "seeing_it", inputs, 3 * 32 * 48, precisions)


def test_every_precision_that_both_hold_is_merged_and_keeps_its_golden_answers(tmp_path: Path) -> None:
    done = fused(tmp_path, hearing(tmp_path, "float16", "int8"), seeing(tmp_path, "float16", "int8"))
    assert dict(done.left_out) == {}
    assert dict(done.bundle.manifest.graphs[0].files) == {
        "float32": "scene.onnx",
        "float16": "scene.fp16.onnx",
        "int8": "scene.int8.onnx",
    }
    for precision, operator in (("float16", "Cast"), ("int8", "QuantizeLinear")):
        graph = done.bundle.read(done.bundle.manifest.graphs[0].files[precision])
        assert unknown_operators(graph) == []
        nodes = onnx.load_from_string(graph).graph.node
        for prefix in ("audio_", "video_"):
            assert any(node.op_type == operator and node.output[0].startswith(prefix) for node in nodes)
        assert not any(node.op_type == operator and node.output[0].startswith("pool_") for node in nodes)
        with load_engines(done.bundle, backend="onnxruntime", precision=precision) as engines:
            report = check_parity(done.bundle, engines)
            assert (report.ok, report.n_cases) == (True, N_CASES)
            assert any((entry.max_difference or 0) > 1e-7 for entry in report.outputs)  # it is another arithmetic


def test_float16_is_made_anew_where_one_lacks_it_and_int8_is_left_out_with_a_reason(tmp_path: Path) -> None:
    done = fused(tmp_path, hearing(tmp_path, "float16", "int8"), seeing(tmp_path))
    assert set(done.bundle.manifest.graphs[0].files) == {"float32", "float16"}
    reason = "seeing_it has no int8 graphs, and ranges need recordings to be measured"
    assert dict(done.left_out) == {"int8": reason}
    assert f"* No int8: {reason}." in done.bundle.read("CARD.md").decode()
    typed = onnx.load_from_string(done.bundle.read("scene.fp16.onnx")).graph
    halves = {tensor.name for tensor in typed.initializer if tensor.data_type == TensorProto.FLOAT16}
    assert {name[:5] for name in halves} == {"audio", "video"}


def test_a_single_frame_moves_with_the_ears_longer_window(tmp_path: Path) -> None:
    audio, video = open_bundle(bundles.ten_seconds(tmp_path)), open_bundle(bundles.image_only(tmp_path))
    manifest = fused(tmp_path, audio, video).bundle.manifest
    assert manifest.window == audio.manifest.window
    assert manifest.video_input is not None
    assert manifest.video_input[1].frame_times_seconds == (5.0,)
    assert manifest.video_input[1].max_age_seconds == 10.0
    assert "Its pictures are judged anew in every window" in (tmp_path / "fused" / "CARD.md").read_text()


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], type[Exception], str]] = [
    (
        "groups",
        {"groups": {"outdoor": ("park",)}},
        {"groups": {"green": ("park",)}},
        ConfigError,
        "groups: expected 'park' in one group, got 'outdoor' in mono_logmel and 'green' in frames_only; "
        "export one of them with the other's groups",
    ),
    (
        "a group that is a label",
        {"labels": EARS, "groups": {"street_traffic": ("bus",)}},
        {"groups": {}},
        ConfigError,
        "groups: expected groups that are no labels, got 'street_traffic' as both; rename one of them",
    ),
    (
        "windows",
        {"window": WindowSpec(2.0, 1.0)},
        {},
        ConfigError,
        "frames_only: expected windows of 2 s as the audio bundle's, or a single frame, got 1 s with several; "
        "export one of the bundles with the other's window",
    ),
    (
        "golden",
        {"golden": None},
        {},
        BundleError,
        "mono_logmel: expected golden cases to compare with, got a bundle without; export it anew",
    ),
]


@pytest.mark.parametrize(("_name", "audio", "video", "kind", "message"), REFUSED, ids=[entry[0] for entry in REFUSED])
def test_what_does_not_go_together_is_said(
    _name: str, audio: dict[str, Any], video: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as error:
        fused(tmp_path, ear(tmp_path, **audio), eye(tmp_path, **video))
    assert str(error.value).endswith(message)
    assert not (tmp_path / "fused").exists()


def test_the_bundles_have_one_sense_each_and_their_order_is_said(tmp_path: Path) -> None:
    audio, both = ear(tmp_path), open_bundle(bundles.audio_visual(tmp_path))
    pool = pool_of(audio.manifest, audio.manifest)
    order = "; type: trainer fuse AUDIO_BUNDLE VIDEO_BUNDLE --out BUNDLE"
    with pytest.raises(ConfigError) as error:
        fused(tmp_path, audio, audio, pool)
    assert str(error.value).endswith(f"expected a bundle that only sees, got one of audio{order}")
    with pytest.raises(ConfigError) as error:
        fused(tmp_path, both, audio, pool)
    assert str(error.value).endswith(f"expected a bundle that only hears, got one of audio and video{order}")


def test_presence_flags_of_a_single_sense_are_refused(tmp_path: Path) -> None:
    flagged = (*ear(tmp_path).manifest.inputs, InputSpec("presence", presence=("audio",)))
    with pytest.raises(ConfigError, match="expected a bundle without presence flags"):
        fused(tmp_path, ear(tmp_path, inputs=flagged), eye(tmp_path))


def test_a_graph_newer_than_tensorrt_takes_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(open_bundle(bundles.mono_logmel(tmp_path)).read("scene.onnx"))
    for node in model.graph.node:  # axes became an input
        if node.op_type == "ReduceMean":
            axes = next(entry for entry in node.attribute if entry.name == "axes")
            model.graph.initializer.append(numpy_helper.from_array(np.array(axes.ints, np.int64), "axes"))
            node.attribute.remove(axes)
            node.input.append("axes")
    model.opset_import[0].version = 18
    with pytest.raises(ExportError) as error:
        fused(tmp_path, ear(tmp_path, scene=model.SerializeToString()), eye(tmp_path))
    assert str(error.value) == (
        "mono_logmel: expected a graph of opset 17 or older, as TensorRT wants it, got 18; export it with opset 17"
    )


def test_an_older_opset_is_converted(tmp_path: Path) -> None:
    model = onnx.load_from_string(open_bundle(bundles.mono_logmel(tmp_path)).read("scene.onnx"))
    model.opset_import[0].version = 13
    bundle = fused(tmp_path, ear(tmp_path, scene=model.SerializeToString()), eye(tmp_path)).bundle
    assert onnx.load_from_string(bundle.read("scene.onnx")).opset_import[0].version == 17


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    audio, video = ear(tmp_path), eye(tmp_path)
    fused(tmp_path, audio, video)
    with pytest.raises(BundleError, match="replace it: --overwrite"):
        fused(tmp_path, audio, video)
    other = InputSpec("frames", video=VideoInput(48, 32, "squash", bundles.FRAME_TIMES, 0.4, embedding_size=8))
    again = fuse_bundles(
        audio,
        eye(tmp_path, inputs=(other,)),
        tmp_path / "fused",
        pool_of(audio.manifest, video.manifest),
        overwrite=True,
    )
    verify(again.bundle)
