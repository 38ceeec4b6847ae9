"""`ascstream engine`: which plans there are, whether they are whole and fit, and what may go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.commands import ascstream
from support.nvidia import with_driver
from support.plans import H100, ORIN, plan_info, write_small
from support.terminal import shown_on_terminal

from engines.trt.plans import PlanStore
from engines.trt.records import PlanInfo
from engines.trt.sidecar import sidecar_name

LIST = "from ascstream.cli import main; raise SystemExit(main(['engine', 'list', '--plans', {folder!r}]))"


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def plans(store: PlanStore, tmp_path: Path) -> dict[str, PlanInfo]:
    """One that fits an H100, one of a Jetson, one that is damaged."""
    audio = write_small(tmp_path, name="slim-audio")
    picture = write_small(tmp_path, name="slim-av", graph=b"another")
    stored = {
        "here": store.store(plan_info(audio), bytes(3_100_000)),
        "jetson": store.store(plan_info(audio, ORIN, p50_seconds=0.00147), bytes(120_000)),
        "damaged": store.store(plan_info(picture, precision="int8", p50_seconds=None), b"plan"),
    }
    (store.folder / stored["damaged"].plan).write_bytes(b"")
    return stored


@pytest.fixture(scope="session")
def h100(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a machine whose driver knows an H100, with packages that say that they are there."""
    packages = tmp_path_factory.mktemp("packages")
    for name in ("tensorrt", "pycuda"):
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise AssertionError('imported')")
    about = packages / f"tensorrt-{H100.tensorrt}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {H100.tensorrt}\n")
    return {**with_driver(SOFTWARE_CUDA_NAME=H100.device.name), "PYTHONPATH": str(packages)}


def test_every_plan_is_shown_with_what_it_was_made_for_and_whether_it_fits(
    store: PlanStore, plans: dict[str, PlanInfo], h100: Mapping[str, str]
) -> None:
    done = ascstream("engine", "list", "--plans", store.folder, env=h100)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "plan built for built size p50 fits",
        "slim-audio 1, scene float16 NVIDIA H100 80GB HBM3, TensorRT 10.13.2 2026-11-21 18:00 3,027 KiB 0.2 ms yes",
        "slim-audio 1, scene float16 Orin, TensorRT 10.3.0, Jetson Linux 36.4 2026-11-21 18:00 117 KiB 1.47 ms no",
        "slim-av 1, scene int8 NVIDIA H100 80GB HBM3, TensorRT 10.13.2 2026-11-21 18:00 4 B damaged",
        "",
        "slim-audio 1, scene float16 was built for Orin, this is NVIDIA H100 80GB HBM3 "
        "and was built by TensorRT 10.3.0, this is 10.13.2",
        f"slim-av 1, scene int8: {store.folder}/{plans['damaged'].plan}: expected 4 bytes, got 0: it is truncated",
        f"3 plans in {store.folder}, 3,145 KiB",
        f"2 files may go, 1 KiB; type: ascstream engine prune --plans {store.folder}",
    ]


def test_without_a_gpu_nothing_fits_and_nothing_of_nvidias_is_needed(
    store: PlanStore, plans: dict[str, PlanInfo]
) -> None:
    done = ascstream("engine", "list", "--plans", store.folder)
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()
    assert [row.split()[-1] for row in rows[:4]] == ["fits", "no", "no", "damaged"]
    assert "TensorRT runs no plan here: see ascstream doctor" in rows


def test_a_plan_for_programs(store: PlanStore, plans: dict[str, PlanInfo], h100: Mapping[str, str]) -> None:
    report = json.loads(
        ascstream("engine", "list", "--json", env={**h100, "ASCSTREAM_PLANS": str(store.folder)}).stdout
    )
    assert (report["schema"], report["folder"]) == (1, str(store.folder))
    assert report["machine"]["tensorrt"] == "10.13.2"
    assert report["machine"]["device"]["name"] == "NVIDIA H100 80GB HBM3"
    assert [entry["fits"] for entry in report["plans"]] == [True, False, False]
    assert report["plans"][0]["why"] is None
    assert report["plans"][0]["about"]["latency"] == [
        {"batch": 1, "cuda_graph": True, "p50_seconds": 0.0002, "p99_seconds": 0.0004, "n": 500}
    ]
    alone = json.loads(ascstream("engine", "list", "--json", "--plans", store.folder).stdout)
    assert alone["machine"] is None
    assert [entry["fits"] for entry in alone["plans"]] == [False, False, False]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_a_terminal(columns: int, store: PlanStore, plans: dict[str, PlanInfo]) -> None:
    shown = shown_on_terminal(LIST.format(folder=str(store.folder)), {"COLUMNS": str(columns), "NO_COLOR": "1"})
    table = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").partition("\r\n\r\n")[0].split("\r\n")
    assert max(map(len, table)) <= columns
    if columns == 120:
        assert [" ".join(line.split()) for line in table[1:3]] == [
            "slim-audio 1, scene float16 NVIDIA H100 80GB HBM3, TensorRT 10.13.2 2026-11-21 18:00 3,027 KiB 0.2 ms no",
            "slim-audio 1, scene float16 Orin, TensorRT 10.3.0, Jetson Linux 36.4 2026-11-21 18:00 117 KiB 1.47 ms no",
        ]
        return
    assert [" ".join(line.split()) for line in table[1:6]] == [
        "slim-audio 1 NVIDIA H100 80GB HBM3 2026-11-21 3,027 KiB 0.2 ms no",
        "scene float16 TensorRT 10.13.2 18:00",
        "slim-audio 1 Orin 2026-11-21 117 KiB 1.47 ms no",
        "scene float16 TensorRT 10.3.0 18:00",
        "Jetson Linux 36.4",
    ]


def test_where_there_are_none_the_command_is_told(tmp_path: Path) -> None:
    done = ascstream("engine", "list", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "TensorRT runs no plan here: see ascstream doctor\n"
        f"0 plans in {tmp_path}/ascstream/plans\n"
        "to make one, type: trainer build-engine --fp16\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["list", "verify", "prune"])
def test_a_folder_that_is_not_there_is_an_error_where_it_was_named(name: str, tmp_path: Path) -> None:
    done = ascstream("engine", name, "--plans", tmp_path / "none")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"ascstream: {tmp_path}/none: expected a folder of plans, got nothing there; type: ascstream engine list\n"
    )


@pytest.mark.parametrize("name", ["list", "verify", "prune"])
def test_a_name_that_no_folder_can_have(name: str, tmp_path: Path) -> None:
    empty = ascstream("engine", name, "--plans", "")
    assert (empty.returncode, empty.stdout) == (2, "")
    assert "Invalid value for '--plans': expected a folder, got an empty name" in empty.stderr
    long = ascstream("engine", name, "--plans", tmp_path / ("x" * 300))
    assert (long.returncode, long.stdout) == (4, "")
    assert long.stderr.endswith("x: expected a folder for plans, got: File name too long\n")


@pytest.mark.parametrize("name", ["list", "verify", "prune"])
def test_a_folder_that_others_may_write_to_is_refused(name: str, store: PlanStore, plans: dict[str, PlanInfo]) -> None:
    store.folder.chmod(0o777)
    done = ascstream("engine", name, "--plans", store.folder)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"ascstream: {store.folder}: a plan is code, so it is only taken from where nobody else may write: expected "
        f"mode 700, got 777; name another folder, or, if you trust what is in it, type: chmod 700 {store.folder}\n"
    )


def test_damage_is_named_and_is_exit_code_4(store: PlanStore, plans: dict[str, PlanInfo]) -> None:
    done = ascstream("engine", "verify", "--plans", store.folder)
    assert (done.returncode, done.stderr) == (4, "")
    said = f"{store.folder}/{plans['damaged'].plan}: expected 4 bytes, got 0: it is truncated"
    assert done.stdout.splitlines() == [
        "ok       slim-audio 1, scene float16",
        "ok       slim-audio 1, scene float16",
        f"damaged  slim-av 1, scene int8: {said}",
        f"3 plans in {store.folder}, 1 damaged; to remove what is damaged, type: "
        f"ascstream engine prune --plans {store.folder}",
    ]
    report = json.loads(ascstream("engine", "verify", "--plans", store.folder, "--json").stdout)
    assert report["ok"] is False
    assert [entry["problem"] for entry in report["plans"] if not entry["ok"]] == [said]


def test_a_plan_with_one_bit_turned_is_found(store: PlanStore, plans: dict[str, PlanInfo]) -> None:
    store.remove(plans["damaged"])
    assert ascstream("engine", "verify", "--plans", store.folder).returncode == 0
    path = store.folder / plans["jetson"].plan
    path.write_bytes(bytes(119_999) + b"\1")
    done = ascstream("engine", "verify", "--plans", store.folder)
    assert done.returncode == 4
    assert f"{path}: expected the plan that was stored, got other bytes: it was altered" in done.stdout


def test_golden_cases_need_a_gpu_and_a_plan_that_fits(
    store: PlanStore, plans: dict[str, PlanInfo], h100: Mapping[str, str]
) -> None:
    store.remove(plans["damaged"])
    words = ["engine", "verify", "--plans", store.folder, "--bundle", "slim-audio"]
    alone = ascstream(*words)
    assert alone.returncode == 4
    assert alone.stderr.startswith("ascstream: TensorRT: expected NVIDIA's driver, a GPU, the package tensorrt and ")
    done = ascstream(*words, env=h100)
    assert done.returncode == 4
    assert done.stderr.startswith(f"ascstream: no plan for slim-audio on {H100.device.name} with TensorRT 10.13.2: ")
    assert "2 plans in" in done.stdout


def test_prune_says_first_and_then_does(store: PlanStore, plans: dict[str, PlanInfo], h100: Mapping[str, str]) -> None:
    words = ["engine", "prune", "--plans", store.folder]
    before = sorted(store.folder.iterdir())
    dry = ascstream(*words, "--dry-run", env=h100)
    assert (dry.returncode, dry.stderr) == (0, "")
    lines = dry.stdout.splitlines()
    assert sorted(line.split()[2] for line in lines[:-1]) == sorted(
        [*(sidecar_name(plans[name]) for name in ("damaged", "jetson")), plans["damaged"].plan, plans["jetson"].plan]
    )
    assert lines[-1].startswith(f"4 files would be removed from {store.folder}, 119 KiB")
    assert sorted(store.folder.iterdir()) == before
    done = ascstream(*words, env=h100)
    assert done.stdout == dry.stdout.replace("would be removed", "removed")
    assert {path.name for path in store.folder.iterdir()} == {plans["here"].plan, sidecar_name(plans["here"])}


def test_without_a_gpu_only_what_is_damaged_goes_unless_all_is_asked_for(
    store: PlanStore, plans: dict[str, PlanInfo]
) -> None:
    done = ascstream("engine", "prune", "--plans", store.folder, "--json")
    report = json.loads(done.stdout)
    assert {entry["name"] for entry in report["removed"]} == {sidecar_name(plans["damaged"]), plans["damaged"].plan}
    assert (report["dry_run"], done.stderr) == (False, "")
    done = ascstream("engine", "prune", "--plans", store.folder)
    assert done.stdout == f"0 files removed from {store.folder}, 0 B\n"
    assert done.stderr == (
        "plans of every device are kept (TensorRT runs no plan here: see ascstream doctor); to remove all: --all\n"
    )
    assert ascstream("engine", "prune", "--plans", store.folder, "--all").stderr == ""
    assert list(store.folder.iterdir()) == []


def test_a_name_too_long_for_a_table_is_cut_and_nothing_in_it_is_obeyed(store: PlanStore, tmp_path: Path) -> None:
    info = plan_info(write_small(tmp_path))
    store.store(replace(info, bundle="[bold]" + 5000 * "x"), b"plan")
    done = ascstream("engine", "list", "--plans", store.folder)
    assert done.stdout.splitlines()[1].startswith("[bold]" + 53 * "x" + "…, scene float16  NVIDIA")
