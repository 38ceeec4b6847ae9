"""pycuda and cuda-bindings, the real ones, over the software driver: without a device, failing anywhere, at exit."""

from __future__ import annotations

import pytest
from support.cuda.child import Child

LIBRARIES = ("pycuda", "cuda-bindings")
NO_GPU = "CUDA: expected a GPU that NVIDIA's driver knows, got none; type: ascstream doctor"


@pytest.mark.parametrize("library", [*LIBRARIES, "auto"])
def test_without_a_device_there_is_a_sentence_and_no_crash(library: str) -> None:
    with Child(library, SOFTWARE_CUDA_DEVICES="0") as child:
        opened, plan, loaded, forced = child.ask("refuse")
    assert opened == NO_GPU
    assert plan == NO_GPU
    assert loaded == "scene: expected a GPU to load the plan on, got none; type: ascstream doctor"
    if library == "pycuda":
        assert forced == "CUDA could not open the device: cuInit failed: no CUDA-capable device is detected"
    if library == "cuda-bindings":
        assert forced == "CUDA could not start the driver: CUDA_ERROR_NO_DEVICE (100)"


def test_pycuda_is_taken_where_both_are_there() -> None:
    with Child("auto") as child:
        assert child.ask("open_cuda_name").startswith("pycuda ")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("code", [2, 719])
@pytest.mark.parametrize("integrated", ["0", "1"])
def test_a_failure_of_any_call_of_the_driver_leaves_nothing_behind(library: str, code: int, integrated: str) -> None:
    """Memory that runs out for a moment, and a context that is broken for good."""
    child = Child(library, SOFTWARE_CUDA_INTEGRATED=integrated)
    rows = child.ask("fail", code)
    said = child.end()
    assert said[0] == 0
    assert all(line.startswith("PyCUDA WARNING") or " failed: " in line for line in said[1].splitlines())
    called = {row["call"] for row in rows}
    assert {"cuInit", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemHostAlloc", "cuGraphLaunch"} <= called
    assert {"cuStreamBeginCapture_v2", "cuStreamQuery", "cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2"} <= called
    for row in rows:
        assert row["left"] == ({"retained": 1} if code == 2 else {}), row
        assert row["closed"], row
        assert row["error"] or row["right"] == 4, row
    closing = next(place for place, row in enumerate(rows) if row["call"] == "cuGraphExecDestroy")
    if code == 719:
        assert all(row["error"] for row in rows[: closing - 3])
    assert all(row["error"] == "" for row in rows[closing:])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_broken_context_is_given_up_without_a_word(library: str) -> None:
    with Child(library) as child:
        found = child.ask("fail", 719, "cuGraphLaunch")
    assert [row["right"] for row in found] == [1, 2, 3]
    assert {row["error"] for row in found} == {"scene: CUDA could not launch a graph: CUDA_ERROR_LAUNCH_FAILED (719)"}
    assert all(row["left"] == {} for row in found)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("close", [True, False])
def test_a_process_ends_well_with_an_engine_open_or_closed(library: str, close: bool) -> None:
    with Child(library) as child:
        assert child.ask("leave", close) == "left"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_thread_that_was_interrupted_in_the_context_does_not_end_the_process(library: str) -> None:
    with Child(library) as child:
        assert child.ask("interrupted") == {}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_thread_that_cannot_give_the_context_back_ends_well(library: str) -> None:
    with Child(library) as child:
        first, second, left = child.ask("stay")
    assert first == second
    assert first.startswith("scene: CUDA could not give the context back: ")
    assert left == "{}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_failure_can_be_asked_for_from_outside(library: str) -> None:
    with Child(library, SOFTWARE_CUDA_FAIL="cuStreamQuery:2:700") as child:
        message, left = child.ask("use")
    assert message.startswith("scene: CUDA could not wait for the device: ")
    assert left == {}
