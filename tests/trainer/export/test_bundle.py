"""Runs on prepared clips as bundles: precisions and what they cost, golden cases, the card, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.clips import CONFIG as AV_CONFIG
from support.clips import small_corpus
from support.prepared import prepare_listed, quick_config

from ascstream import Classifier
from engines.backends import load_engines
from engines.bundle import open_bundle, verify
from engines.check import check_parity, read_golden
from engines.errors import BackendError, BundleError
from engines.manifest import GraphName
from engines.ort import OrtEngine
from trainer.clip_run import ClipRun, open_clip_run
from trainer.config import load_config
from trainer.data.memory import MemoryStore
from trainer.data.prepare import prepare_corpus
from trainer.data.settings import settings_for
from trainer.errors import DataError, ExportError, RunError
from trainer.evaluate.bundle import evaluate_bundle
from trainer.evaluate.metrics import accuracy, log_loss, softmax
from trainer.export.bundle import Exported, export_run
from trainer.export.cases import Cases, Material, open_material
from trainer.export.graphs import check_answers
from trainer.export.precisions import measure_cost
from trainer.fit.checkpoint import load_checkpoint, save_checkpoint
from trainer.fit.clips import fit_clips
from trainer.fit.loop import load_trained

pytestmark = pytest.mark.slow
QUICK = ("train.epochs=2", "train.windows_per_epoch=96", "train.batch_size=16", "augment.mix_probability=0")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    prepare_listed(folder, quick_config(folder / "toy.toml"))
    return folder


@pytest.fixture(scope="module")
def run(root: Path) -> ClipRun:
    done = fit_clips(root / "runs/toy", quick_config(root / "toy.toml", *QUICK), root)
    assert done is not None
    return done


@pytest.fixture(scope="module")
def done(root: Path, run: ClipRun) -> Exported:
    return export_run(run, root / "bundles/toy", root)


def report_of(run: ClipRun) -> dict:
    return json.loads((run.folder / "report.json").read_text())


def test_a_bundle_holds_three_precisions_that_give_the_golden_answers(done: Exported) -> None:
    bundle = open_bundle(done.bundle.path)
    verify(bundle)
    assert [cost.precision for cost in done.costs] == ["float32", "float16", "int8"]
    assert dict(done.left_out) == {}
    [scene] = bundle.manifest.graphs
    assert dict(scene.files) == {"float32": "scene.onnx", "float16": "scene.fp16.onnx", "int8": "scene.int8.onnx"}
    tolerance = bundle.manifest.tolerance
    for cost, allowed in zip(done.costs, (1e-4, tolerance.float16_logits, tolerance.int8_logits), strict=True):
        with load_engines(bundle, precision=cost.precision) as engines:
            [fused] = check_parity(bundle, engines).outputs
        if cost.precision == "float16":  # here only the weights are rounded
            assert 0 < fused.max_difference < 2 * cost.logit_difference
        else:
            assert fused.max_difference == pytest.approx(cost.logit_difference)
        assert fused.tolerance == allowed
        if cost.precision != "float32":
            assert allowed == pytest.approx(max(1e-3, 4 * cost.logit_difference), rel=0.06)


def test_what_a_precision_costs_is_what_the_bundle_says_of_the_evaluation(
    root: Path, run: ClipRun, done: Exported
) -> None:
    trained = load_trained(run.network, len(run.labels), run.config)
    store = open_material(run, trained.inputs, root).store
    temperature = report_of(run)["temperatures"]["fused"]
    for cost in done.costs:
        answers = evaluate_bundle(done.bundle, store, run.numbers("evaluate"), run.labels, precision=cost.precision)
        probabilities = softmax(answers.logits["whole"], temperature)
        targets = run.targets[answers.clips]
        assert cost.n_windows == len(targets) == 24
        assert cost.accuracy == pytest.approx(accuracy(probabilities, targets))
        assert cost.log_loss == pytest.approx(
            log_loss(probabilities, targets), abs=1e-2 if cost.precision == "float16" else 1e-6
        )
    whole = report_of(run)["conditions"]["whole"]["calibrated"]
    assert done.costs[0].log_loss == pytest.approx(whole["log_loss"], abs=1e-5)
    assert done.costs[0].accuracy == whole["accuracy"]
    sizes = [cost.n_bytes for cost in done.costs]
    assert sizes[1] < 0.6 * sizes[0] < sizes[2]


def test_the_manifest_says_what_the_report_found(run: ClipRun, done: Exported) -> None:
    manifest, report = done.bundle.manifest, report_of(run)
    assert [(output.name, output.temperature) for output in manifest.outputs] == [
        ("fused", report["temperatures"]["fused"])
    ]
    assert manifest.thresholds.scene == report["thresholds"]["scene"]
    assert manifest.labels == run.labels
    assert dict(manifest.groups) == run.groups


def test_golden_cases_are_the_middles_of_clips_that_are_reported_on(root: Path, run: ClipRun, done: Exported) -> None:
    golden = read_golden(done.bundle.read("golden.npz"), done.bundle.manifest)["scene"]
    trained = load_trained(run.network, len(run.labels), run.config)
    cases = Cases(open_material(run, trained.inputs, root), trained.system, trained.inputs, run.config)
    np.testing.assert_array_equal(golden.feeds["features"], cases.golden()["features"])
    np.testing.assert_allclose(golden.answers["fused"], trained.answer(golden.feeds)["fused"], atol=1e-5)
    first = [run.clips[clip].label for clip in cases.judged(2)]
    assert len(set(first)) == len(first)
    assert cases.judged(10_000) == run.numbers("evaluate")
    windows = [window["features"] for window in cases.ranges(4)]
    assert all(np.array_equal(*pair) for pair in zip(windows, (w["features"] for w in cases.ranges(4)), strict=True))


def test_the_card_has_every_figure(run: ClipRun, done: Exported) -> None:
    card = (done.bundle.path / "CARD.md").read_text()
    report = report_of(run)
    whole = report["conditions"]["whole"]
    for words in (
        "# toy 1.0.0",
        "| evaluate: the figures below | 12 | 12 | 0.007 | lyon, paris, prague, vienna |",
        f"names {100 * whole['calibrated']['accuracy']:.1f} % rightly (chance 33.3 %)",
        f"log loss of {whole['calibrated']['log_loss']:.3f} (chance 1.099)",
        "## Whole clips",
        "## By city",
        "## Calibration",
        "## Precisions",
        "It knows no tram.",
        "seed 1",
        "slim_audio",
        "trainer fit configs/toy.toml --data FOLDER && trainer export --data FOLDER",
    ):
        assert words in card, words
    for cost in done.costs:
        [line] = [line for line in card.splitlines() if line.startswith(f"| {cost.precision} |")]
        assert f"{cost.log_loss:.3f}" in line
    for word in ("None", "nan", "inf "):
        assert word not in card


def test_one_precision_alone(root: Path, run: ClipRun, done: Exported, tmp_path: Path) -> None:
    alone = export_run(run, tmp_path / "deep/float32", root, precisions=("float32",))
    assert sorted(alone.bundle.manifest.files) == ["CARD.md", "golden.npz", "scene.onnx"]
    for name in ("golden.npz", "scene.onnx"):
        assert alone.bundle.read(name) == done.bundle.read(name)
    half = export_run(run, tmp_path / "half", root, precisions=("float16",))
    assert half.bundle.read("scene.fp16.onnx") == done.bundle.read("scene.fp16.onnx")
    assert "int8" not in half.bundle.manifest.graphs[0].files


def overflowing(run: ClipRun, folder: Path) -> ClipRun:
    """The same run with a network that says the same, by numbers that float16 does not reach."""
    shutil.copytree(run.folder, folder)
    state = load_checkpoint(folder / "network/checkpoint.pt")
    weights = state["weights"]
    for name, factor in (
        ("blocks.0.path.1.weight", 1e7),
        ("blocks.0.path.1.bias", 1e7),
        ("blocks.0.path.3.weight", 1e-7),
    ):
        weights[name] = weights[name] * factor  # a normalisation, a ReLU, a convolution
    save_checkpoint(folder / "network/checkpoint.pt", state)
    return open_clip_run(folder)


def test_a_precision_that_breaks_the_network_is_left_out_or_refused(root: Path, run: ClipRun, tmp_path: Path) -> None:
    loud = overflowing(run, tmp_path / "loud")
    done = export_run(loud, tmp_path / "bundle", root)
    assert [cost.precision for cost in done.costs] == ["float32", "int8"]
    assert "float16: expected" in done.left_out["float16"]
    assert f"Not in the bundle: {done.left_out['float16']}." in (tmp_path / "bundle/CARD.md").read_text()
    assert sorted(done.bundle.manifest.graphs[0].files) == ["float32", "int8"]
    with pytest.raises(ExportError, match=r"float16: expected .*; nothing was written: leave that --precision out"):
        export_run(loud, tmp_path / "other", root, precisions=("float16",))
    assert not (tmp_path / "other").exists()


class Overflowing(MemoryStore):
    """Sound of which a graph makes no numbers, as float16 may of some windows."""

    def samples(self, clip: int, start: int, n_samples: int) -> np.ndarray:
        return np.full_like(super().samples(clip, start, n_samples), np.nan)


def test_numbers_are_wanted_on_every_window_that_is_judged(done: Exported) -> None:
    store = Overflowing([np.zeros((1, 48_000), np.float32)], 24_000)
    material = Material(store, np.zeros(1, np.int64), (0,), (0,), held_out=True)
    made: dict[GraphName, bytes] = {"scene": done.bundle.read("scene.onnx")}
    with pytest.raises(BackendError, match="float32: expected numbers on the windows to judge by, got NaN or infinity"):
        measure_cost(done.bundle, "float32", made, material, 1.0, [0])


def test_a_graph_that_answers_differently_is_refused(done: Exported) -> None:
    golden = read_golden(done.bundle.read("golden.npz"), done.bundle.manifest)["scene"]
    with OrtEngine(done.bundle.read("scene.onnx"), name="scene") as engine:
        check_answers(engine, golden)
        wrong = replace(golden, answers={"fused": golden.answers["fused"] + np.float32(1e-3)})
        with pytest.raises(ExportError, match=r"scene: expected .* in a batch of 1, got .* in fused; nothing was wr"):
            check_answers(engine, wrong)
        last = golden.answers["fused"].copy()
        last[-1, 0] += 1
        with pytest.raises(ExportError, match=r"in a batch of 5"):
            check_answers(engine, replace(golden, answers={"fused": last}))


def test_a_graph_may_differ_by_what_rounding_makes_of_the_network_itself(done: Exported) -> None:
    golden = read_golden(done.bundle.read("golden.npz"), done.bundle.manifest)["scene"]
    fused = golden.answers["fused"].astype(np.float64)
    off = 4e-6 * max(float(np.abs(fused).max()), 1.0)
    rounded = replace(golden, answers={"fused": (fused + off).astype(np.float32)})
    with OrtEngine(done.bundle.read("scene.onnx"), name="scene") as engine:
        with pytest.raises(ExportError, match="in a batch of 1"):
            check_answers(engine, rounded, lambda: {"fused": fused + 0.9 * off})  # the graph is at fault
        check_answers(engine, rounded, lambda: {"fused": fused + 0.6 * off})  # the network is as far from the truth
        aside = np.zeros_like(fused)
        aside[:, 0] = 1e-3
        moved = replace(golden, answers={"fused": (fused + aside).astype(np.float32)})
        with pytest.raises(ExportError, match="in a batch of 1"):
            check_answers(engine, moved, lambda: {"fused": fused + 0.9 * aside})
        check_answers(engine, moved, lambda: {"fused": fused + 0.6 * aside})  # chances move with it, by at most half
        far = replace(golden, answers={"fused": (fused + 20 * aside).astype(np.float32)})
        with pytest.raises(ExportError, match=r"within 0\.001 in a batch of 1"):
            check_answers(engine, far, lambda: {"fused": fused})  # so much no rounding excuses


def test_what_is_in_the_way_is_said_before_anything_is_done(root: Path, run: ClipRun, done: Exported) -> None:
    before = (done.bundle.path / "manifest.json").read_bytes()
    (root / "prepared").rename(root / "elsewhere")
    try:
        with pytest.raises(BundleError, match="--overwrite"):
            export_run(run, done.bundle.path, root)
        with pytest.raises(DataError, match="prepared"):
            export_run(run, root / "bundles/other", root)
    finally:
        (root / "elsewhere").rename(root / "prepared")
    assert (done.bundle.path / "manifest.json").read_bytes() == before
    assert not (root / "bundles/other").exists()


def test_a_run_is_exported_with_its_own_clips_only(root: Path, run: ClipRun, tmp_path: Path) -> None:
    clips = tuple(replace(clip, key=clip.key + "x") for clip in run.clips)
    with pytest.raises(RunError, match=r"expected the clips that .* was trained on, got others; name the data folder"):
        export_run(replace(run, clips=clips), tmp_path / "bundle", root)
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    for text in ("{}", "[]", '{"thresholds": ', ""):
        (copy / "report.json").write_text(text)
        with pytest.raises(RunError, match="expected a finished run, got no report"):
            export_run(open_clip_run(copy), tmp_path / "bundle", root)
    (copy / "report.json").unlink()
    with pytest.raises(RunError, match="expected a finished run, got no report"):
        export_run(open_clip_run(copy), tmp_path / "bundle", root)
    assert list(tmp_path.iterdir()) == [copy]


def test_a_report_of_another_corpus_does_not_become_the_card(
    root: Path, run: ClipRun, done: Exported, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    other = report_of(run) | {"temperatures": {"fused": 9.0}, "n_segments": 7}
    (copy / "report.json").write_text(json.dumps(other))
    again = export_run(open_clip_run(copy), tmp_path / "bundle", root, precisions=("float32",))
    assert again.bundle.manifest.outputs == done.bundle.manifest.outputs


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, ClipRun]:
    """slim_av on a few clips with a picture, exported."""
    root = tmp_path_factory.mktemp("seeing")
    (root / "av.toml").write_text(AV_CONFIG, encoding="utf-8")
    config = load_config(root / "av.toml", QUICK)
    prepare_corpus(small_corpus(root / "media", n_clips=32), root / "out", settings_for(config.inputs), n_workers=1)
    run = fit_clips(root / "run", config, root)
    assert run is not None
    return export_run(run, root / "bundle", root), run


def test_a_network_that_sees_has_two_graphs_in_every_precision(seeing: tuple[Exported, ClipRun]) -> None:
    done, run = seeing
    manifest = done.bundle.manifest
    assert [(graph.name, sorted(graph.files)) for graph in manifest.graphs] == [
        ("frame", ["float16", "float32", "int8"]),
        ("scene", ["float16", "float32", "int8"]),
    ]
    assert [entry.name for entry in manifest.inputs] == ["features", "embeddings", "presence"]
    temperatures = report_of(run)["temperatures"]
    assert {output.name: output.temperature for output in manifest.outputs} == temperatures
    assert set(temperatures) == {"fused", "audio", "video"}
    for cost in done.costs:
        assert cost.frame is not None
        with load_engines(done.bundle, precision=cost.precision) as engines:
            assert check_parity(done.bundle, engines).ok
    card = (done.bundle.path / "CARD.md").read_text()
    assert "| looks at | frames of 32 × 24 at 0.1, 0.3, 0.5, 0.7, 0.9 s of each window" in card
    assert "With sound or picture missing it answers by the other one" in card
    assert "one frame" in card


def test_golden_cases_are_heard_seen_and_both(seeing: tuple[Exported, ClipRun]) -> None:
    done, _ = seeing
    golden = read_golden(done.bundle.read("golden.npz"), done.bundle.manifest)["scene"]
    presence = golden.feeds["presence"]
    assert {tuple(row) for row in presence.tolist()} == {(1, 1), (0, 1), (1, 0)}
    assert not golden.feeds["features"][presence[:, 0] == 0].any()
    np.testing.assert_array_equal(
        golden.answers["fused"][presence[:, 1] == 0], golden.answers["audio"][presence[:, 1] == 0]
    )


def test_a_bundle_that_sees_loads_in_every_precision(seeing: tuple[Exported, ClipRun]) -> None:
    for precision in ("float32", "float16", "int8"):
        with Classifier.load(seeing[0].bundle.path, precision=precision) as classifier:
            assert precision in classifier.backend
