"""The engine over the software driver: real pycuda and cuda-bindings, a plan whose kernels run on the processor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cuda.child import Child

KINDS = {
    "pycuda": ("pycuda", {}),
    "cuda-bindings": ("cuda-bindings", {}),
    "pycuda, integrated": ("pycuda", {"SOFTWARE_CUDA_INTEGRATED": "1"}),
    "cuda-bindings, integrated": ("cuda-bindings", {"SOFTWARE_CUDA_INTEGRATED": "1"}),
    "pycuda, busy": ("pycuda", {"SOFTWARE_CUDA_BUSY": "1000000"}),
    "cuda-bindings, busy": ("cuda-bindings", {"SOFTWARE_CUDA_BUSY": "1000000"}),
}
"""Integrated: nothing is copied. Busy: not done before whoever waits has gone to sleep."""


@pytest.fixture(scope="module", params=KINDS)
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    library, driver = KINDS[request.param]
    with Child(library, **driver) as child:
        yield child


def test_an_engine_says_what_it_is(child: Child) -> None:
    found = child.ask("describe")
    with_graphs, without, library, memory_bytes, n_layers = found["said"]
    assert with_graphs == "TensorRT 0.0, Software, float16, CUDA graphs"
    assert without == "TensorRT 0.0, Software, float16, no CUDA graphs"
    assert library.split()[0] in ("pycuda", "cuda-bindings")
    assert (memory_bytes, n_layers) == (12345, 2)
    assert found["shapes"]["wide"] == "float32 [n, 3, 4]"
    assert found["shapes"]["copied"] == "int64 [n, 2]"


def test_executors_are_closed_before_their_plan_and_nothing_is_left(child: Child) -> None:
    found = child.ask("describe")
    assert found["closed"] == ["executor 0", "executor 1", "plan"]
    assert found["left"] == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.sampled_from([1, 1, 1, 2, 7, 8, 8, 8, 9, 17, 24, 31]), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
)
def test_answers_are_right_bit_for_bit_in_any_order_of_batches(child: Child, batches: list[int], seed: int) -> None:
    assert child.ask("answer", batches, seed) == {"right": True, "left": {}}


def test_answers_belong_to_the_caller(child: Child) -> None:
    assert child.ask("keep") is True


def test_ten_thousand_inferences_allocate_nothing(child: Child) -> None:
    n = 200 if child.busy else 10_000
    found = child.ask("repeat", n)
    assert found["after"] == found["before"]
    assert (found["before"][0] == 0) == child.integrated, "memory of the device's own"
    assert found["launches"] == n
    assert found["right"]


def test_a_batch_that_comes_twice_is_recorded_and_another_one_anew(child: Child) -> None:
    made_and_launched = child.ask("capture", [1, 1, 1, 8, 1, 8, 8, 3, 3, 3])
    assert made_and_launched == [[0, 0], [1, 1], [1, 2], [1, 2], [1, 3], [2, 4], [2, 5], [2, 5], [3, 6], [3, 7]]


def test_an_engine_that_was_warmed_up_launches_what_is_recorded_from_its_first_call_on(child: Child) -> None:
    assert child.ask("warm") == [2, 2, 2]


def test_after_a_failure_and_an_interruption_the_next_call_is_right(child: Child) -> None:
    found = child.ask("recover")
    assert all(found["before"] + found["after"])
    failed, interrupted, closed = found["messages"]
    assert failed == "scene: CUDA could not launch a graph: CUDA_ERROR_OUT_OF_MEMORY (2)"
    assert interrupted == "interrupted, 0 queued"
    assert closed == "scene: expected an open engine, got one that was closed"
    assert found["left"] == {}


def test_a_plan_that_cannot_be_recorded_runs_and_says_so(child: Child) -> None:
    found = child.ask("unrecordable")
    assert found["right"] == [True] * 4
    assert found["backend"] == "TensorRT 0.0, Software, float16, no CUDA graphs: this plan cannot be recorded"


def test_a_batch_that_no_profile_holds_is_refused(child: Child) -> None:
    assert child.ask("hole") == "scene: expected a batch of one of the sizes [1, 4, 5], got 2"


def test_feeds_are_checked_whatever_came_before(child: Child) -> None:
    assert child.ask("misfits") == [
        "scene: expected the inputs codes, narrow, wide; got nothing",
        "scene: expected the inputs codes, narrow, wide; got narrow, wide",
        "wide: expected float32 [n, 3, 4], got float64 [1, 3, 4]",
        "wide: expected float32 [n, 3, 4], got float32 [1, 4, 3]",
        "narrow: expected n = 1 as in wide, got [2, 5]",
        "wide: expected float32 [n, 3, 4], got a list",
        "right",
    ]


def test_opened_used_and_closed_in_different_threads(child: Child) -> None:
    found = child.ask("threads")
    assert found == {"right": [True] * 12, "seen": [0, 0], "left": {}}


def test_a_second_thread_is_refused_and_a_close_waits_for_the_call(child: Child) -> None:
    found = child.ask("together")
    assert found["right"] == [True]
    assert found["message"] == "scene: expected one thread at a time, got a second while the first still waits"
    assert found["retained"] == 1
    assert found["closed"] == ["executor 0", "executor 1", "plan"]
    assert found["left"] == {}


def test_another_user_of_the_device_keeps_its_context(child: Child) -> None:
    found = child.ask("beside")
    assert found == {"right": [True] * 3, "seen": [1, 1, 1], "free": True, "left": {}}


def test_an_engine_that_nobody_closed_is_closed_when_it_is_collected(child: Child) -> None:
    assert child.ask("drop") == {"closed": ["executor 0", "executor 1", "plan"], "left": {}}
