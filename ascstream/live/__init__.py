"""Live streams, which have no end: supervised devices, an engine that may fall behind, and the streams' own clock."""

ENGINE_THREAD = "ascstream-engine"
"""Name of the inference thread; a call that hangs may leave it behind."""
