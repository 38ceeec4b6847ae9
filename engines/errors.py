"""The errors of the inference layer, drawn as a tree.

EngineError
├── BundleError                 a folder that is not a whole, unaltered bundle
│   └── ManifestError           a manifest that says something it may not (also a ValueError)
├── FeedError                   arrays that do not fit the graph's inputs (also a ValueError)
├── BackendError                a backend that is missing or failed (also a RuntimeError)
└── ParityError                 a backend whose answers differ from the golden ones

Every message says what was expected, what came, and, where there is something to type, what to type next.
"""

_LONGEST = 400
"""Characters of a message made of what a file says: a bundle's author must not fill a terminal."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Text of unknown origin on one line of bounded length, without what a terminal would obey."""
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 1] + "…"


class EngineError(Exception):
    """Anything this package raises on purpose."""


class BundleError(EngineError):
    """A bundle's folder is missing, incomplete, altered, or reaches outside itself."""


class ManifestError(BundleError, ValueError):
    """A manifest is not the JSON, the schema, or the values this version reads; the message names the key."""


class FeedError(EngineError, ValueError):
    """Arrays given to `infer` do not match the graph's names, dtypes or shapes."""


class BackendError(EngineError, RuntimeError):
    """A backend is not installed, refuses a graph, or failed while running one."""


class ParityError(EngineError):
    """A backend does not reproduce the bundle's golden answers within the manifest's tolerance."""
