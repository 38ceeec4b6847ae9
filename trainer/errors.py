"""The trainer's exceptions as a tree, each with the exit code of the command line.

TrainerError          1   any error the trainer raises deliberately
├── ConfigError       2   an invalid configuration or argument (also a ValueError)
├── DataError         3   labels, recordings or a split that cannot be trained on (also a ValueError)
├── RunError          3   a run folder that is missing, incomplete, or has another configuration
├── ExportError       4   a bundle whose outputs differ from those of the network it was made from
└── MissingError      4   a package that training needs is not installed (also an ImportError)

Every message says what was expected, what was found, and what to type next.
"""


class TrainerError(Exception):
    """Any error this package raises deliberately."""

    exit_code = 1


class ConfigError(TrainerError, ValueError):
    """An invalid configuration or argument; the message names the key."""

    exit_code = 2


class DataError(TrainerError, ValueError):
    """Labels, recordings or a split that cannot be trained on; the message names the row or the recording."""

    exit_code = 3


class RunError(TrainerError):
    """A run folder that is missing, incomplete, or has another configuration."""

    exit_code = 3


class ExportError(TrainerError):
    """A bundle whose outputs differ from those of the network it was made from."""

    exit_code = 4


class MissingError(TrainerError, ImportError):
    """A package that training needs is not installed."""

    exit_code = 4
