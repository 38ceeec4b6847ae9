"""The graphs that plans are built from: the bundle's own in a precision, or converted from its float32 graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from engines.base import Array
from engines.bundle import Bundle
from engines.check import N_CASES, read_golden
from engines.errors import BackendError, BundleError
from engines.manifest import GraphName, Precision


class Feeds(Protocol):
    """Provides graph inputs on which int8 ranges are measured."""

    def of(self, graph: GraphName) -> Iterator[Mapping[str, Array]]:
        """Yield that graph's inputs, call by call."""
        ...


@dataclass(frozen=True, slots=True)
class Typed:
    """A bundle's graphs in one precision."""

    precision: Precision
    """The precision."""
    graphs: Mapping[GraphName, bytes]
    """Every graph of the bundle; one that cannot be converted is still float32."""
    origin: str
    """Where the graphs come from, in words."""


class GoldenFeeds:
    """The golden inputs of a bundle, one case at a time: few, but usually available."""

    def __init__(self, bundle: Bundle) -> None:
        """Read the golden inputs.

        Raises:
            BundleError: The bundle has none.
        """
        if bundle.manifest.golden is None:
            raise BundleError(
                f"{bundle.path}: expected golden inputs to measure ranges on, got none; type: --calibrate DATA"
            )
        self._golden = read_golden(bundle.read(bundle.manifest.golden), bundle.manifest)

    def of(self, graph: GraphName) -> Iterator[Mapping[str, Array]]:
        """Yield the graph's golden inputs, one case at a time."""
        feeds = self._golden[graph].feeds
        for case in range(N_CASES):
            yield {name: array[case : case + 1] for name, array in feeds.items()}


def typed_graphs(
    bundle: Bundle, precision: Precision, feeds: Feeds | None = None, say: Callable[[str], None] = lambda _: None
) -> Typed:
    """Return a bundle's graphs in a precision.

    Args:
        bundle: The bundle.
        precision: The precision.
        feeds: Inputs to measure int8 ranges on, even if the bundle has int8 graphs; None: use the bundle's int8 graphs,
            or if it has none, its golden inputs.
        say: Called with sentences the user should see.

    Raises:
        BundleError: A graph is missing or altered.
        BackendError: None of the graphs can be converted, or a package is not installed.
    """
    specs = bundle.manifest.graphs
    measured = precision == "int8" and feeds is not None
    if not measured and all(precision in spec.files for spec in specs):
        return Typed(precision, {spec.name: bundle.read(spec.files[precision]) for spec in specs}, "the bundle's own")
    _need_onnx(bundle, precision)
    from engines.precision import to_float16, to_int8

    origin = "made from float32"
    if precision == "int8" and feeds is None:
        feeds = GoldenFeeds(bundle)
        origin = f"made from float32, ranges of {N_CASES} golden inputs"
        say(
            f"int8: its ranges come from the bundle's {N_CASES} golden inputs, which is few; "
            "for ranges of what it will hear and see, type: --calibrate DATA"
        )
    elif measured:
        origin = "made from float32, ranges of the recordings named"
    made: dict[GraphName, bytes] = {}
    refused: list[BackendError] = []
    for spec in specs:
        if "float32" not in spec.files:
            raise BundleError(f"{bundle.path}: expected a float32 graph {spec.name!r} to type anew, got none")
        graph = bundle.read(spec.files["float32"])
        try:
            made[spec.name] = (
                to_int8(graph, feeds.of(spec.name)) if precision == "int8" and feeds else to_float16(graph)
            )
        except BackendError as error:
            refused.append(error)
            made[spec.name] = graph
    if len(refused) == len(specs):
        raise refused[-1]
    return Typed(precision, made, origin)


def _need_onnx(bundle: Bundle, precision: Precision) -> None:
    """Check that onnx is installed, which converting graphs needs.

    Raises:
        BackendError: It is not; the message says what to type.
    """
    if find_spec("onnx") is None:
        raise BackendError(
            f"bundle {bundle.manifest.name} holds no {precision} graphs, and making them needs onnx, which is not "
            "installed; type: pip install 'ascstream[build]', in a checkout: pip install '.[build]'; or --fp32"
        )
