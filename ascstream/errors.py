"""The errors of the runtime, drawn as a tree; each names the exit code the command line ends with.

AscstreamError               1   anything the runtime raises on purpose
├── UsageError               2   an argument or a setting that cannot be (also a ValueError)
├── SourceError              3   an input that gives nothing, or stopped giving (also an OSError)
│   ├── SourceNotFoundError  3   there is no such file or device (also a FileNotFoundError)
│   └── DecodeError          3   there is one, but not media, or broken in the middle
├── OutputError              1   results that cannot be written: full disk, no permission (also an OSError)
└── DegradedError            5   `--strict` and something was lost

Bundles and engines raise `engines.errors.EngineError`: exit code 4. Every message says what was expected, what came,
and what to type next.
"""


class AscstreamError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 1


class UsageError(AscstreamError, ValueError):
    """An argument or a setting that cannot be."""

    exit_code = 2


class SourceError(AscstreamError, OSError):
    """An input that gives nothing, or stopped giving."""

    exit_code = 3


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is no such file or device."""


class DecodeError(SourceError):
    """The input is there, but is not media, has no usable stream, or broke in the middle."""


class OutputError(AscstreamError, OSError):
    """Results cannot be written; what was written so far is kept."""


class DegradedError(AscstreamError):
    """Something was lost and the user asked to stop then."""

    exit_code = 5
