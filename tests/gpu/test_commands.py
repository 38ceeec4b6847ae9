"""The commands on a GPU: plans are built, proven, found and used; one for another device is refused by name."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import COMMAND, environment
from support.gpu import ROOT, require_gpu_here

from engines.trt.plans import PlanStore
from engines.trt.records import PlanInfo
from engines.trt.sidecar import sidecar_name

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]
CLIP = ROOT / "examples" / "clip.mp4"


def run(program: str, *words: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND.with_name(program), *map(str, words)],
        env=environment(XDG_CACHE_HOME=str(cache)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the shipped bundle's plans of float16, built by the command."""
    require_gpu_here()
    folder = tmp_path_factory.mktemp("cache")
    done = run("trainer", "build-engine", "--fp16", cache=folder)
    assert done.returncode == 0, done.stderr
    return folder


def labels(*words: object, cache: Path) -> list[tuple[float, str]]:
    done = run("ascstream", "file", CLIP, "--format", "jsonl", *words, cache=cache)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["end"], line["label"]) for line in lines if line["type"] == "prediction"]


def plans_of_the_shipped(store: PlanStore) -> dict[str, PlanInfo]:
    """One of each graph of the bundle that ships, by the graph's name."""
    found = [entry.info for entry in store.entries()]
    plans = {info.key.graph: info for info in found if info is not None}
    assert len(plans) == len(found)
    assert set(plans) == {"scene", "frame"}
    return plans


def test_a_plan_gives_the_labels_of_onnx_runtime(cache: Path) -> None:
    assert labels("--backend", "tensorrt", cache=cache) == labels("--backend", "onnxruntime", cache=cache)
    assert labels("--backend", "auto", cache=cache) == labels("--backend", "onnxruntime", cache=cache)


def test_a_plan_of_another_gpu_is_refused_by_its_name(cache: Path, tmp_path: Path) -> None:
    own, foreign = PlanStore(cache / "ascstream" / "plans"), PlanStore(tmp_path / "plans")
    for info in plans_of_the_shipped(own).values():
        key = replace(info.key, device="Orin", compute_capability="8.7")
        foreign.store(replace(info, key=key), own.read(info))
    done = run("ascstream", "file", CLIP, "--backend", "tensorrt", "--plans", tmp_path / "plans", cache=cache)
    assert done.returncode == 4
    assert "Orin" in done.stderr
    assert "trainer build-engine" in done.stderr


@pytest.mark.parametrize("graph", ["scene", "frame"])
def test_an_edited_sidecar_and_an_altered_plan_are_refused(graph: str, cache: Path, tmp_path: Path) -> None:
    place = tmp_path / "plans"
    place.mkdir(mode=0o700)
    for path in (cache / "ascstream" / "plans").iterdir():
        if path.is_file():
            (place / path.name).write_bytes(path.read_bytes())
            (place / path.name).chmod(0o600)
    info = plans_of_the_shipped(PlanStore(place))[graph]
    plan = place / info.plan
    plan.write_bytes(plan.read_bytes()[:-1] + b"!")
    done = run("ascstream", "file", CLIP, "--backend", "tensorrt", "--plans", place, cache=cache)
    assert done.returncode == 4
    assert "altered" in done.stderr
    sidecar = place / sidecar_name(info)
    sidecar.write_text(sidecar.read_text(encoding="utf-8").replace('"precision": "float16"', '"precision": "float32"'))
    done = run("ascstream", "file", CLIP, "--backend", "tensorrt", "--plans", place, cache=cache)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_plans_are_listed_verified_and_deleted(cache: Path) -> None:
    assert "float16" in run("ascstream", "engine", "list", cache=cache).stdout
    assert run("ascstream", "engine", "verify", cache=cache).returncode == 0
