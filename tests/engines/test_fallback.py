"""Going over from one engine to another: when, together, once, and what stays closed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from support import bundles
from support.stand_in import DEAD, StandIn, build, fails_from

from engines.backends import Engines, load_engines
from engines.base import Array, Engine, TensorSpec
from engines.bundle import Bundle, open_bundle
from engines.check import golden_of
from engines.errors import BackendError, BundleError, FeedError
from engines.fallback import Fallback, FallbackEngine

SPEC = TensorSpec("x", "float32", ("n", 2))
FEEDS = {"x": np.ones((1, 2), np.float32)}


class Adds(Engine):
    """Adds a number, or raises."""

    def __init__(self, number: float | Exception, name: str = "scene") -> None:
        super().__init__(name, f"adds {number}", {"x": SPEC}, {"y": SPEC})
        self.number = number
        self.n_calls = self.n_closed = 0

    def close(self) -> None:
        super().close()
        self.n_closed += 1

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self.n_calls += 1
        if isinstance(self.number, Exception):
            raise self.number
        return {"y": feeds["x"] + np.float32(self.number)}


def test_the_first_engine_answers_while_it_can() -> None:
    first, fallback = Adds(1), Fallback()
    with FallbackEngine(first, lambda: pytest.fail("loaded"), fallback) as engine:
        assert engine.infer(FEEDS)["y"].tolist() == [[2, 2]]
        assert (engine.backend, fallback.why) == ("adds 1", None)
    assert first.n_closed == 1


def test_a_failure_is_answered_by_the_other_one_in_the_same_call_and_for_good() -> None:
    first, spare, fallback = Adds(BackendError("the GPU is gone\x1b[2J")), Adds(2), Fallback()
    engine = FallbackEngine(first, lambda: spare, fallback)
    for _ in range(3):
        assert engine.infer(FEEDS)["y"].tolist() == [[3, 3]]
    assert (first.n_calls, first.n_closed, spare.n_calls) == (1, 1, 3)
    assert engine.backend == "adds 2"
    assert fallback.why == "the GPU is gone\N{REPLACEMENT CHARACTER}[2J"
    engine.close()
    engine.close()
    assert spare.n_closed == 2
    with pytest.raises(BackendError, match="got one that was closed"):
        engine.infer(FEEDS)


@pytest.mark.parametrize("error", [FeedError("x: expected another shape"), ZeroDivisionError("a bug")])
def test_what_is_no_failure_of_the_backend_changes_nothing(error: Exception) -> None:
    fallback = Fallback()
    engine = FallbackEngine(Adds(error), lambda: pytest.fail("loaded"), fallback)
    with pytest.raises(type(error)):
        engine.infer(FEEDS)
    with pytest.raises(FeedError):
        engine.infer({"z": FEEDS["x"]})
    assert fallback.why is None


def test_engines_that_share_a_fallback_go_over_together() -> None:
    fallback, healthy = Fallback(), Adds(1, "frame")
    scene = FallbackEngine(Adds(BackendError("dead")), lambda: Adds(2), fallback)
    frame = FallbackEngine(healthy, lambda: Adds(3, "frame"), fallback)
    scene.infer(FEEDS)
    assert frame.infer(FEEDS)["y"].tolist() == [[4, 4]]
    assert (healthy.n_calls, healthy.n_closed) == (0, 1)


def test_a_spare_that_cannot_be_loaded_says_both() -> None:
    def load() -> Engine:
        raise BundleError("scene.onnx: the file was altered")

    engine = FallbackEngine(Adds(BackendError("the GPU is gone")), load, Fallback())
    for _ in range(2):  # and goes on saying so
        with pytest.raises(BackendError) as caught:
            engine.infer(FEEDS)
        message = "the GPU is gone; and ONNX Runtime cannot stand in: scene.onnx: the file was altered"
        assert str(caught.value) == message


def test_one_that_fails_to_close_is_left() -> None:
    class Stuck(Adds):
        def close(self) -> None:
            raise RuntimeError("cuCtxPopCurrent failed: context is destroyed")

    engine = FallbackEngine(Stuck(BackendError("dead")), lambda: Adds(2), Fallback())
    assert engine.infer(FEEDS)["y"].tolist() == [[3, 3]]
    engine.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(bundles.audio_visual(tmp_path))


def test_engines_whose_call_hangs_are_given_up_for_others(bundle: Bundle, tmp_path: Path) -> None:
    hung, go_on = threading.Event(), threading.Event()

    def hang(graph: str, n: int) -> None:
        hung.set()
        assert go_on.wait(20)

    build(bundle, tmp_path / "plans")
    tensorrt = StandIn(trouble=hang)
    cases = golden_of(bundle)["scene"]
    engines = load_engines(bundle, plans=tmp_path / "plans", tensorrt=tensorrt)
    thread = threading.Thread(target=engines.scene.infer, args=(cases.feeds,))
    thread.start()
    assert hung.wait(20)
    try:
        others = engines.abandon("no answer for 2.0 s")
        assert others is not None
        assert others.fell_back == engines.fell_back == "no answer for 2.0 s"
        with others:
            np.testing.assert_allclose(others.scene.infer(cases.feeds)["fused"], cases.answers["fused"], atol=1e-4)
            assert others.abandon("again") is None
        engines.close()  # does not touch what hangs
        assert [engine.closed for engine in tensorrt.engines] == [False, True]
    finally:
        go_on.set()
        thread.join(20)


def test_there_is_nothing_to_give_up_where_onnx_runtime_runs(bundle: Bundle) -> None:
    with load_engines(bundle, backend="onnxruntime") as engines:
        assert engines.abandon("slow") is None
        assert Engines(engines.scene, None, "float32").fell_back is None


def test_the_first_reason_is_kept(bundle: Bundle, tmp_path: Path) -> None:
    build(bundle, tmp_path / "plans")
    with load_engines(bundle, plans=tmp_path / "plans", tensorrt=StandIn(trouble=fails_from(0))) as engines:
        engines.scene.infer(golden_of(bundle)["scene"].feeds)
        assert engines.frame is not None
        engines.frame.infer(golden_of(bundle)["frame"].feeds)
        assert engines.fell_back == DEAD
