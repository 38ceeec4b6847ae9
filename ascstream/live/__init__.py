"""Streams that do not end: devices under supervision, an engine that may not keep up, a clock of their own."""
