"""Exports a finished run as a bundle."""
