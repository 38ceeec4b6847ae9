"""The errors of training, drawn as a tree; each names the exit code the command line ends with.

TrainerError          1   anything the trainer raises on purpose
├── ConfigError       2   a configuration or argument that cannot be (also a ValueError)
├── DataError         3   labels, recordings or a split that cannot be trained on (also a ValueError)
├── RunError          3   a run folder that is missing, incomplete, or of another configuration
├── ExportError       4   a bundle that does not answer as the network it was made from
└── MissingError      4   a package that training needs is not installed (also an ImportError)

Every message says what was expected, what came, and what to type next.
"""


class TrainerError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 1


class ConfigError(TrainerError, ValueError):
    """A configuration or an argument that cannot be; the message names the key."""

    exit_code = 2


class DataError(TrainerError, ValueError):
    """Labels, recordings or a split that cannot be trained on; the message names the row or the recording."""

    exit_code = 3


class RunError(TrainerError):
    """A run folder that is missing, incomplete, or of another configuration."""

    exit_code = 3


class ExportError(TrainerError):
    """A bundle that does not answer as the network it was made from."""

    exit_code = 4


class MissingError(TrainerError, ImportError):
    """A package that training needs is not installed."""

    exit_code = 4
