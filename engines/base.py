"""The engine interface: named arrays in, named arrays out. Backends implement `_infer`; `backends.py` picks one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.errors import BackendError, FeedError

Array: TypeAlias = NDArray[Any]
EngineT = TypeVar("EngineT", bound="Engine")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph."""

    name: str
    """Name in the graph."""
    dtype: str
    """NumPy's name of the element type: "float32"."""
    shape: tuple[int | str | None, ...]
    """One entry per axis: a number where the graph fixes it, a name where axes must agree, None where it is free."""

    def __str__(self) -> str:
        axes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} [{axes}]"


class Engine(ABC):
    """A loaded graph, ready to run. Use as a context manager, or close explicitly; one thread at a time.

    An engine keeps no state between calls: equal feeds give equal answers.
    """

    def __init__(
        self, name: str, backend: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
    ) -> None:
        """Set the graph's name, backend, inputs and outputs.

        Args:
            name: What error messages call the graph: "scene".
            backend: What runs it and how: "onnxruntime 1.31.1 CPU, float32, 1 thread".
            inputs: Name to spec.
            outputs: Name to spec.
        """
        self.name = name
        self.backend = backend
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        self._closed = False

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Args:
            feeds: An array for every input, of its dtype, rank and fixed sizes; copied if it is not contiguous. Never
                written to.

        Returns:
            An array for every output. They belong to the caller: later calls do not touch them.

        Raises:
            FeedError: The feeds do not fit the inputs; the message names the first one that does not.
            BackendError: The engine is closed, or its backend failed.
        """
        if self._closed:
            raise BackendError(f"{self.name}: expected an open engine, got one that was closed")
        return self._infer(self._checked(feeds))

    def close(self) -> None:
        """Release the backend's memory; may be called twice."""
        self._closed = True

    def __enter__(self: EngineT) -> EngineT:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def _infer(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run the graph on contiguous feeds that are known to fit."""

    def _checked(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the feeds, contiguous and in the order of the inputs, or raise a FeedError."""
        if feeds.keys() != self.inputs.keys():
            wanted, got = (", ".join(sorted(names)) or "nothing" for names in (self.inputs, feeds))
            raise FeedError(f"{self.name}: expected the inputs {wanted}; got {got}")
        named: dict[str, tuple[str, int]] = {}
        checked: dict[str, Array] = {}
        for name, spec in self.inputs.items():
            array = feeds[name]
            if not isinstance(array, np.ndarray):
                raise FeedError(f"{name}: expected {spec}, got a {type(array).__name__}")
            fits = array.dtype == spec.dtype and array.ndim == len(spec.shape) and array.size > 0
            if not fits or any(
                isinstance(wanted, int) and wanted != size for wanted, size in zip(spec.shape, array.shape, strict=True)
            ):
                raise FeedError(f"{name}: expected {spec}, got {array.dtype} {list(array.shape)}")
            for axis, size in zip(spec.shape, array.shape, strict=True):
                if isinstance(axis, str):
                    other, known = named.setdefault(axis, (name, size))
                    if size != known:
                        raise FeedError(f"{name}: expected {axis} = {known} as in {other}, got {list(array.shape)}")
            checked[name] = np.ascontiguousarray(array)
        return checked
