"""Engines that go over to ONNX Runtime, together and for good, when TensorRT fails in the middle of a stream.

A bundle's graphs go over together: an embedding that a plan gave differs a little from ONNX Runtime's, and no window is
judged by both. Whoever keeps embeddings forgets them when `Engines.fell_back` changes, as `Classifier` does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from engines.base import Array, Engine
from engines.errors import BackendError, EngineError, one_line


class Fallback:
    """Whether TensorRT has failed: one object for all graphs of a bundle."""

    def __init__(self) -> None:
        self.why: str | None = None
        """What failed, in a sentence; None while nothing has."""

    def set(self, why: str) -> None:
        """Note that it failed; the first reason stays."""
        if self.why is None:
            self.why = one_line(why)


class FallbackEngine(Engine):
    """Another engine until it fails, or another graph's did; from then on the one that `load` gives.

    Only a `BackendError` counts: feeds that do not fit are the caller's mistake, and would not fit the other either.
    """

    def __init__(self, engine: Engine, load: Callable[[], Engine], fallback: Fallback) -> None:
        """Begin with an engine.

        Args:
            engine: What runs at first; closed when it has failed.
            load: Loads what runs afterwards; not called before.
            fallback: Shared by all graphs of a bundle.
        """
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
        self._engine = engine
        self._load = load
        self._fallback = fallback
        self._spare: Engine | None = None
        self._calling = False

    def successor(self, fallback: Fallback) -> FallbackEngine:
        """An engine of the same graph that shares nothing with this one, a call of which may never return.

        Args:
            fallback: Its own, which says already why.
        """
        return FallbackEngine(_Nothing(self), self._load, fallback)

    def close(self) -> None:
        """Give both back; what a call hangs in is left alone, since to free it would hang as well, or crash."""
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
                self.backend = self._engine.backend  # which may have learnt what its plan cannot do
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
        """Close the first engine, whatever state its library is in."""
        if not self._calling:
            with suppress(Exception):
                self._engine.close()


class _Nothing(Engine):
    """The place of an engine that is never asked."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)

    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:  # noqa: ARG002 - nobody asks
        raise BackendError(f"{self.name}: expected an engine that answers, got one that was given up")
