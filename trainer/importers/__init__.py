"""Imports published networks as bundles: one module per kind; `files` reads the input, `bundle` writes the result."""
