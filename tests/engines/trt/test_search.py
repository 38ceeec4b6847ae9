"""Which plans are found, and what a user is told where none fits: every sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import bundles
from support.plans import H100, ORIN, on, plan_info, write_small

from ascstream.bundles import DEFAULT, find_bundle, shipped
from engines.bundle import Bundle, open_bundle
from engines.trt.fit import command_to_build
from engines.trt.plans import PlanStore
from engines.trt.records import Machine

HERE = "NVIDIA H100 80GB HBM3 with TensorRT 10.13.2"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_small(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def why(store: PlanStore, bundle: Bundle, machine: Machine = H100, precision: str | None = None) -> str:
    """Why there are none, without what to type, which is looked at."""
    found = store.find(bundle, machine, precision=precision)
    assert found.plans is None
    sentence, _, command = found.why.rpartition("; type: ")
    assert command.startswith(f"trainer build-engine {bundle.path} --")
    assert command.endswith(f" --out {store.folder}")
    return sentence + " " + command.split()[3]


def test_of_several_precisions_the_fastest_is_taken(store: PlanStore, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.late_fusion_bare(tmp_path))
    for precision, scene, frame in (("float32", 0.5, 3.0), ("float16", 0.6, 2.0), ("int8", 0.4, 2.3)):
        store.store(plan_info(bundle, precision=precision, p50_seconds=scene), f"scene {precision}".encode())
        store.store(
            plan_info(bundle, graph="frame", precision=precision, p50_seconds=frame), f"frame {precision}".encode()
        )
    found = store.find(bundle, H100)
    assert found.plans is not None
    assert {graph: info.key.precision for graph, info in found.plans.items()} == {
        "scene": "float16",
        "frame": "float16",
    }
    assert found.why == ""
    asked = store.find(bundle, H100, precision="int8").plans
    assert asked is not None
    assert {info.key.precision for info in asked.values()} == {"int8"}


def test_a_precision_that_was_not_timed_comes_last(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle, precision="float32", p50_seconds=None), b"1")
    timed = store.store(plan_info(bundle, precision="int8", p50_seconds=9.0), b"2")
    assert store.find(bundle, H100).plans == {"scene": timed}


def test_of_one_precision_the_newest_is_taken_and_a_damaged_one_passed_over(store: PlanStore, bundle: Bundle) -> None:
    older = store.store(plan_info(bundle, batches=(1,), built="2026-11-20T18:00:00Z"), b"older")
    newer = store.store(plan_info(bundle, batches=(8,), built="2026-11-21T18:00:00Z"), b"newer")
    assert store.find(bundle, H100).plans == {"scene": newer}
    (store.folder / newer.plan).write_bytes(b"other")
    assert store.find(bundle, H100).plans == {"scene": older}


def test_where_nothing_was_built_the_command_is_told(tmp_path: Path) -> None:
    bundle = open_bundle(find_bundle(DEFAULT))
    store = PlanStore(tmp_path / "plans")
    assert store.find(bundle, H100).why == (
        f"no plan for slim-av on {HERE}; type: trainer build-engine --fp16 --out {tmp_path}/plans"
    )
    assert store.find(bundle, H100, precision="int8").why == (
        f"no int8 plan for slim-av on {HERE}; type: trainer build-engine --int8 --out {tmp_path}/plans"
    )
    assert not store.folder.exists()


def test_plans_of_another_bundle_are_not_mentioned(store: PlanStore, bundle: Bundle, tmp_path: Path) -> None:
    store.store(plan_info(write_small(tmp_path, name="small-two", graph=b"another")), b"plan")
    assert why(store, bundle) == f"no plan for small on {HERE} --fp16"


def test_the_same_graph_in_a_bundle_of_another_name_needs_no_plan_of_its_own(
    store: PlanStore, bundle: Bundle, tmp_path: Path
) -> None:
    stored = store.store(plan_info(write_small(tmp_path, name="other")), b"plan")
    assert store.find(bundle, H100).plans == {"scene": stored}


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (on(H100, name="NVIDIA H200"), "was built for NVIDIA H100 80GB HBM3, this is NVIDIA H200"),
        (on(H100, compute_capability="9.1"), "was built for compute capability 9.0, this is 9.1"),
        (on(H100, multiprocessors=16), "was built for 132 multiprocessors, here are 16"),
        (replace(H100, tensorrt="10.3.0"), "was built by TensorRT 10.13.2, this is 10.3.0"),
        (
            replace(ORIN, tensorrt="10.13.2"),
            "was built for NVIDIA H100 80GB HBM3, this is Orin",
        ),
        (
            replace(on(H100, name="NVIDIA H200"), tensorrt="11.4.0"),
            "was built for NVIDIA H100 80GB HBM3, this is NVIDIA H200 "
            "and was built by TensorRT 10.13.2, this is 11.4.0",
        ),
    ],
)
def test_a_plan_of_another_machine_says_of_which(machine: Machine, said: str, store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle, precision="int8"), b"plan")
    where = f"{machine.device.name} with TensorRT {machine.tensorrt}"
    assert why(store, bundle, machine) == f"no plan for small on {where}: int8 scene {said} --int8"


def test_a_plan_of_another_jetson_linux(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle, ORIN), b"plan")
    where = "no plan for small on Orin with TensorRT 10.3.0: float16 scene was built on Jetson Linux 36.4, this is"
    assert why(store, bundle, on(ORIN, l4t="36.3")) == f"{where} Jetson Linux 36.3 --fp16"
    assert why(store, bundle, on(ORIN, l4t=None)) == f"{where} no Jetson Linux --fp16"


def test_a_driver_alone_makes_no_plan_stale(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), b"plan")
    assert store.find(bundle, on(H100, driver="600.1", memory_bytes=1)).plans == {"scene": stored}


def test_a_bundle_that_was_exported_anew(store: PlanStore, bundle: Bundle, tmp_path: Path) -> None:
    store.store(plan_info(bundle), b"plan")
    anew = write_small(tmp_path, graph=b"trained longer")
    assert why(store, anew) == (
        f"no plan for small on {HERE}: float16 scene was built from another scene graph: "
        "the bundle was exported anew --fp16"
    )


def test_a_bundle_whose_typed_graph_was_made_anew(store: PlanStore, tmp_path: Path) -> None:
    bundle = write_small(tmp_path, half=b"half")
    stored = store.store(plan_info(bundle), b"plan")
    assert store.find(bundle, H100).plans == {"scene": stored}
    assert why(store, write_small(tmp_path, half=b"typed otherwise")) == (
        f"no plan for small on {HERE}: float16 scene was built from another float16 graph than the bundle holds: "
        "it was typed anew --fp16"
    )


def test_a_bundle_without_that_typed_graph_takes_one_that_was_made_for_the_build(
    store: PlanStore, bundle: Bundle
) -> None:
    stored = store.store(plan_info(bundle, typed="c" * 64), b"plan")
    assert store.find(bundle, H100).plans == {"scene": stored}


def test_a_float32_plan_is_of_the_reference_itself(store: PlanStore, bundle: Bundle) -> None:
    info = plan_info(bundle, precision="float32")
    assert info.key.typed == info.key.reference
    store.store(replace(info, key=replace(info.key, typed="d" * 64)), b"plan")
    assert "from another float32 graph than the bundle holds" in why(store, bundle)


def test_the_nearest_miss_is_told_and_not_the_newest(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle, replace(H100, tensorrt="10.3.0"), built="2026-01-01T00:00:00Z"), b"near")
    store.store(plan_info(bundle, ORIN, built="2026-12-01T00:00:00Z"), b"far")
    assert why(store, bundle) == (
        f"no plan for small on {HERE}: float16 scene was built by TensorRT 10.3.0, this is 10.13.2 --fp16"
    )


def test_a_bundle_of_two_graphs_needs_both_in_one_precision(store: PlanStore, tmp_path: Path) -> None:
    bundle = open_bundle(bundles.late_fusion_bare(tmp_path))
    store.store(plan_info(bundle, precision="float16"), b"scene")
    where = f"no plan for late_fusion_bare on {HERE}"
    assert why(store, bundle) == f"{where}: float16 frame was not built --fp16"
    store.store(plan_info(bundle, ORIN, graph="frame", precision="int8"), b"frame")
    assert why(store, bundle) == f"{where}: float16 frame was not built --fp16"
    store.store(plan_info(bundle, replace(H100, tensorrt="10.3.0"), graph="frame", precision="float16"), b"other frame")
    assert why(store, bundle) == (f"{where}: float16 frame was built by TensorRT 10.3.0, this is 10.13.2 --fp16")


def test_a_sidecar_that_cannot_be_read_is_mentioned(store: PlanStore, bundle: Bundle) -> None:
    stored = store.store(plan_info(bundle), b"plan")
    (store.folder / f"{stored.key.digest}.json").write_text("{")
    assert why(store, bundle) == (
        f"no plan for small on {HERE}: a sidecar there cannot be read (see: ascstream engine verify) --fp16"
    )


def test_a_folder_that_is_not_to_be_trusted_is_said_instead_of_searched(store: PlanStore, bundle: Bundle) -> None:
    store.store(plan_info(bundle), b"plan")
    store.folder.chmod(0o777)
    found = store.find(bundle, H100)
    assert found.plans is None
    assert found.why == (
        f"{store.folder}: a plan is code, so it is only taken from where nobody else may write: expected mode 700, "
        f"got 777; name another folder, or, if you trust what is in it, type: chmod 700 {store.folder}"
    )


def test_the_command_names_the_bundle_where_that_is_needed(tmp_path: Path) -> None:
    default = open_bundle(shipped()[DEFAULT])
    assert command_to_build("float16", default, None) == "trainer build-engine --fp16"
    other = Bundle(Path("/usr/lib/python3/ascstream/bundles/slim-audio"), default.manifest)
    assert command_to_build("float32", other, None) == "trainer build-engine slim-audio --fp32"
    copied = Bundle(Path("my bundles/slim-av"), default.manifest)
    assert command_to_build("int8", copied, Path("a b")) == (
        "trainer build-engine 'my bundles/slim-av' --int8 --out 'a b'"
    )
