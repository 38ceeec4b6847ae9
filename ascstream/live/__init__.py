"""Streams that do not end: devices under supervision, an engine that may not keep up, a clock of their own."""

ENGINE_THREAD = "ascstream-engine"
"""Name of the thread that infers; a call that hangs may leave it behind."""
