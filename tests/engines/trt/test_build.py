"""Plans from a builder that stands in at its command: proven, stored once, refused in words, never half there."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest
from support import building, bundles, ort_builder
from support.stand_in_builder import MACHINE, command
from support.waiting import until

from engines.bundle import Bundle, open_bundle
from engines.errors import BackendError, BundleError, ParityError
from engines.manifest import Tolerance
from engines.trt.build import build_plans, check_memory, explain, run_plan
from engines.trt.builder import BuildProgress
from engines.trt.plans import PlanStore
from engines.trt.records import Machine, PlanInfo, Profile


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(bundles.mono_logmel(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


def build(bundle: Bundle, store: PlanStore, mode: str = "good", **options: object) -> tuple[PlanInfo, ...]:
    log = store.folder.parent / "starts"
    words = command(bundle.path / "golden.npz", mode, log=log)
    given = {"store": store, "machine": MACHINE, "build_command": words, **options}
    return build_plans(bundle, given.pop("precision", "float32"), **given)  # type: ignore[arg-type]


def starts(store: PlanStore) -> int:
    """How often a builder was started."""
    log = store.folder.parent / "starts"
    return len(log.read_text().split()) if log.exists() else 0


def files(store: PlanStore) -> list[str]:
    """What is stored besides timings and locks."""
    return sorted(path.suffix for path in store.folder.glob("*") if path.suffix in (".json", ".plan", ".partial"))


def test_a_plan_is_built_proven_and_found(bundle: Bundle, store: PlanStore) -> None:
    seen: list[BuildProgress] = []
    (info,) = build(bundle, store, on_progress=seen.append)
    graph = bundle.manifest.files["scene.onnx"].sha256
    assert (info.key.graph, info.key.reference, info.key.typed) == ("scene", graph, graph)
    assert info.key.profiles == (Profile(1, 1, 1), Profile(2, 8, 8))
    assert (info.key.tensorrt, info.key.device, info.key.l4t, info.driver) == ("10.3.0", "Invented", "36.4", "540.4")
    (parity,) = info.parity
    assert (parity.output, parity.max_difference, parity.tolerance, parity.agreement) == ("scene/fused", 0.0, 1e-4, 1.0)
    assert [(entry.batch, entry.p50_seconds) for entry in info.latency] == [(1, 0.001), (8, 0.001)]
    assert (info.build_seconds, info.memory_bytes, info.bundle) == (12.5, 3 << 20, "mono_logmel 1.0.0")
    assert info.settings == {"effort": 3, "workspace_bytes": 1 << 30}
    assert store.read(info) == b"plan of " + hashlib.sha256(bundle.read("scene.onnx")).digest()
    assert store.find(bundle, MACHINE).plans == {"scene": info}
    told = [(one.graph, one.precision, one.phase, one.fraction) for one in seen if one.phase != "starting"]
    assert set(told) == {("scene", "float32", "tactics", 0.25)}


def test_every_graph_of_a_bundle(tmp_path: Path, store: PlanStore) -> None:
    bundle = open_bundle(bundles.audio_visual(tmp_path))
    infos = build(bundle, store)
    assert [info.key.graph for info in infos] == ["scene", "frame"]
    assert [[entry.output for entry in info.parity] for info in infos] == [
        ["scene/fused", "scene/audio", "scene/video"],
        ["frame/embedding"],
    ]
    assert store.find(bundle, MACHINE).plans == {"scene": infos[0], "frame": infos[1]}


def test_what_is_there_is_not_built_again(bundle: Bundle, store: PlanStore) -> None:
    first = build(bundle, store)
    assert build(bundle, store, "killed") == first
    assert starts(store) == 1
    assert build(bundle, store, force=True)[0].key == first[0].key
    assert starts(store) == 2


def test_what_was_altered_is_built_again(bundle: Bundle, store: PlanStore) -> None:
    (info,) = build(bundle, store)
    (store.folder / info.plan).write_bytes(b"x" * info.size)
    (again,) = build(bundle, store)
    assert starts(store) == 2
    assert store.read(again) == store.read(info)


def test_other_batches_are_another_plan(bundle: Bundle, store: PlanStore) -> None:
    build(bundle, store)
    (info,) = build(bundle, store, batches=(4,))
    assert info.key.profiles == (Profile(1, 4, 4),)
    assert starts(store) == 2
    with pytest.raises(BackendError, match=r"batches: expected sizes of at least 1, got \[0\]"):
        build(bundle, store, batches=(0,))


def test_typed_graphs_are_part_of_the_key(bundle: Bundle, store: PlanStore) -> None:
    with pytest.raises(BundleError) as caught:
        build(bundle, store, precision="float16")
    assert str(caught.value) == (
        "bundle mono_logmel: expected its scene graph in float16, got float32 only; "
        "give a typed graph, or export the bundle with one"
    )
    typed = bundle.read("scene.onnx")
    (info,) = build(bundle, store, "nearly", precision="float16", typed={"scene": typed})
    assert info.key.precision == "float16"
    assert info.parity[0].max_difference == pytest.approx(0.01, abs=1e-5)
    assert info.parity[0].tolerance == 0.05
    with pytest.raises(BundleError, match="expected typed graphs of all of the bundle's, got none of 'scene'"):
        build(bundle, store, typed={})
    with pytest.raises(BackendError, match="scene: expected an ONNX graph, got bytes that are none"):
        build(bundle, store, typed={"scene": b"\xff\xff"})


def test_timings_go_from_build_to_build(bundle: Bundle, store: PlanStore) -> None:
    build(bundle, store)
    assert store.timing_cache(MACHINE) == b"t"
    build(bundle, store, force=True)
    assert store.timing_cache(MACHINE) == b"tt"


@pytest.mark.parametrize(("mode", "got"), [("wrong", "0.25"), ("nan", "NaN or infinity")])
def test_answers_that_are_wrong(mode: str, got: str, bundle: Bundle, store: PlanStore) -> None:
    with pytest.raises(ParityError) as caught:
        build(bundle, store, mode)
    assert str(caught.value) == (
        "mono_logmel 1.0.0 on TensorRT 10.3.0, Invented: expected answers within 0.0001 of the golden ones, "
        f"got {got} in scene/fused: the plan is refused; to see where it goes wrong, "
        f"type: trainer build-engine {bundle.path} --fp32 --explain"
    )
    assert files(store) == []
    assert store.timing_cache(MACHINE) == b"t"  # what was measured is not wrong


def test_the_manifest_says_what_is_close_enough(tmp_path: Path, store: PlanStore) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path, tolerance=Tolerance(logits=0.3)))
    (info,) = build(bundle, store, "wrong")
    assert info.parity[0].max_difference == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no report", "builder: expected a report of what was built, got: "),
        ("bad report", "builder: expected a report of what was built, got: tensorrt: expected a version, got 10"),
        ("no plan", "scene: expected a plan of the builder, got: No such file or directory"),
        ("empty plan", "scene: expected a plan of the builder, got an empty file; build it again"),
        ("no answers", "builder: expected arrays in answers.npz, got: No such file or directory"),
        ("cut answers", "builder: expected arrays in answers.npz, got: "),
        ("another output", "scene: expected answers [8, 10] in fused, got nothing"),
        ("narrow", "scene: expected answers [8, 10] in fused, got [8, 9]"),
        ("short", "scene: expected 8 float32 answers a case each in fused, got float32 [7, 10]"),
        ("doubles", "scene: expected 8 float32 answers a case each in fused, got float64 [8, 10]"),
        (
            "other device",
            "scene: expected a builder on Invented (8.7) with TensorRT 10.3.0, got one on NVIDIA H100 (9.0) "
            "with TensorRT 10.3.0; look what this machine has: ascstream doctor",
        ),
        (
            "other TensorRT",
            "scene: expected a builder on Invented (8.7) with TensorRT 10.3.0, got one on Invented (8.7) "
            "with TensorRT 10.13.2; look what this machine has: ascstream doctor",
        ),
        ("full", "OSError: [Errno 28] No space left on device"),
        ("killed", "scene: the builder was killed (signal 9): probably memory ran out, "),
    ],
)
def test_what_a_builder_may_do_wrong(mode: str, message: str, bundle: Bundle, store: PlanStore) -> None:
    with pytest.raises(BackendError) as caught:
        build(bundle, store, mode)
    assert message in str(caught.value)
    assert files(store) == []


@pytest.mark.slow
def test_what_a_failed_build_replaces_stays(bundle: Bundle, store: PlanStore) -> None:
    (info,) = build(bundle, store)
    for mode in ("killed", "wrong", "no report"):
        with pytest.raises((BackendError, ParityError)):
            build(bundle, store, mode, force=True)
    assert store.find(bundle, MACHINE).plans == {"scene": info}


def test_a_bundle_without_golden_cases(tmp_path: Path, store: PlanStore) -> None:
    bundle = open_bundle(bundles.mono_logmel(tmp_path, golden=None))
    with pytest.raises(BundleError, match="expected golden cases to compare with, got a bundle without"):
        build(bundle, store)


@pytest.mark.slow
def test_a_plan_is_proven_again(bundle: Bundle, store: PlanStore) -> None:
    (info,) = build(bundle, store)
    device = MACHINE.device
    newer = Machine(type(device)(device.name, device.compute_capability, True, 8 << 30, "560.1", "36.4"), "10.3.0")
    words = command(bundle.path / "golden.npz")
    again = run_plan(bundle, info, store.read(info), machine=newer, build_command=words)
    assert again.driver == "560.1"
    assert again.latency == info.latency  # nothing was timed: what was measured stays
    assert (again.sha256, again.parity) == (info.sha256, info.parity)
    store.update(again)
    assert store.find(bundle, newer).plans == {"scene": again}
    wrong = command(bundle.path / "golden.npz", "wrong")
    with pytest.raises(ParityError, match=r"got 0\.25 in scene/fused"):
        run_plan(bundle, info, store.read(info), machine=newer, build_command=wrong)
    words = command(bundle.path / "golden.npz", "other device")
    with pytest.raises(BackendError, match="got one on NVIDIA H100"):
        run_plan(bundle, info, store.read(info), machine=newer, build_command=words)


def test_two_processes_build_one_plan(bundle: Bundle, store: PlanStore, tmp_path: Path) -> None:
    log, go = tmp_path / "starts", tmp_path / "go"
    words = command(bundle.path / "golden.npz", log=log, until=go)
    first = building.start(bundle.path, store.folder, words, tmp_path / "temporary")
    until(log.exists)  # it holds the lock, and its name is in it
    second = building.start(bundle.path, store.folder, words, tmp_path / "temporary")
    assert second.stderr is not None
    said = second.stderr.readline()
    go.touch()
    answers = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert f"waiting for process {first.pid}, which builds the same plan: scene, float32" in said
    assert "waiting" not in answers[0][1]
    assert starts(store) == 1
    assert answers[0][0] == answers[1][0] != ""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_parent_that_ends_leaves_no_child_and_no_file(
    how: signal.Signals, bundle: Bundle, store: PlanStore, tmp_path: Path
) -> None:
    log = tmp_path / "starts"
    words = command(bundle.path / "golden.npz", "hangs", log=log)
    process = building.start(bundle.path, store.folder, words, tmp_path / "temporary")
    until(lambda: list((tmp_path / "temporary").glob("*/plan")))
    child = int(log.read_text())
    assert building.alive(child)
    assert os.getsid(child) == child  # Ctrl-C on a terminal reaches the parent alone
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == -how
    until(lambda: not building.alive(child))
    until(lambda: not list((tmp_path / "temporary").iterdir()))
    assert files(store) == []
    build(bundle, store)  # whoever comes next is not kept waiting


def test_a_child_that_is_killed(bundle: Bundle, store: PlanStore, tmp_path: Path) -> None:
    log = tmp_path / "starts"
    words = command(bundle.path / "golden.npz", "hangs", log=log)
    process = building.start(bundle.path, store.folder, words, tmp_path / "temporary")
    until(lambda: list((tmp_path / "temporary").glob("*/plan")))
    os.kill(int(log.read_text()), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "scene: the builder was killed (signal 9): probably memory ran out" in errors
    assert "type --effort 1, or --workspace 256, close other programs, or add swap: sudo fallocate" in errors
    assert list((tmp_path / "temporary").iterdir()) == []
    assert files(store) == []


def test_too_little_memory_is_said_before() -> None:
    check_memory("scene", 100 << 20, 4 << 30)
    check_memory("scene", 100 << 20, None)
    with pytest.raises(BackendError) as caught:
        check_memory("scene", 100 << 20, 1 << 30)
    assert str(caught.value).startswith(
        "scene: expected about 1.5 GB of free memory to build it with, got 1.1 GB; close other programs, or add swap: "
    )


@pytest.mark.slow
def test_a_refused_plan_is_explained(bundle: Bundle) -> None:
    """The builder's stand-in runs the opened graph by ONNX Runtime, as TensorRT would on a device."""
    graph = bundle.read("scene.onnx")
    wrong = bundles.scene_graph(bundle.manifest.inputs, bundle.manifest.outputs, bundle.manifest.window, bias=9.0)
    found = explain(
        bundle, "float16", machine=ort_builder.MACHINE, typed={"scene": wrong}, build_command=ort_builder.command()
    )
    assert [one.tensor for one in found["scene"].first] == ["fused"]
    assert found["scene"].first[0].operator == "Sum"
    same = {"scene": graph}
    found = explain(bundle, "float16", machine=ort_builder.MACHINE, typed=same, build_command=ort_builder.command())
    assert found["scene"].first == ()
    with pytest.raises(BackendError, match="expected a builder on Invented"):
        explain(bundle, "float32", machine=MACHINE, build_command=ort_builder.command())
