"""Golden cases and timing: what parity is, what breaks it, and that nothing in an archive is ever executed."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import bundles

from engines.backends import Engines, load_engines
from engines.base import Array, Engine
from engines.bundle import open_bundle, write_bundle
from engines.check import (
    BATCHES,
    N_CASES,
    GoldenGraph,
    OutputParity,
    Report,
    check_parity,
    compare,
    measure,
    read_golden,
    require_parity,
    write_golden,
)
from engines.errors import BundleError, ParityError
from engines.manifest import Manifest, Tolerance


@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_known_answer_is_reproduced(shape: str, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.SHAPES[shape](tmp_path))
    with load_engines(bundle) as engines:
        report = check_parity(bundle, engines)
    heads = {f"scene/{output.name}" for output in bundle.manifest.outputs}
    frame = {"frame/embedding"} if engines.frame is not None else set()
    assert {entry.output for entry in report.outputs} == heads | frame
    assert report.ok
    assert all(entry.agreement == 1.0 for entry in report.outputs if entry.output in heads)
    assert all(entry.max_difference is not None and entry.max_difference < 2e-5 for entry in report.outputs)
    assert require_parity(report) is report


def wrong(tmp_path: Path, bias: float, **overrides: object) -> Report:
    """Parity of a bundle whose first logit is off by `bias`."""
    right = open_bundle(bundles.mono_logmel(tmp_path)).manifest
    graph = bundles.scene_graph(right.inputs, right.outputs, right.window, bias=bias)
    bundle = open_bundle(bundles.mono_logmel(tmp_path, scene=graph, **overrides))
    with load_engines(bundle) as engines:
        return check_parity(bundle, engines)


def test_a_wrong_logit_is_found_and_measured(tmp_path: Path) -> None:
    report = wrong(tmp_path, 100.0)
    (entry,) = report.outputs
    assert entry.max_difference == pytest.approx(100.0, abs=1e-4)
    assert entry.agreement is not None
    assert entry.agreement < 1.0
    assert not entry.ok
    assert not report.ok
    with pytest.raises(ParityError) as caught:
        require_parity(report)
    assert str(caught.value) == (
        f"mono_logmel 1.0.0 on {report.backend}: expected answers within 0.0001 of the golden ones, "
        "got 100 in scene/fused; use another precision or backend: --precision float32 --backend onnxruntime"
    )


def test_the_manifest_says_what_is_close_enough(tmp_path: Path) -> None:
    assert not wrong(tmp_path, 0.01).ok
    assert wrong(tmp_path, 0.01, tolerance=Tolerance(logits=0.02)).ok


class Constant(Engine):
    """Answers with one number."""

    def __init__(self, engine: Engine, value: float) -> None:
        super().__init__(engine.name, "constant", engine.inputs, engine.outputs)
        self._value = value
        self.batches: list[int] = []

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        n = len(next(iter(feeds.values())))
        self.batches.append(n)
        width = {"embedding": bundles.EMBEDDING_SIZE}
        return {
            name: np.full((n, width.get(name, len(bundles.LABELS))), self._value, np.float32) for name in self.outputs
        }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_fails_and_is_still_json(value: float, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    with load_engines(bundle) as engines:
        assert engines.frame is not None
        broken = Constant(engines.frame, value)
        report = check_parity(bundle, Engines(engines.scene, broken, "float32"))
    assert not report.ok
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["ok"] is False
    with pytest.raises(ParityError, match="got NaN or infinity in frame/embedding"):
        require_parity(report)
    assert tuple(broken.batches) == BATCHES == (1, 2, 5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float16", 0.05), ("int8", 0.5)])
def test_each_precision_has_its_tolerance(precision: str, tolerance: float, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    with load_engines(bundle) as engines:
        report = check_parity(bundle, Engines(engines.scene, None, precision))
    assert [entry.tolerance for entry in report.outputs] == [tolerance]
    assert report.precision == precision


def test_an_embeddings_tolerance_follows_its_size(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    golden = read_golden(bundle.read("golden.npz"), bundle.manifest)
    cases = {
        name: {key: array * np.float32(1000) for key, array in arrays.items()}
        for name, arrays in (("feeds", golden["frame"].feeds), ("answers", golden["frame"].answers))
    }
    files = {name: bundle.read(name) for name in ("scene.onnx", "frame.onnx")}
    files["golden.npz"] = write_golden(golden | {"frame": GoldenGraph(**cases)})
    fields = {
        field.name: getattr(bundle.manifest, field.name)
        for field in dataclasses.fields(Manifest)
        if field.name not in ("schema", "files")
    }
    large = write_bundle(tmp_path / "large", fields, files)
    with load_engines(bundle) as engines:
        assert check_parity(bundle, engines).outputs[0].tolerance == 1e-4  # all its numbers are below 1
        frame = check_parity(large, engines).outputs[0]
    assert frame.output == "frame/embedding"
    assert frame.tolerance == pytest.approx(1e-4 * cases["answers"]["embedding"].max())
    assert frame.ok


def test_a_report_is_json() -> None:
    report = Report("b 1", "echo", "float32", 8, (OutputParity("scene/fused", 0.5, 0.1, 1.0, False),))
    assert report.to_json() == {
        "bundle": "b 1",
        "backend": "echo",
        "precision": "float32",
        "n_cases": 8,
        "outputs": [
            {"output": "scene/fused", "max_difference": 0.5, "tolerance": 0.1, "agreement": 1.0, "ok": False},
        ],
        "ok": False,
    }


def test_a_bundle_without_golden_cases(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, golden=None)
    bundle = open_bundle(path)
    with load_engines(bundle) as engines, pytest.raises(BundleError) as caught:
        check_parity(bundle, engines)
    assert str(caught.value) == (f"{path}: expected golden cases to compare with, got a bundle without; export it anew")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return open_bundle(bundles.audio_visual(tmp_path)).manifest


@pytest.fixture
def arrays(manifest: Manifest, tmp_path: Path) -> dict[str, Array]:
    """The golden file of `audio_visual` as numpy reads it."""
    with np.load(tmp_path / "audio_visual" / "golden.npz", allow_pickle=False) as archive:
        return dict(archive)


def saved(arrays: dict[str, Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def refusal(data: bytes, manifest: Manifest) -> str:
    with pytest.raises(BundleError) as caught:
        read_golden(data, manifest)
    return str(caught.value)


def test_the_format_is_plain_numpy(arrays: dict[str, Array], manifest: Manifest) -> None:
    assert {name: array.shape for name, array in arrays.items()} == {
        "scene/in/logmel": (8, 1, 64, 48),
        "scene/in/frames": (8, 5, 8),
        "scene/in/presence": (8, 2),
        "scene/out/fused": (8, 10),
        "scene/out/audio": (8, 10),
        "scene/out/video": (8, 10),
        "frame/in/image": (8, 3, 32, 48),
        "frame/out/embedding": (8, 8),
    }
    golden = read_golden(saved(arrays), manifest)
    assert list(golden) == ["frame", "scene"]
    np.testing.assert_array_equal(golden["scene"].answers["fused"], arrays["scene/out/fused"])


def test_golden_cases_come_back_and_equal_cases_are_equal_bytes(arrays: dict[str, Array], manifest: Manifest) -> None:
    golden = read_golden(saved(arrays), manifest)
    data = write_golden(golden)
    assert write_golden(read_golden(data, manifest)) == data
    again = read_golden(data, manifest)
    for graph, cases in golden.items():
        for name, array in {**cases.feeds, **cases.answers}.items():
            np.testing.assert_array_equal({**again[graph].feeds, **again[graph].answers}[name], array)


def test_golden_cases_that_do_not_fit_are_refused_by_name(arrays: dict[str, Array], manifest: Manifest) -> None:
    key = "scene/out/fused"
    wanted = f"golden: {key}: expected float32 [8, 10], got"
    fused = arrays[key]
    assert refusal(saved(arrays | {key: fused[:7]}), manifest) == f"{wanted} float32 [7, 10]"
    assert refusal(saved(arrays | {key: fused.astype(np.float64)}), manifest) == f"{wanted} float64 [8, 10]"
    assert refusal(saved(arrays | {key: fused * np.float32(np.nan)}), manifest) == (
        f"golden: {key}: expected finite numbers, got NaN or infinity"
    )
    assert (
        refusal(saved({name: array for name, array in arrays.items() if name != key}), manifest) == f"{wanted} nothing"
    )
    assert refusal(saved(arrays | {"evil": fused}), manifest).endswith("; got 'evil' besides")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


def test_pickles_are_refused_and_never_run(arrays: dict[str, Array], manifest: Manifest, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    evil = np.empty(1, object)
    evil[0] = Evil(trace)
    entry, stream = io.BytesIO(), pickle.dumps(Evil(trace))
    np.lib.format.write_array(entry, evil, allow_pickle=True)
    archive = io.BytesIO(saved(arrays))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("scene/out/evil.npy", entry.getvalue())
    hostile = {
        "object array in the archive": archive.getvalue(),
        "object array alone": entry.getvalue(),
        "bare pickle": stream,
    }
    for data in hostile.values():
        assert refusal(data, manifest).startswith("golden: expected an npz archive of plain arrays, got: ")
    assert not trace.exists()
    pickle.loads(stream).close()  # noqa: S301  (it would have worked)
    assert trace.exists()


def test_an_archive_that_unpacks_without_end_is_refused(manifest: Manifest) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small.npy", bytes(100))
    data = bytearray(buffer.getvalue())
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the sizes it promises
        position = data.index(mark) + offset
        data[position : position + 4] = (2 << 30).to_bytes(4, "little")
    assert refusal(bytes(data), manifest) == "golden: expected at most 256512 bytes of arrays, got 2147483648"


@pytest.mark.parametrize("data", [b"", b"PK", b"text" * 100, b"\x93NUMPY\x01\x00\xff\xff"])
def test_what_is_no_archive_is_refused(data: bytes, manifest: Manifest) -> None:
    assert refusal(data, manifest).startswith("golden: expected an npz archive of plain arrays, got: ")


def test_a_cut_archive_is_refused(arrays: dict[str, Array], manifest: Manifest) -> None:
    data = saved(arrays)
    for end in (len(data) - 1, len(data) // 2, 100):
        assert refusal(data[:end], manifest).startswith("golden: expected an npz archive of plain arrays, got: ")


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_altered_archive_is_read_or_refused(position: int, value: int, manifest: Manifest) -> None:
    """Whatever one byte of the archive's own tables becomes, nothing else is raised."""
    data = bytearray(write_golden({"scene": GoldenGraph({"x": np.zeros((8, 2), np.float32)}, {})}))
    data[position % len(data)] = value
    assert refusal(bytes(data), manifest).startswith("golden: ")


class Clock:
    """Gives the times it was told."""

    def __init__(self, durations: list[float]) -> None:
        self._times = iter([time for duration in durations for time in (0.0, duration)])

    def __call__(self) -> float:
        return next(self._times)


def test_timing_gives_percentiles_of_single_calls(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    with load_engines(bundle) as engines:
        counted = Constant(engines.scene, 0.0)
        feeds = bundles.golden_feeds(bundle.manifest.inputs, bundle.manifest.window, 1)
        timing = measure(counted, feeds, 101, warm_up=3, clock=Clock([index / 1000 for index in range(101)]))
    assert (timing.p50_seconds, timing.p95_seconds, timing.p99_seconds) == pytest.approx((0.05, 0.095, 0.099))
    assert timing.n == 101
    assert counted.batches == [1] * 104


def test_timing_of_a_real_engine_is_plausible(tmp_path: Path) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path))
    feeds = bundles.golden_feeds(bundle.manifest.inputs, bundle.manifest.window, 1)
    with load_engines(bundle) as engines:
        timing = measure(engines.scene, feeds, 20, warm_up=1)
    assert 0 < timing.p50_seconds <= timing.p95_seconds <= timing.p99_seconds < 1


def test_the_number_of_cases_is_the_sum_of_the_batches() -> None:
    assert sum(BATCHES) == N_CASES == 8


def test_a_label_as_good_as_tied_is_the_golden_one() -> None:
    golden = GoldenGraph({}, {"fused": np.array([[1.0, 0.96, 0.0], [2.0, 1.0, 0.0]], np.float32)})
    tied = np.array([[0.97, 0.99, 0.0], [2.0, 1.0, 0.0]], np.float32)
    other = np.array([[0.97, 0.99, 0.0], [1.4, 1.5, 0.0]], np.float32)
    found = [compare("scene", golden, {"fused": got}, Tolerance(logits=1.0), "float32") for got in (tied, other)]
    shares = [entry.agreement for (entry,) in found]
    assert shares == [1.0, 0.5]
