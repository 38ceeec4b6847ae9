"""What `prune` removes, what it says of it, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import waiting
from support.plans import H100, ORIN, on, plan_info, write_small

from engines.bundle import Bundle
from engines.trt.plans import PlanStore
from engines.trt.sidecar import sidecar_name


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_small(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def listed(store: PlanStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def test_an_absent_folder_has_nothing_to_remove(store: PlanStore) -> None:
    assert store.prune(H100) == ()
    assert store.prune(H100, everything=True, dry_run=True) == ()
    assert not store.folder.exists()


def test_what_fits_and_what_is_not_ours_stays(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), b"plan")
    store.store_timing_cache(H100, b"timings")
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "model.plan").write_text("mine")
    (store.folder / ".other.partial").write_text("mine")
    (store.folder / "package.json").write_text("{}")
    (store.folder / f"{'e' * 32}.plan.d").mkdir()
    before = listed(store)
    assert store.prune(on(H100, driver="600.1")) == ()
    assert listed(store) == before
    assert store.find(bundle, H100).plans == {"scene": stored}


def test_leftovers_are_named_measured_and_removed(store: PlanStore, bundle: Bundle) -> None:
    kept = store.store(plan_info(bundle), b"plan")
    gone = store.store(plan_info(bundle, precision="int8"), b"another")
    (store.folder / gone.plan).unlink()
    lone, partial, broken = f"{'a' * 32}.plan", f".{'b' * 32}.plan.{'c' * 12}.partial", f"{'d' * 32}.json"
    (store.folder / lone).write_bytes(bytes(1000))
    (store.folder / partial).write_bytes(bytes(10))
    (store.folder / broken).write_bytes(b"{")
    dry = store.prune(H100, dry_run=True)
    assert {entry.name: (entry.size, entry.why) for entry in dry if entry.name not in (broken, sidecar_name(gone))} == {
        lone: (1000, "no sidecar names it"),
        partial: (10, "was not written to its end"),
    }
    assert {entry.name: entry.why for entry in dry}[sidecar_name(gone)] == (
        f"{store.folder}/{gone.plan}: expected the plan of {sidecar_name(gone)}, got nothing there"
    )
    assert {entry.name: entry.why for entry in dry}[broken].startswith(f"{store.folder}/{broken}: expected JSON")
    assert store.prune(H100) == dry
    assert listed(store) == {kept.plan, sidecar_name(kept)}
    assert store.prune(H100) == ()


def test_plans_of_other_machines_and_versions_go_where_this_one_is_known(store: PlanStore, bundle: Bundle) -> None:
    old = replace(H100, tensorrt="10.3.0")
    here = store.store(plan_info(bundle), b"here")
    for machine in (ORIN, old):
        store.store(plan_info(bundle, machine), machine.tensorrt.encode() + machine.device.name.encode())
        store.store_timing_cache(machine, b"timings")
    assert store.prune() == ()  # on a machine that runs none of them
    removed = store.prune(H100)
    assert sorted(entry.why for entry in removed if entry.name.endswith(".json")) == [
        "was built by TensorRT 10.3.0, this is 10.13.2",
        "was built for Orin, this is NVIDIA H100 80GB HBM3 and was built by TensorRT 10.3.0, this is 10.13.2",
    ]
    assert [entry.why for entry in removed if entry.name.endswith(".timing")] == [
        "the timing cache of another device or TensorRT",
        "the timing cache of another device or TensorRT",
    ]
    assert [entry.name.rpartition(".")[2] for entry in removed][:2] == ["json", "json"]  # sidecars before their plans
    assert listed(store) == {here.plan, sidecar_name(here)}


def test_a_plan_that_two_sidecars_name_stays_for_the_one_that_stays(store: PlanStore, bundle: Bundle) -> None:
    there = store.store(plan_info(bundle, ORIN), b"the same")
    here = store.store(plan_info(bundle, H100), b"the same")
    assert [entry.name for entry in store.prune(H100)] == [sidecar_name(there)]
    assert store.read(here) == b"the same"


def test_everything(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle), b"plan")
    store.store_timing_cache(H100, b"timings")
    (store.folder / "notes.txt").write_text("mine")
    assert len(store.prune(everything=True, dry_run=True)) == 3
    assert len(store.prune(everything=True)) == 3
    assert listed(store) == {"notes.txt"}


def test_a_plan_altered_without_a_change_of_its_length_goes(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), b"plan")
    (store.folder / stored.plan).write_bytes(b"PLAN")
    assert {entry.name for entry in store.prune()} == {stored.plan, sidecar_name(stored)}


def test_a_folder_under_a_name_of_ours_stays_and_keeps_nothing_from_going(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle), b"plan")
    folders = {f"{'0' * 32}.json", f"{'1' * 32}.plan", f"{'2' * 32}.timing"}
    for name in folders:
        (store.folder / name).mkdir()
    (store.folder / f"{'f' * 32}.plan").write_bytes(b"lone")
    assert len(store.prune(everything=True)) == 3
    assert listed(store) == folders


def test_a_link_is_removed_and_what_it_points_to_is_not(store: PlanStore, tmp_path: Path) -> None:
    store.folder.mkdir(mode=0o700)
    (tmp_path / "outside").write_text("mine")
    (store.folder / f"{'a' * 32}.plan").symlink_to(tmp_path / "outside")
    assert len(store.prune()) == 1
    assert listed(store) == set()
    assert (tmp_path / "outside").read_text() == "mine"


STORE_MANY = """
import sys
from pathlib import Path
from engines.bundle import open_bundle
from engines.trt.plans import PlanStore
from support.plans import plan_info
info, store = plan_info(open_bundle(Path(sys.argv[2]))), PlanStore(Path(sys.argv[1]))
for number in range(40):
    stored = store.store(info, b"%d" % number * 1000)
assert store.read(stored) == b"39" * 1000
"""


def test_pruning_beside_a_builder_takes_nothing_it_just_wrote(store: PlanStore, bundle: Bundle) -> None:
    root = Path(__file__).parents[3]
    words = [sys.executable, "-c", STORE_MANY, str(store.folder), str(bundle.path)]
    with subprocess.Popen(words, cwd=root, env={"PYTHONPATH": f"{root}:{root / 'tests'}"}) as builder:
        waiting.until(lambda: store.folder.exists() and store.find(bundle, H100).plans)
        while builder.poll() is None:
            assert {entry.why for entry in store.prune(H100)} <= {"no sidecar names it"}
            assert all(entry.problem is None for entry in store.entries(verify=True) if builder.poll() is not None)
    assert builder.returncode == 0
    store.prune(H100)
    found = store.find(bundle, H100)
    assert found.plans is not None, found.why
    assert store.read(found.plans["scene"]) == b"39" * 1000
    assert len(listed(store)) == 2
