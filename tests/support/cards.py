"""Bundles with another card."""

from __future__ import annotations

from engines.bundle import Bundle, write_bundle


def with_card(bundle: Bundle, text: str) -> Bundle:
    """The bundle with another card."""
    manifest = bundle.manifest
    files = {name: bundle.read(name) for name in manifest.files} | {"CARD.md": text.encode()}
    names = ("name", "version", "description", "licence", "labels", "groups", "window", "inputs", "outputs", "graphs")
    fields = {name: getattr(manifest, name) for name in names} | {"golden": manifest.golden, "card": "CARD.md"}
    return write_bundle(bundle.path, fields, files, overwrite=True)
