"""The engine contract, on an engine that does nothing but keep what it was given."""

from __future__ import annotations

import numpy as np
import pytest

from engines.base import Array, Engine, TensorSpec
from engines.errors import BackendError, EngineError, FeedError


class Echo(Engine):
    """Answers with its feeds."""

    def __init__(self) -> None:
        inputs = {
            "sound": TensorSpec("sound", "float32", ("n", 1, 64, 48)),
            "flags": TensorSpec("flags", "float32", ("n", None)),
        }
        super().__init__("scene", "echo 1.0 CPU", inputs, inputs)
        self.given: dict[str, Array] = {}

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        self.given = feeds
        return {name: array.copy() for name, array in feeds.items()}


def feeds(n: int = 2, **changes: object) -> dict[str, object]:
    given: dict[str, object] = {
        "sound": np.ones((n, 1, 64, 48), np.float32),
        "flags": np.ones((n, 2), np.float32),
    }
    return given | changes


@pytest.mark.parametrize("n", [1, 2, 5])
def test_feeds_that_fit_go_through(n: int) -> None:
    with Echo() as engine:
        answers = engine.infer(feeds(n))
        assert list(answers) == ["sound", "flags"]
        assert answers["sound"].shape == (n, 1, 64, 48)


def test_arrays_are_made_contiguous_in_the_order_of_the_inputs() -> None:
    wide = np.arange(2 * 64 * 96, dtype=np.float32).reshape(2, 1, 64, 96)
    engine = Echo()
    given = feeds()
    engine.infer({"flags": given["flags"], "sound": wide[..., ::2]})
    assert list(engine.given) == ["sound", "flags"]
    assert engine.given["sound"].flags.c_contiguous
    np.testing.assert_array_equal(engine.given["sound"], wide[..., ::2])


def test_a_contiguous_array_is_not_copied() -> None:
    engine = Echo()
    given = feeds()
    engine.infer(given)
    assert engine.given["sound"] is given["sound"]


SOUND = "expected float32 [n, 1, 64, 48], got"
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "type and rank": (feeds(sound=np.ones((1, 64, 48))), f"sound: {SOUND} float64 [1, 64, 48]"),
    "type": (feeds(sound=np.ones((2, 1, 64, 48), np.float16)), f"sound: {SOUND} float16 [2, 1, 64, 48]"),
    "byte order": (feeds(sound=np.ones((2, 1, 64, 48), ">f4")), f"sound: {SOUND} >f4 [2, 1, 64, 48]"),
    "rank": (feeds(sound=np.ones((64, 48), np.float32)), f"sound: {SOUND} float32 [64, 48]"),
    "size": (feeds(sound=np.ones((2, 1, 64, 49), np.float32)), f"sound: {SOUND} float32 [2, 1, 64, 49]"),
    "empty": (feeds(0), f"sound: {SOUND} float32 [0, 1, 64, 48]"),
    "no array": (feeds(sound=[1.0]), f"sound: {SOUND} a list"),
    "another n": (feeds(flags=np.ones((3, 2), np.float32)), "flags: expected n = 2 as in sound, got [3, 2]"),
    "free axis, wrong rank": (
        feeds(flags=np.ones(2, np.float32)),
        "flags: expected float32 [n, ?], got float32 [2]",
    ),
    "missing": ({"sound": feeds()["sound"]}, "scene: expected the inputs flags, sound; got sound"),
    "unknown": (feeds(more=1), "scene: expected the inputs flags, sound; got flags, more, sound"),
    "nothing": ({}, "scene: expected the inputs flags, sound; got nothing"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_feeds_that_do_not_fit_are_refused_by_name(given: dict[str, object], message: str) -> None:
    engine = Echo()
    with pytest.raises(FeedError) as caught:
        engine.infer(given)  # type: ignore[arg-type]
    assert str(caught.value) == message
    assert engine.given == {}


def test_an_engine_that_was_closed_is_not_used() -> None:
    engine = Echo()
    with engine as entered:
        assert entered is engine
    engine.close()
    with pytest.raises(BackendError) as caught:
        engine.infer(feeds())
    assert str(caught.value) == "scene: expected an open engine, got one that was closed"


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(FeedError, ValueError)
    assert issubclass(BackendError, RuntimeError)
    assert issubclass(FeedError, EngineError)
    assert issubclass(BackendError, EngineError)
