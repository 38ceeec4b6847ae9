"""Deserialised plans over TensorRT's own types: what they are, what is refused, and what TensorRT says about it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.tensorrt_tools import rtx_python

ROOT = Path(__file__).parents[3]
UNFIT = "scene: expected a plan whose tensors lie on the device, with a free batch axis and fixed other ones, got a: "


@pytest.fixture(scope="module")
def found() -> Any:
    done = subprocess.run(
        [rtx_python(), "-W", "error", "-m", "support.cuda.plan_scenes"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_plan_says_what_it_takes_and_gives(found: Any) -> None:
    assert found["specs"] == ["a float32 [n, 4]", "b int64 [n]", "y float32 [n, 2, 3]"]
    assert found["profiles"] == [[1, 1, 1], [2, 8, 8]]


def test_memory_is_the_plan_and_what_each_profile_needs(found: Any) -> None:
    assert found["numbers"] == [7, 500 + 2 * 1000]


def test_an_executor_takes_its_profile_then_shapes_then_addresses_on_one_stream(found: Any) -> None:
    assert found["calls"] == [
        ["profile", 1, 99],
        ["shape", "a", [8, 4]],
        ["shape", "b", [8]],
        ["address", "a", 256],
        ["address", "b", 512],
        ["address", "y", 1024],
        ["execute", 99],
    ]


def test_a_refusal_says_what_tensorrt_logged_once_and_in_one_line(found: Any) -> None:
    reason = "IExecutionContext::x: Error Code 3: it was five"
    assert found["refused"] == [
        f"TensorRT does not take 5 at a time: {reason}",
        f"TensorRT does not take a where it lies: {reason}",
        f"TensorRT failed: {reason}",
        "no error",
    ]
    assert found["no memory"] == "TensorRT could not get ready to execute: it does not say why"
    assert found["no profile"] == f"TensorRT could not get ready to execute: {reason}"


def test_a_process_that_builds_and_runs_has_one_logger(found: Any) -> None:
    assert found["loggers"] == ["engines.trt.log"]


def test_what_was_closed_refuses_to_go_on(found: Any) -> None:
    assert found["closed"][1:] == ["expected an open plan, got one that was closed"] * 2
    assert found["closed"][0].startswith("TensorRT failed")


def test_plans_that_we_do_not_build_are_refused(found: Any) -> None:
    end = "; type: trainer build-engine"
    assert found["unfit"] == [
        f"{UNFIT}float [3, 4]{end}",
        f"{UNFIT}float [-1, -1]{end}",
        f"{UNFIT}bf16 [-1, 4]{end}",
        f"{UNFIT}float [-1, 4]{end}",
        f"scene: expected a plan whose inputs have the same batch sizes, got [(2, 4, 4), (2, 8, 8)]{end}",
    ]
