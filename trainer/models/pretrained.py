"""Load pretrained weights from a local file: verify its hash, read it without executing code, fit it to a network.

Nothing is downloaded. `trainer.models.naming` lists the published naming schemes that are known.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from engines.errors import one_line
from trainer.config import WeightsConfig
from trainer.errors import ConfigError, DataError
from trainer.files import digest_of, path_inside
from trainer.models.foreign import describe
from trainer.models.naming import Weights, published_names

EXPECTED = "a .safetensors file, or a checkpoint of tensors and plain values alone"
"""What weights may be in."""
_WRAPPERS = ("weights", "average", "state_dict", "model_state_dict", "model")
"""Keys under which checkpoints nest tensors; this trainer's use "weights", or before the end "average" and "model"."""
_COUNTERS = "num_batches_tracked"
"""Step counters of normalisations, which nothing uses and many published files lack."""
_N_NAMED, _LONGEST_NAME = 3, 80
"""Names quoted in a message, and characters of each; limited because the names come from the file."""


class _Ignored:
    """Inert stand-in for the numpy objects that may lie beside the tensors in a checkpoint.

    PANNs checkpoints store the order in which clips were drawn as numpy arrays.
    """

    def __init__(self, *_: object) -> None:
        """Discard the constructor's arguments."""

    def __setstate__(self, _: object) -> None:
        """Discard the pickled state."""


_NUMBERS = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
"""Plain number types; smaller ones need an external scale and have hardly any operators."""
_ARRAYS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    "numpy.ndarray",
    "numpy.dtype",
)
"""Names that pickles of numpy arrays and scalars refer to."""


def load_weights(network: nn.Module, part: str, weights: WeightsConfig, root: Path) -> None:
    """Load a file into a part of a network.

    Args:
        network: The whole network.
        part: Name of the part, such as "encoder"; "" is the whole network.
        weights: The file and its hash.
        root: The folder that the file lies in.

    Raises:
        ConfigError: The file is outside the folder, or there is no such part.
        DataError: The file is missing, altered, of another format, or for another network.
    """
    key = f"model.weights.{part}" if part else 'model.weights.""'
    path = path_inside(root, weights.file, key)
    module = find_part(network, part, key)
    fit_weights(module, _of_part(module, part, read_weights(path, weights.sha256)), str(path))


def _of_part(module: nn.Module, part: str, weights: Weights) -> Weights:
    """Extract a part's weights from those of a whole network, such as another run's; else return them all."""
    own = {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}
    whole = bool(part) and all(name in own for name in module.state_dict() if not name.endswith(_COUNTERS))
    return own if whole else weights


def find_part(network: nn.Module, name: str, key: str) -> nn.Module:
    """Find a module by its name, such as "scene.audio"; "" is the whole network.

    Raises:
        ConfigError: There is no such module; `key` is the configuration key that named it.
    """
    try:
        return network.get_submodule(name)
    except AttributeError:
        known = ", ".join(path for path, _ in network.named_modules() if path and path.count(".") < 2)
        raise ConfigError(f"{key}: expected a part of the network, as {known}, got {name!r}") from None


def read_weights(path: Path, sha256: str | None = None) -> Weights:
    """Read the tensors of a file, by name.

    Args:
        path: A .safetensors file, or a checkpoint of only tensors and plain values.
        sha256: Expected hash; None: not checked.

    Raises:
        DataError: The file cannot be read, has another hash, or holds something else.
    """
    try:
        with path.open("rb") as file:
            digest = digest_of(file) if sha256 is not None else ""
            if sha256 is not None and digest != sha256.lower():
                raise DataError(
                    f"{path}: expected the SHA-256 {sha256}, got {digest}; fetch the file again, or set "
                    "its sha256 if you trust this one"
                )
            file.seek(0)
            return parse_weights(path, file)
    except OSError as error:
        raise DataError(f"{path}: expected a file of weights, got: {error.strerror}; see [model.weights]") from None


def parse_weights(path: Path, file: BinaryIO, expected: str = EXPECTED) -> Weights:
    """Read the tensors of an open file, by name.

    Args:
        path: Its path, whose suffix selects the format.
        file: The file, at its beginning.
        expected: What is expected, for the message if it is no checkpoint.

    Raises:
        DataError: It holds something else.
    """
    return _tensors(
        path, _read_safetensors(path, file) if path.suffix == ".safetensors" else _read_checkpoint(path, file, expected)
    )


def fit_weights(part: nn.Module, weights: Weights, where: str) -> None:
    """Copy weights into a network; they must match it exactly, under its own names or published ones.

    Raises:
        DataError: Names or shapes differ, or a value is not finite; nothing was copied.
    """
    wanted = part.state_dict()
    candidates = [naming(weights) for naming in published_names(part)]
    missing, unexpected, renamed = min(
        ((_absent(wanted, names), _absent(names, wanted), names) for names in candidates),
        key=lambda fit: len(fit[0]) + len(fit[1]),
    )
    other = [name for name in wanted if name in renamed and renamed[name].shape != wanted[name].shape]
    whole = [name for name in wanted if name in renamed and wanted[name].is_floating_point()]
    rounded = [name for name in whole if not renamed[name].is_floating_point()]
    faults = [
        f"{len(names)} {word} ({_named(names)}{', …' if len(names) > _N_NAMED else ''})"
        for word, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", other),
            ("of whole numbers", rounded),
        )
        if names
    ]
    if faults:
        raise DataError(
            f"{where}: expected the {len(wanted)} tensors of {type(part).__name__}, got {', '.join(faults)}; "
            "are these weights of this network, and for this part of it?"
        )
    broken = [name for name in whole if not renamed[name].to(wanted[name].dtype).isfinite().all()]
    if broken:
        raise DataError(f"{where}: expected finite numbers, got others in {_named(broken)}")
    part.load_state_dict({name: renamed.get(name, own) for name, own in wanted.items()})


def _named(names: list[str]) -> str:
    """The first few names, made safe to print."""
    return ", ".join(one_line(name, _LONGEST_NAME) for name in names[:_N_NAMED])


def _absent(names: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[str]:
    """Names missing from the others, step counters aside."""
    return [name for name in names if name not in others and not name.endswith(_COUNTERS)]


def _read_safetensors(path: Path, file: BinaryIO) -> Any:
    """Read a .safetensors file."""
    import safetensors.torch

    try:
        return safetensors.torch.load(file.read())
    except (safetensors.SafetensorError, ValueError, KeyError):
        found = describe(file)
        raise DataError(f"{path}: expected a .safetensors file, got {found.what}; {found.advice}") from None


def _read_checkpoint(path: Path, file: BinaryIO, expected: str) -> Any:
    """Read a torch.save file without executing any code in it."""
    try:
        with warnings.catch_warnings():
            # about files that are rejected below anyway
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            with torch.serialization.safe_globals([(_Ignored, name) for name in _ARRAYS]):
                return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  (hostile bytes make torch raise almost anything: AssertionError, struct.error …)
        found = describe(file)
        raise DataError(f"{path}: expected {expected}, got {found.what}; {found.advice}") from None


def _tensors(path: Path, content: Any) -> Weights:
    """Take the tensors out of the loaded content and whatever wraps them."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        got = "none" if isinstance(content, Mapping) else type(content).__name__
        raise DataError(f"{path}: expected tensors by name, got {got}")
    others = [str(name) for name, tensor in content.items() if not is_plain(tensor)]
    if others:
        raise DataError(f"{path}: expected plain tensors by name, got something else at {_named(others)}")
    return {str(name): Tensor.detach(tensor) for name, tensor in content.items()}


def is_plain(value: object) -> bool:
    """Whether a value is a dense, real tensor whose storage holds all its values; not sparse, quantised or complex."""
    if not isinstance(value, Tensor) or type(value) not in (Tensor, nn.Parameter) or value.dtype not in _NUMBERS:
        return False
    if value.is_nested or value.layout != torch.strided or value.device.type != "cpu":
        return False
    # else a tiny file could expand one number to billions; a file's attributes may shadow methods: call the class's own
    return bool(math.prod(value.shape) * value.dtype.itemsize <= Tensor.untyped_storage(value).nbytes())
