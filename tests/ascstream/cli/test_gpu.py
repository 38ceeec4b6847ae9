"""`ascstream` on machines with a GPU and without: what runs, what is missing, what to type, exit code 4."""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import ascstream
from support.nvidia import python, with_driver

from engines.trt.driver import find_device

Bundle = Callable[[str], Path]
SEES_NOTHING = {"CUDA_VISIBLE_DEVICES": ""}
HEAD = (
    "ascstream: TensorRT: expected NVIDIA's driver, a GPU, the package tensorrt and pycuda or cuda-bindings; missing: "
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the driver's library is Linux's")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "noise.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(np.random.default_rng(0).integers(-3000, 3000, 48_000, np.int16).tobytes())
    return path


def packages(folder: Path, **modules: str) -> str:
    """A folder for PYTHONPATH with modules of these names."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(f"{code}\n")
    return str(folder)


def found(env: dict[str, str]) -> dict[str, dict[str, str]]:
    """What doctor finds, by name."""
    done = ascstream("doctor", "--json", env=env)
    assert done.stderr == ""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.mark.skipif(find_device() is not None, reason="this machine has a GPU")
@pytest.mark.parametrize("words", [["--backend", "tensorrt"], ["--build"], ["--build", "--backend", "tensorrt"]])
@pytest.mark.parametrize("command", ["file", "live"])
def test_without_a_gpu_tensorrt_is_exit_code_4_and_says_all_that_is_missing(
    command: str, words: list[str], bundle: Bundle, clip: Path
) -> None:
    source = [str(clip)] if command == "file" else ["--source", str(clip)]
    done = ascstream(command, *source, "--bundle", bundle("mono_logmel"), *words)
    assert (done.returncode, done.stdout) == (4, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{HEAD}NVIDIA's driver (there is no libcuda.so.1)")
    assert lines[1].startswith("  driver: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_device() is not None, reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_said_where_nobody_asked(bundle: Bundle, clip: Path) -> None:
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"))
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].endswith(" CPU, float32, 1 thread, window 1 s, step 1 s")


@pytest.mark.slow
def test_a_gpu_without_tensorrt_is_told_in_the_first_line(bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    env = with_driver(PYTHONPATH=packages(tmp_path, pycuda=""))
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].endswith(
        " CPU, float32, 1 thread, window 1 s, step 1 s; not TensorRT: missing: the package tensorrt; "
        "see: ascstream doctor"
    )
    quiet = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--quiet", env=env)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    asked = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--backend", "tensorrt", env=env)
    assert asked.returncode == 4
    assert asked.stderr.splitlines() == [
        f"{HEAD}the package tensorrt",
        "  tensorrt: type: pip install tensorrt-cu13 (the driver speaks CUDA 13.0)",
        "  or go on without it: --backend onnxruntime",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["file", "bench"])
def test_a_gpu_without_a_plan_names_the_command_that_builds_one(
    command: str, bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    version = "__version__ = '10.3.0'"
    env = with_driver(SOFTWARE_CUDA_NAME="Orin", PYTHONPATH=packages(tmp_path, pycuda="", tensorrt=version))
    words = [command, clip, "--bundle", bundle("mono_logmel"), "--plans", tmp_path / "plans"]
    done = ascstream(*words, env=env)
    assert done.returncode == 0, done.stderr
    why = "no plan for mono_logmel on Orin with TensorRT 10.3.0; type: trainer build-engine "
    assert f"not TensorRT: {why}" in done.stderr.splitlines()[0]
    asked = ascstream(*words, "--backend", "tensorrt", env=env)
    assert (asked.returncode, asked.stdout) == (4, "")
    assert asked.stderr.splitlines()[-1].startswith(f"ascstream: {why}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "raise ImportError('libnvinfer.so.10: cannot open shared object file')",
            "ImportError: libnvinfer.so.10: cannot open shared object file",
        ),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "it crashed (SIGSEGV)"),
    ],
)
def test_a_tensorrt_that_does_not_work_is_found_out_and_hides_nothing(
    code: str, why: str, bundle: Bundle, tmp_path: Path
) -> None:
    env = with_driver(
        SOFTWARE_CUDA_NAME="Orin",
        SOFTWARE_CUDA_INTEGRATED="1",
        ASCSTREAM_BUNDLE=str(bundle("mono_logmel")),
        PYTHONPATH=packages(tmp_path, tensorrt=code, pycuda="raise ImportError('libboost')"),
    )
    checks = found(env)
    assert checks["tensorrt"]["status"] == "failed"
    assert checks["tensorrt"]["value"] == f"installed, but: {why}"
    assert checks["tensorrt"]["advice"] == "type: pip install tensorrt-cu13 (the driver speaks CUDA 13.0)"
    assert checks["plans"]["value"].startswith("TensorRT: expected a package that can be imported, got: ")
    assert (checks["pycuda"]["status"], checks["files"]["status"]) == ("failed", "ok")
    assert checks["cuda driver"]["value"] == "CUDA 13.0"
    assert (
        checks["gpu"]["value"] == "Orin, compute capability 9.0, 132 multiprocessors, 8.0 GiB shared with the processor"
    )


@pytest.mark.slow
def test_a_driver_without_a_gpu_is_a_finding(bundle: Bundle) -> None:
    env = with_driver(SOFTWARE_CUDA_DEVICES="0", ASCSTREAM_BUNDLE=str(bundle("mono_logmel")))
    checks = found(env)
    assert checks["cuda driver"]["status"] == "failed"
    assert checks["cuda driver"]["value"] == "CUDA 13.0; the driver has found no GPU (CUDA error 100)"
    assert "gpu" not in checks
    assert "plans" not in checks


@pytest.mark.slow
@pytest.mark.skipif(find_device() is not None, reason="this machine has a GPU")
def test_without_a_gpu_packages_are_looked_for_and_not_tried(bundle: Bundle, tmp_path: Path) -> None:
    place = packages(tmp_path, tensorrt="raise SystemExit(9)")
    checks = found({"PYTHONPATH": place, "ASCSTREAM_BUNDLE": str(bundle("mono_logmel"))})
    assert checks["cuda driver"]["value"] == "there is no libcuda.so.1; files are classified on the CPU"
    assert checks["cuda driver"]["advice"].startswith("to use a GPU: ")
    assert checks["tensorrt"]["value"] == "version unknown; not tried, since there is no GPU"


@pytest.mark.slow
def test_plans_that_would_be_found_are_shown(bundle: Bundle, tmp_path: Path) -> None:
    env = with_driver(
        ASCSTREAM_BUNDLE=str(bundle("mono_logmel")),
        ASCSTREAM_PLANS=str(tmp_path / "plans"),
        PYTHONPATH=packages(tmp_path, pycuda="", tensorrt="__version__ = '10.3.0'"),
    )
    checks = found(env)
    assert checks["plans"]["status"] == "missing"
    assert checks["plans"]["value"].startswith("no plan for mono_logmel on Software with TensorRT 10.3.0; type: ")
    assert checks["files"]["advice"].startswith("not TensorRT: no plan for mono_logmel")


def test_plans_are_not_built_for_onnx_runtime(bundle: Bundle, clip: Path) -> None:
    done = ascstream("file", clip, "--bundle", bundle("mono_logmel"), "--build", "--backend", "onnxruntime")
    assert done.returncode == 2
    assert done.stderr == (
        "ascstream: --build: expected a backend that takes plans, got onnxruntime; drop one of the two\n"
    )


def test_the_commands_import_nothing_of_nvidias_to_find_out() -> None:
    code = (
        "import sys\nfrom ascstream.cli import main\nmain(['file', 'absent.wav', '--backend', 'tensorrt'])\n"
        "print(sorted({'tensorrt', 'pycuda', 'cuda', 'torch'} & set(sys.modules)))"
    )
    assert python(code, **SEES_NOTHING) == "[]"
