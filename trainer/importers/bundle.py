"""Write an imported network as a bundle: precisions, their cost and the card; only if every graph agrees."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.bundle import Bundle, check_target
from engines.errors import BackendError, BundleError
from engines.manifest import Precision
from trainer.errors import ExportError
from trainer.export.contents import Made, write_network
from trainer.export.precisions import GoldenCost, make_precision, measure_golden, to_judge, tolerance_of
from trainer.importers.card import write_card
from trainer.importers.imported import Imported

VERSION = "1.0.0"
"""Version of every bundle that this version of the importer writes."""


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written."""

    bundle: Bundle
    """Its path and manifest."""
    costs: tuple[GoldenCost, ...]
    """What each precision in the bundle costs, float32 first."""
    left_out: Mapping[Precision, str]
    """Precisions that are not in the bundle, and why."""


def check_place(path: Path, *, overwrite: bool) -> None:
    """Check that a bundle can be written to `path` before anything slow starts.

    Missing parent folders are not created here, but when the bundle is written.

    Raises:
        BundleError: Something is in the way.
    """
    around = next((folder for folder in path.absolute().parents if os.path.lexists(folder)), path)  # path is the root
    if not around.is_dir():
        raise BundleError(f"{path}: expected a folder around it, got a file, {around}: choose another place")
    if around == path.absolute().parent:
        check_target(path.absolute(), overwrite)


def write_import(imported: Imported, path: Path, *, overwrite: bool = False) -> Written:
    """Write the bundle of an imported network: float32, and float16 where the graphs can be converted to it.

    There is no int8 graph: its ranges would have to be measured on recordings, and an import has none.

    Raises:
        ExportError: A float32 graph does not reproduce its golden answers.
        BundleError: Something is in the way.
    """
    graphs = imported.graphs
    made: Made = {"float32": graphs.graphs}
    left_out: dict[Precision, str] = {}
    try:
        made["float16"] = make_precision(graphs, "float16", (), n_first=imported.n_float32)
    except BackendError as error:
        left_out["float16"] = str(error)
    fields = _fields(imported)
    costs = []
    with tempfile.TemporaryDirectory(prefix="ascstream-") as folder:
        judged: Made = {precision: to_judge(parts, precision) for precision, parts in made.items()}
        draft = write_network(Path(folder) / "draft", graphs, judged, fields, check=False)
        for precision in list(made):
            try:
                costs.append(measure_golden(draft, precision, made[precision]))
            except BackendError as error:
                if precision == "float32":
                    raise ExportError(f"{error}; nothing was written") from None
                left_out[precision] = str(error)
                del made[precision]
    fields["tolerance"] = tolerance_of(costs)
    card = write_card(imported, VERSION, costs, left_out)
    return Written(write_network(path, graphs, made, fields, card=card, overwrite=overwrite), tuple(costs), left_out)


def _fields(imported: Imported) -> dict[str, Any]:
    """The manifest's fields, without those that depend on the precisions."""
    return {
        "name": imported.name,
        "version": VERSION,
        "description": imported.description,
        "licence": imported.licence,
        "labels": imported.labels,
        "groups": imported.groups,
        "window": imported.window,
        "outputs": imported.outputs,
        "smoothing": imported.smoothing,
    }
