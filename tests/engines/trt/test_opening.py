"""From a bundle to its plans: which are taken, what is said where none is, and that nothing on the way is fatal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support import bundles
from support.stand_in import DEAD, NoGpu, StandIn, another, build

from engines.backends import load_engines
from engines.base import Engine
from engines.bundle import Bundle, open_bundle
from engines.check import golden_of
from engines.errors import BackendError, BundleError
from engines.manifest import FRAME_GRAPH, SCENE_GRAPH
from engines.trt.plans import PlanStore

ORT = f"onnxruntime {onnxruntime.__version__} CPU, float32, 1 thread"
TRT = "TensorRT 10.3.0, Invented, float32"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(bundles.audio_visual(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def built(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plans of both graphs."""
    folder = tmp_path_factory.mktemp("built") / "plans"
    build(bundle, folder)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, to be changed."""
    shutil.copytree(built, tmp_path / "plans")
    yield tmp_path / "plans"
    (tmp_path / "plans").chmod(0o700)


def note(bundle: Bundle, folder: Path | None, tensorrt: StandIn) -> str:
    """What auto says, having gone on with ONNX Runtime."""
    with load_engines(bundle, plans=folder, tensorrt=tensorrt) as engines:
        assert engines.backend == ORT
        assert engines.fell_back is None
        assert engines.note is not None
        assert "\n" not in engines.note
        return engines.note


def refusal(bundle: Bundle, folder: Path | None, tensorrt: StandIn) -> str:
    """What is said where TensorRT was asked for."""
    with pytest.raises(BackendError) as caught:
        load_engines(bundle, backend="tensorrt", plans=folder, tensorrt=tensorrt)
    return str(caught.value)


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_plans_that_fit_are_taken(backend: str, bundle: Bundle, folder: Path) -> None:
    tensorrt = StandIn()
    with load_engines(bundle, backend=backend, plans=folder, tensorrt=tensorrt) as engines:
        assert engines.backend == TRT
        assert engines.precision == "float32"
        assert engines.note is None
        assert engines.frame is not None
        for graph, engine in ((SCENE_GRAPH, engines.scene), (FRAME_GRAPH, engines.frame)):
            cases = golden_of(bundle)[graph]
            for name, answer in engine.infer(cases.feeds).items():
                np.testing.assert_allclose(answer, cases.answers[name], atol=1e-4)
    assert [engine.closed for engine in tensorrt.engines] == [True, True]


def test_without_a_gpu_auto_is_onnx_runtime_and_nothing_is_said(bundle: Bundle, folder: Path) -> None:
    with load_engines(bundle, plans=folder, tensorrt=NoGpu(machine=BackendError("not asked"))) as engines:
        assert engines.backend == ORT
        assert engines.note is None


def test_onnx_runtime_is_taken_where_it_is_asked_for(bundle: Bundle, folder: Path) -> None:
    with load_engines(bundle, backend="onnxruntime", plans=folder, tensorrt=StandIn()) as engines:
        assert (engines.backend, engines.note) == (ORT, None)


def test_without_a_plan_the_command_to_build_one_is_said(bundle: Bundle, tmp_path: Path) -> None:
    why = "no plan for audio_visual on Invented with TensorRT 10.3.0; type: trainer build-engine "
    assert note(bundle, tmp_path / "none", StandIn()).startswith(f"not TensorRT: {why}")
    message = refusal(bundle, tmp_path / "none", StandIn())
    assert message.startswith(why)
    assert message.endswith("; or go on without it: --backend onnxruntime")


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (another(name="Orin"), "was built for Invented, this is Orin"),
        (another(compute_capability="8.6"), "was built for compute capability 9.0, this is 8.6"),
        (another(l4t="36.4"), "was built on no Jetson Linux, this is Jetson Linux 36.4"),
        (another(multiprocessors=16), "was built for 0 multiprocessors, here are 16"),
    ],
)
def test_a_plan_of_another_device_is_refused_by_name(machine: object, why: str, bundle: Bundle, folder: Path) -> None:
    tensorrt = StandIn(machine=machine)  # type: ignore[arg-type]
    assert why in note(bundle, folder, tensorrt)
    assert why in refusal(bundle, folder, tensorrt)
    assert tensorrt.engines == []


def test_a_precision_without_a_plan(bundle: Bundle, folder: Path) -> None:
    with pytest.raises(BackendError, match=r"no float16 plan|float16"):
        load_engines(bundle, backend="tensorrt", precision="float16", plans=folder, tensorrt=StandIn())
    with pytest.raises(BundleError, match="holds float32 only; drop --precision float16"):
        load_engines(bundle, precision="float16", plans=folder, tensorrt=StandIn())


@pytest.mark.parametrize("what", ["truncated", "altered", "empty"])
def test_a_plan_that_was_touched_is_never_opened(what: str, bundle: Bundle, folder: Path) -> None:
    for plan in folder.glob("*.plan"):
        data = plan.read_bytes()
        plan.write_bytes({"truncated": data[:-1], "altered": data[:-1] + b"x", "empty": b""}[what])
    tensorrt = StandIn()
    assert "trainer build-engine" in note(bundle, folder, tensorrt)
    assert "trainer build-engine" in refusal(bundle, folder, tensorrt)
    assert tensorrt.engines == []


def test_a_folder_that_others_may_write_to_is_not_trusted(bundle: Bundle, folder: Path) -> None:
    folder.chmod(0o777)
    tensorrt = StandIn()
    assert str(folder) in note(bundle, folder, tensorrt)
    assert str(folder) in refusal(bundle, folder, tensorrt)
    assert tensorrt.engines == []


@pytest.mark.parametrize("error", [TypeError("factory function returned nullptr"), OSError("libnvinfer.so.10")])
def test_a_tensorrt_that_is_broken_is_a_note_and_no_crash(error: Exception, bundle: Bundle, folder: Path) -> None:
    why = f"TensorRT does not work here ({type(error).__name__}: {error}); type: ascstream doctor"
    for tensorrt in (StandIn(machine=error), StandIn(refusal=error)):
        assert note(bundle, folder, tensorrt) == f"not TensorRT: {why}"
        assert refusal(bundle, folder, tensorrt) == f"{why}; or go on without it: --backend onnxruntime"


def test_what_is_missing_is_a_line_for_auto_and_all_of_it_where_it_was_asked_for(bundle: Bundle, folder: Path) -> None:
    tensorrt = StandIn(machine=BackendError("TensorRT: expected a, b; missing: b\n  b: type: pip install b"))
    assert note(bundle, folder, tensorrt) == "not TensorRT: missing: b; see: ascstream doctor"
    assert refusal(bundle, folder, tensorrt).splitlines() == [
        "TensorRT: expected a, b; missing: b",
        "  b: type: pip install b",
        "  or go on without it: --backend onnxruntime",
    ]


def test_a_plan_that_tensorrt_refuses_leaves_nothing_open(bundle: Bundle, folder: Path) -> None:
    class RefusesTheSecond(StandIn):
        def open(self, plan: bytes, *, name: str, precision: str) -> Engine:
            if self.engines:
                raise BackendError(f"{name}: TensorRT refuses the plan: serialization error")
            return super().open(plan, name=name, precision=precision)

    tensorrt = RefusesTheSecond()
    assert "TensorRT refuses the plan: serialization error" in note(bundle, folder, tensorrt)
    assert [engine.closed for engine in tensorrt.engines] == [True]


def test_a_new_driver_has_the_golden_cases_run_once_and_keeps_the_plan(bundle: Bundle, folder: Path) -> None:
    plans = {file.name: file.read_bytes() for file in folder.glob("*.plan")}
    machine = another(driver="590.10")
    for n_calls in (3, 0):
        tensorrt = StandIn(machine=machine)
        with load_engines(bundle, plans=folder, tensorrt=tensorrt) as engines:
            assert (engines.backend, engines.note) == (TRT, None)
        assert [engine.n_calls for engine in tensorrt.engines] == [n_calls, n_calls]
    assert {entry.info.driver for entry in PlanStore(folder).entries() if entry.info is not None} == {"590.10"}
    assert {file.name: file.read_bytes() for file in folder.glob("*.plan")} == plans


def test_a_plan_for_single_windows_is_proven_in_single_windows(bundle: Bundle, tmp_path: Path) -> None:
    build(bundle, tmp_path / "ones", batches=(1,))
    tensorrt = StandIn(machine=another(driver="590.10"))
    with load_engines(bundle, plans=tmp_path / "ones", tensorrt=tensorrt):
        assert [engine.n_calls for engine in tensorrt.engines] == [8, 8]


def test_a_plan_that_fails_under_a_new_driver_is_refused(bundle: Bundle, folder: Path) -> None:
    tensorrt = StandIn(machine=another(driver="590.10"), bias={"scene": 1.0})
    why = "audio_visual: its float32 plan was proven under driver 580.95.05; under 590.10 expected the golden answers "
    said = note(bundle, folder, tensorrt)
    assert said.startswith(f"not TensorRT: {why}")
    assert f"; build it anew, type: trainer build-engine {bundle.path} --fp32 --out {folder} --force" in said
    assert [engine.closed for engine in tensorrt.engines] == [True, True]
    assert {entry.info.driver for entry in PlanStore(folder).entries() if entry.info is not None} == {"580.95.05"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_said_and_the_plan_used(bundle: Bundle, folder: Path) -> None:
    folder.chmod(0o500)
    with load_engines(bundle, plans=folder, tensorrt=StandIn(machine=another(driver="590.10"))) as engines:
        assert engines.backend == TRT
        assert (engines.note or "").startswith("the plan is proven anew at every start, since that cannot be noted: ")


def test_a_call_that_fails_goes_over_to_onnx_runtime(bundle: Bundle, folder: Path) -> None:
    def dead(graph: str, n: int) -> None:
        if n:
            raise BackendError(DEAD.replace("scene", graph))

    tensorrt = StandIn(trouble=dead)
    cases = golden_of(bundle)
    with load_engines(bundle, plans=folder, tensorrt=tensorrt) as engines:
        assert engines.frame is not None
        for expected in (None, DEAD):
            answers = engines.scene.infer(cases[SCENE_GRAPH].feeds)
            np.testing.assert_allclose(answers["fused"], cases[SCENE_GRAPH].answers["fused"], atol=1e-4)
            assert engines.fell_back == expected
        assert engines.backend == ORT
        engines.frame.infer(cases[FRAME_GRAPH].feeds)
        assert engines.frame.backend == ORT  # with the other one, though it never failed
        assert [engine.n_calls for engine in tensorrt.engines] == [2, 0]
        assert [engine.closed for engine in tensorrt.engines] == [True, True]
