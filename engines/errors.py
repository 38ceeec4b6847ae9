"""The exceptions of the inference layer, as a tree.

EngineError
├── BundleError                 a folder that is not a complete, unaltered bundle
│   └── ManifestError           a manifest with missing, unknown or invalid values (also a ValueError)
├── FeedError                   arrays that do not fit the graph's inputs (also a ValueError)
├── BackendError                a backend that is missing or failed (also a RuntimeError)
└── ParityError                 a backend whose answers differ from the golden ones

Every message says what was expected, what came instead and, where a command would help, what to type next.
"""

_LONGEST = 400
"""Maximum length, in characters, of text quoted from a file: a bundle's author must not be able to flood a terminal."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Put text of unknown origin on one line of bounded length, free of terminal control characters."""
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 1] + "…"


class EngineError(Exception):
    """Base class of everything this package raises on purpose."""


class BundleError(EngineError):
    """A bundle's folder is missing, incomplete or altered, or refers to something outside itself."""


class ManifestError(BundleError, ValueError):
    """A manifest is not JSON, or its schema or values are not ones this version reads; the message names the key."""


class FeedError(EngineError, ValueError):
    """Arrays given to `infer` do not match the graph's names, dtypes or shapes."""


class BackendError(EngineError, RuntimeError):
    """A backend is not installed, rejects a graph, or failed while running one."""


class ParityError(EngineError):
    """A backend does not reproduce the bundle's golden answers within the manifest's tolerance."""
