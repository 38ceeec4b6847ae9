"""Shipped bundles with float32 graphs alone, or with graphs of other precisions beside them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from ascstream.bundles import find_bundle
from engines.bundle import Bundle, open_bundle, write_bundle
from engines.manifest import Manifest, Precision

_NOT_KEPT = ("schema", "files", "graphs", "card", "tolerance")
"""What is made anew, or is of graphs that are left out."""


def float32_alone(folder: Path, name: str = "slim-audio") -> Bundle:
    """A shipped bundle's float32 graphs and nothing else, with the tolerances of a manifest that names none."""
    return _copied(open_bundle(find_bundle(name)), folder, {})


def audio_with(folder: Path, graphs: dict[Precision, bytes]) -> Bundle:
    """The float32 graph of slim-audio, with these scene graphs beside it."""
    return _copied(open_bundle(find_bundle("slim-audio")), folder, graphs)


def _copied(source: Bundle, folder: Path, scenes: dict[Precision, bytes]) -> Bundle:
    """A bundle's float32 graphs, with these scene graphs beside them."""
    specs = [replace(spec, files={"float32": spec.files["float32"]}) for spec in source.manifest.graphs]
    kept = [spec.files["float32"] for spec in specs] + [source.manifest.golden or ""]
    files = {name: source.read(name) for name in kept}
    for precision, graph in scenes.items():
        files[f"scene.{precision}.onnx"] = graph
    typed = {precision: f"scene.{precision}.onnx" for precision in scenes}
    specs = [replace(spec, files={**spec.files, **typed}) if spec.name == "scene" else spec for spec in specs]
    same = {entry.name: getattr(source.manifest, entry.name) for entry in fields(Manifest)}
    for key in _NOT_KEPT:
        del same[key]
    return write_bundle(folder, {**same, "graphs": tuple(specs)}, files)
