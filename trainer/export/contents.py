"""Writes a network's graphs in several precisions as the files of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.backends import REFERENCE_BACKEND, load_engines
from engines.bundle import Bundle, write_bundle
from engines.check import check_parity, require_parity, write_golden
from engines.errors import BundleError
from engines.manifest import GraphName, GraphSpec, Precision
from trainer.export.graphs import NetworkGraphs

GOLDEN, CARD = "golden.npz", "CARD.md"
_SUFFIX: Mapping[Precision, str] = {"float32": "", "float16": ".fp16", "int8": ".int8"}

Made = dict[Precision, Mapping[GraphName, bytes]]
"""Graphs by precision, always including float32."""


def write_network(
    path: Path,
    graphs: NetworkGraphs,
    made: Made,
    fields: Mapping[str, Any],
    *,
    card: str | None = None,
    overwrite: bool = False,
    check: bool = True,
) -> Bundle:
    """Write a network's bundle; its folder's parent is created.

    Args:
        path: The bundle's folder.
        graphs: The network in float32, with golden cases.
        made: Its graphs by precision.
        fields: The remaining fields of the manifest.
        card: The model card.
        overwrite: Whether to replace an existing bundle.
        check: Whether to refuse a bundle that does not reproduce its golden answers in every precision.

    Raises:
        ParityError: A graph does not reproduce its golden answers.
        BundleError: Something is in the way of `path`.
    """
    files = {
        _file(made, precision, name): graph
        for precision, of_precision in made.items()
        for name, graph in of_precision.items()
    }
    files[GOLDEN] = write_golden({str(name): cases for name, cases in graphs.golden.items()})
    specs = tuple(
        GraphSpec(name, {precision: _file(made, precision, name) for precision in made}) for name in made["float32"]
    )
    fields = {**fields, "inputs": graphs.inputs, "graphs": specs, "golden": GOLDEN}
    if card is not None:
        files[CARD] = card.encode()
        fields = {**fields, "card": CARD}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{path}: expected to make the folder around it, got: {error.strerror}") from None
    return write_bundle(path, fields, files, overwrite=overwrite, accept=_accept if check else None)


def _file(made: Made, precision: Precision, name: GraphName) -> str:
    """File name of a graph; a graph that a precision leaves unchanged shares the float32 file."""
    changed = made[precision][name] != made["float32"][name]
    return f"{name}{_SUFFIX[precision] if changed else ''}.onnx"


def _accept(bundle: Bundle) -> None:
    """Refuse a bundle whose graphs do not reproduce its golden answers in every precision it has."""
    for precision in bundle.manifest.graphs[0].files:
        with load_engines(bundle, backend=REFERENCE_BACKEND, precision=precision) as engines:
            require_parity(check_parity(bundle, engines))
