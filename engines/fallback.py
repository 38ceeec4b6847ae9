"""Engines that switch to ONNX Runtime, together and permanently, when TensorRT fails in the middle of a stream.

A bundle's graphs switch together: a plan's embeddings differ slightly from ONNX Runtime's, and no window may mix the
two. Callers that cache embeddings must discard them when `Engines.fell_back` changes, as `Classifier` does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from engines.base import Array, Engine
from engines.errors import BackendError, EngineError, one_line


class Fallback:
    """Whether TensorRT has failed; one object is shared by all graphs of a bundle."""

    def __init__(self) -> None:
        self.why: str | None = None
        """What failed, as a sentence; None while nothing has."""

    def set(self, why: str) -> None:
        """Record that it failed; the first reason is kept."""
        if self.why is None:
            self.why = one_line(why)


class FallbackEngine(Engine):
    """Run the given engine until it, or that of another graph, fails; from then on run the one from `load`.

    Only a `BackendError` triggers the switch: feeds that do not fit are the caller's mistake and would not fit the
    other engine either.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine], fallback: Fallback) -> None:
        """Start with an engine.

        Args:
            engine: What runs at first; closed once it has failed.
            load: Loads the replacement; not called until it is needed.
            fallback: Shared by all graphs of a bundle.
        """
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine = engine
        self._load = load
        self._fallback = fallback
        self._spare: Engine | None = None
        self._calling = False

    def successor(self, fallback: Fallback) -> FallbackEngine:
        """Return an engine for the same graph that shares nothing with this one, one of whose calls may never return.

        Args:
            fallback: The new engine's own state, which already holds the reason for the switch.
        """
        return FallbackEngine(_Nothing(self), self._load, fallback)

    def close(self) -> None:
        """Release both engines; one with a hanging call is left alone, since freeing it would hang too, or crash."""
        super().close()
        if self._spare is not None:
            self._spare.close()
        self._retire()

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self._fallback.why is None:
            self._calling = True
            try:
                answers = self._engine.infer(feeds)
            except BackendError as error:
                self._fallback.set(str(error))
            else:
                self.backend = self._engine.backend  # may have found out meanwhile what its plan cannot do
                return answers
            finally:
                self._calling = False
        if self._spare is None:
            self._retire()
            self._spare = self._loaded()
            self.backend = self._spare.backend
        return self._spare.infer(feeds)

    def _loaded(self) -> Engine:
        try:
            return self._load()
        except EngineError as error:
            raise BackendError(f"{self._fallback.why}; and ONNX Runtime cannot stand in: {error}") from None

    def _retire(self) -> None:
        """Close the first engine, whatever state its library is in, unless a call to it is still running."""
        if not self._calling:
            with suppress(Exception):
                self._engine.close()


class _Nothing(Engine):
    """Placeholder for an engine that is never called."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:  # noqa: ARG002 - never called
        raise BackendError(f"{self.name}: expected an engine that answers, got one that was given up")
