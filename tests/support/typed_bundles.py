"""The shipped bundle with graphs of other precisions in it."""

from __future__ import annotations

from pathlib import Path

from ascstream.bundles import find_bundle
from engines.bundle import Bundle, open_bundle, write_bundle
from engines.manifest import GraphSpec, Precision

_KEPT = ("name", "version", "description", "licence", "labels", "groups", "window", "inputs", "outputs", "golden")


def shipped() -> Bundle:
    """The default bundle; float32 alone."""
    return open_bundle(find_bundle())


def shipped_with(folder: Path, graphs: dict[Precision, bytes]) -> Bundle:
    """The default bundle, with these scene graphs beside float32's."""
    source = shipped()
    files = {name: source.read(name) for name in ("scene.onnx", "golden.npz")}
    names: dict[Precision, str] = {"float32": "scene.onnx"}
    for precision, graph in graphs.items():
        names[precision] = f"scene.{precision}.onnx"
        files[names[precision]] = graph
    fields = {key: getattr(source.manifest, key) for key in _KEPT}
    return write_bundle(folder, {**fields, "graphs": (GraphSpec("scene", names),)}, files)
