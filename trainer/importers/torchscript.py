"""Reads the tensors of a TorchScript archive, the format in which OpenAI published CLIP, without touching its code.

Such an archive is a zip file: `data.pkl` says which objects the network consists of, `data/` holds their numbers,
`code/` and `constants.pkl` hold what would be run. Only the first two are passed on, to the same reader as for any
checkpoint, which builds only tensors and plain values; the network's own classes become bare objects without methods.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engines.errors import one_line
from trainer.errors import DataError
from trainer.importers.files import SourceFile, open_archive
from trainer.models.foreign import describe
from trainer.models.naming import Weights
from trainer.models.pretrained import is_plain

_OWN = "__torch__."
"""Prefix of the names of an archive's own classes."""
_MAX_OBJECTS = 100_000
"""Objects of an archive that are visited; CLIP has a hundredth of that."""
_LONGEST_NAME = 1000
"""Characters of a path to an object; no network is deeper, and all names together grow with the square of the depth."""


class _Part:
    """Stands for every class of the archive, such as the network's modules: attributes and nothing more."""


def is_scripted(source: SourceFile) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(io.BytesIO(source.data)):
        return False
    return any(entry.filename.endswith("/constants.pkl") for entry in open_archive(source).infolist())


def scripted_tensors(source: SourceFile) -> Weights:
    """Return the tensors of an archive by name, as in the network's state dictionary.

    Raises:
        DataError: The archive is damaged, unpacks to more than its size, or refers to anything that is not its own.
    """
    content = _without_code(source)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content))
        own: list[Any] = [(_Part, name) for name in names if name.startswith(_OWN)]
        with torch.serialization.safe_globals(own):
            root = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (hostile bytes make torch raise almost anything)
        found = describe(io.BytesIO(content), own=_OWN)
        raise DataError(
            f"{source.path}: expected a TorchScript archive of a network's tensors, got {found.what}; "
            "convert it where you trust it, with: "
            "safetensors.torch.save_file(torch.jit.load(FILE).state_dict(), OUT)"
        ) from None
    tensors = _named_tensors(root)
    others = [name for name, tensor in tensors.items() if not is_plain(tensor)]
    if others or not tensors:
        got = f"something else at {one_line(others[0], 80)}" if others else "none"
        raise DataError(f"{source.path}: expected plain tensors in a TorchScript archive, got {got}")
    return {name: Tensor.detach(tensor) for name, tensor in tensors.items()}


def _without_code(source: SourceFile) -> bytes:
    """Copy the archive, keeping only the objects of the network and their numbers."""
    buffer = io.BytesIO()
    with open_archive(source) as archive, zipfile.ZipFile(buffer, "w") as target:
        kept = [entry for entry in archive.infolist() if _is_content(entry.filename.partition("/")[2])]
        names = {entry.filename.partition("/")[2] for entry in kept}
        if sum(entry.file_size for entry in kept) > len(source.data) or len(names) < len(kept):
            raise DataError(
                f"{source.path}: expected an archive as torch.jit.save writes it, got one that unpacks to more than it "
                "has, or has an entry twice; get a fresh copy"
            )
        for entry in kept:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise DataError(
                    f"{source.path}: {one_line(entry.filename, 80)}: expected numbers as torch.jit.save writes them, "
                    "not compressed; get a fresh copy"
                )
            try:
                target.writestr(f"archive/{entry.filename.partition('/')[2]}", archive.read(entry))
            except Exception as error:  # noqa: BLE001  (as above)
                raise DataError(
                    f"{source.path}: {one_line(entry.filename, 80)}: expected whole numbers, got damaged bytes "
                    f"({one_line(str(error))}); get a fresh copy"
                ) from None
    return buffer.getvalue()


def _is_content(name: str) -> bool:
    """Whether an entry holds objects of the network or their numbers, not code."""
    return name in ("data.pkl", "version", "byteorder") or name.startswith("data/")


def _named_tensors(root: object) -> Weights:
    """Every tensor below an object, by its attribute path; each object is visited once, even if it contains itself."""
    found: Weights = {}
    todo: list[tuple[str, object]] = [("", root)]
    seen: set[int] = set()
    while todo and len(seen) < _MAX_OBJECTS:
        prefix, value = todo.pop()
        if id(value) in seen or len(prefix) > _LONGEST_NAME:
            continue
        seen.add(id(value))
        for name, part in _attributes(value).items():
            if isinstance(part, Tensor):
                found[f"{prefix}{name}"] = part
            elif isinstance(part, _Part):
                todo.append((f"{prefix}{name}.", part))
    return found


def _attributes(value: object) -> Mapping[Any, Any]:
    """The attributes of a module; none for anything else."""
    return vars(value) if isinstance(value, _Part) else {}
