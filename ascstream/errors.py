"""The errors of the runtime, drawn as a tree, with the exit code that each gives the command line.

AscstreamError               1   anything the runtime raises on purpose
├── UsageError               2   an invalid argument or setting (also a ValueError)
├── SourceError              3   an input that delivers nothing, or stopped delivering (also an OSError)
│   ├── SourceNotFoundError  3   there is no such file or device (also a FileNotFoundError)
│   └── DecodeError          3   the input exists, but is not media or is broken partway through
├── OutputError              1   results cannot be written: full disk, no permission (also an OSError)
└── DegradedError            5   something was lost under `--strict`

Bundles and engines raise `engines.errors.EngineError`: exit code 4. Every message says what was expected, what came
instead, and what to type next.
"""


class AscstreamError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 1


class UsageError(AscstreamError, ValueError):
    """An invalid argument or setting."""

    exit_code = 2


class SourceError(AscstreamError, OSError):
    """An input delivers nothing, or stopped delivering."""

    exit_code = 3


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is no such file or device."""


class DecodeError(SourceError):
    """The input exists, but is not media, has no usable stream, or is broken partway through."""


class OutputError(AscstreamError, OSError):
    """Results cannot be written; those written so far are kept."""


class DegradedError(AscstreamError):
    """Something was lost, and the user asked to stop in that case."""

    exit_code = 5
