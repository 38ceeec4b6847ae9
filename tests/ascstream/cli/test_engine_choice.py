"""--build: plans that are not there are built first, once; then the run goes on with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import bundles
from support.ort_builder import command
from support.stand_in import NoGpu, StandIn

from ascstream.cli.engine_choice import Running, load_classifier
from ascstream.errors import UsageError
from engines.errors import BackendError, ParityError

TRT = "TensorRT 10.3.0, Invented, "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.audio_visual(tmp_path_factory.mktemp("bundle"))


def running(plans: Path, backend: str = "auto", precision: str | None = None) -> Running:
    return Running(backend, precision, 1, plans, build=True)


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_plans_are_built_at_the_first_use_and_found_at_the_second(
    backend: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, plans = running(tmp_path / "plans", backend), tmp_path / "plans"
    with load_classifier(str(folder), asked, quiet=False, tensorrt=StandIn(), build_command=command()) as classifier:
        assert (classifier.backend, classifier.note) == (f"{TRT}float32", None)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == "ascstream: TensorRT plans of audio_visual are built for Invented, float32; once"
    assert lines[1] == (
        "ascstream: the bundle holds no float16 graphs; to make some: "
        f"trainer build-engine {folder} --fp16 --out {plans}"
    )
    assert lines[2].startswith("ascstream: scene, float32: ")
    built = {file.name: file.stat().st_mtime_ns for file in plans.glob("*.plan")}
    assert len(built) == 2
    failing = command("--no-such-option")
    with load_classifier(str(folder), asked, quiet=False, tensorrt=StandIn(), build_command=failing) as classifier:
        assert classifier.backend == f"{TRT}float32"
    assert capsys.readouterr().err == ""
    assert {file.name: file.stat().st_mtime_ns for file in plans.glob("*.plan")} == built


def test_nothing_is_said_where_quiet_was_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = running(tmp_path / "plans")
    load_classifier(str(folder), asked, quiet=True, tensorrt=StandIn(), build_command=command()).close()
    assert capsys.readouterr().err == ""


def test_float16_is_built_where_the_bundle_holds_it(tmp_path: Path) -> None:
    path = bundles.mono_logmel(tmp_path, graphs=bundle_graphs())
    asked = running(tmp_path / "plans")
    with load_classifier(str(path), asked, quiet=True, tensorrt=StandIn(), build_command=command()) as classifier:
        assert classifier.backend == f"{TRT}float16"


def bundle_graphs() -> list[object]:
    return [{"name": "scene", "files": {"float32": "scene.onnx", "float16": "scene.onnx"}}]


def test_a_build_that_fails_is_an_error_and_leaves_no_plan(folder: Path, tmp_path: Path) -> None:
    asked = running(tmp_path / "plans")
    with pytest.raises(ParityError, match="the plan is refused"):
        load_classifier(str(folder), asked, quiet=True, tensorrt=StandIn(), build_command=command("--bias", 9))
    assert list((tmp_path / "plans").glob("*.plan")) == []


def test_without_a_gpu_nothing_is_built(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no GPU here"):
        load_classifier(
            str(folder), running(tmp_path / "plans"), quiet=True, tensorrt=NoGpu(machine=BackendError("no GPU here"))
        )


def test_onnx_runtime_takes_no_plans(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--build: expected a backend that takes plans, got onnxruntime"):
        load_classifier(str(folder), running(tmp_path, "onnxruntime"), quiet=True)
