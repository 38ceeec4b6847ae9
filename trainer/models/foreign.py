"""Says what a refused file is: which call a pickle would make, an .npz, text, nothing at all. Nothing in it is run."""

from __future__ import annotations

import codecs
import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple, cast

import torch

from engines.errors import one_line

_CONVERT = "convert it where you trust it, with: safetensors.torch.save_file(STATE, FILE)"
_FRESH = "get a fresh copy"
_MAX_PICKLE, _MAX_OPS, _MAX_PICKLES = 16 << 20, 300_000, 5
"""Bytes and operations that are looked at; older versions of torch.save write five pickles, then the numbers."""
_MAX_ENTRIES, _MAX_DIRECTORY = 50_000, 4 << 20
"""Entries of an archive, and bytes that list them; the largest network we know of has a thousand."""
_SHOWN = 60
"""Characters quoted from a file."""
_MODULES = {"posix": "os", "nt": "os", "__builtin__": "builtins"}
"""Names under which pickles know modules, and those that people know them by."""
_PART = re.compile(r"[^\W\d][\w.]{0,200}")
_PLAIN = ("collections.OrderedDict", "collections.Counter", "_codecs.encode")
_ARRAYS = re.compile(r"numpy(\.(_?core\.multiarray\.(_reconstruct|scalar)|ndarray|dtype)|\.dtypes\.\w+)")
_MAGICS = (
    (b"\x93NUMPY", "a single array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a file compressed by gzip"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file"),
)


class Foreign(NamedTuple):
    """What a file turned out to be."""

    what: str
    """To follow "got"."""
    advice: str
    """What to do about it."""


class ManyEntriesError(Exception):
    """An archive lists more entries than are looked through."""


class _Opening:
    """What zipfile reads an archive through, so that a long list of entries ends it whatever the archive claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.opened = False

    def read(self, size: int = -1) -> bytes:
        """Read; before the archive is open, no more than a list of entries may take."""
        if self.opened or size < 0:
            return self._file.read(size)
        data = self._file.read(min(size, _MAX_DIRECTORY + 1))
        if len(data) > _MAX_DIRECTORY:
            raise ManyEntriesError
        return data


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Open an archive, which zipfile alone does after parsing a list of entries of any length.

    Raises:
        ManyEntriesError: The list is very long.
        Exception: Hostile bytes make zipfile raise almost anything.
    """
    opening = _Opening(file)
    archive = zipfile.ZipFile(cast("BinaryIO", opening))
    if len(archive.namelist()) > _MAX_ENTRIES:
        raise ManyEntriesError
    opening.opened = True
    return archive


def describe(file: BinaryIO, own: str = "") -> Foreign:
    """Look at a file from its beginning, as far as needed to name it.

    Args:
        file: The file.
        own: Prefix of names that pickles in it may refer to: a TorchScript archive's own classes.
    """
    file.seek(0)
    head = file.read(512)
    if not head:
        return Foreign("0 bytes", _FRESH)
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(file, own)
    for magic, what in _MAGICS:
        if head.startswith(magic):
            return Foreign(what, _FRESH)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return Foreign("a damaged .safetensors file, a part of one, or one with another ending", _FRESH)
    if call := _call(file, own):
        return Foreign(call, _CONVERT)
    if text := _text(head):
        return Foreign(f'text, which begins with "{text}"', _FRESH)
    what = "a pickle of something else" if head.startswith(b"\x80") else "another file"
    return Foreign(f"{what}, or a part of one", _CONVERT)


def is_npz(file: BinaryIO) -> bool:
    """Whether a file is an archive of numpy's arrays and of nothing else."""
    try:
        with open_zip(file) as archive:
            return _are_arrays(archive.namelist())
    except Exception:  # noqa: BLE001  (hostile bytes make zipfile raise almost anything)
        return False


def _are_arrays(names: list[str]) -> bool:
    return bool(names) and all(name.endswith(".npy") for name in names)


def _archive(file: BinaryIO, own: str) -> Foreign:
    """What a zip archive holds."""
    try:
        with open_zip(file) as archive:
            names = archive.namelist()
            if _are_arrays(names):
                return Foreign("an .npz of arrays", "name a file of the kind that is expected")
            pickles = [name for name in names if name.endswith("data.pkl")]
            for name in pickles[:_MAX_PICKLES]:
                with archive.open(name) as entry:
                    content = io.BytesIO(entry.read(_MAX_PICKLE))
                if call := _call(content, own):
                    return Foreign(call, _CONVERT)
    except ManyEntriesError:
        return Foreign("an archive of very many files", "name the file itself")
    except Exception:  # noqa: BLE001  (as above)
        return Foreign("a damaged archive, or a part of one", _FRESH)
    if any(name.endswith("/constants.pkl") for name in names):
        return Foreign("a TorchScript archive, which holds code", _CONVERT)
    if pickles:
        return Foreign("a checkpoint of something else, or a damaged one", _CONVERT)
    some = one_line(names[0], _SHOWN) if names else "nothing"
    return Foreign(f"an archive of other files ({some})", "name the file itself")


def _call(file: BinaryIO, own: str) -> str:
    """The first call of a pickle that is none of tensors and plain values, to follow "got"; empty if there is none."""
    names = _named_globals(io.BytesIO(file.read(_MAX_PICKLE)))
    name = next((name for name in names if not _is_known(name) and not (own and name.startswith(own))), None)
    if name is None:
        return ""
    module, _, rest = name.partition(".")
    return f"a pickle that would call {one_line(f'{_MODULES.get(module, module)}.{rest}', _SHOWN)}"


def _named_globals(file: BinaryIO) -> Iterator[str]:
    """Names that the pickles at the beginning of a file refer to, in order; ends where anything else begins."""
    left = _MAX_OPS
    for _ in range(_MAX_PICKLES):
        memo: dict[int, str] = {}
        texts = ["", ""]  # the last two strings, which STACK_GLOBAL takes
        try:
            for operation, argument, _position in islice(pickletools.genops(file), left):
                left -= 1
                code = operation.name
                names = str(argument).split(" ", 1) if code in ("GLOBAL", "INST") else texts
                if code in ("GLOBAL", "INST", "STACK_GLOBAL") and all(_PART.fullmatch(part) for part in names):
                    yield ".".join(names)
                if code in ("PUT", "BINPUT", "LONG_BINPUT"):
                    memo[int(argument or 0)] = texts[1]
                elif code == "MEMOIZE":
                    memo[len(memo)] = texts[1]
                elif code in ("GET", "BINGET", "LONG_BINGET"):
                    texts = [texts[1], memo.get(int(argument or 0), "")]
                elif operation.stack_after:
                    texts = [texts[1], argument if isinstance(argument, str) else ""]
        except Exception:  # noqa: BLE001  (hostile bytes make pickletools raise almost anything)
            return


def _is_known(name: str) -> bool:
    """Whether a name is one of those that tensors and plain values consist of."""
    module, _, last = name.rpartition(".")
    if module in ("torch", "torch.cuda"):
        return last.endswith("Storage") or isinstance(vars(torch).get(last), (torch.dtype, torch.layout, type))
    if module in ("torch._utils", "torch._tensor", "torch.storage", "torch.nn.parameter", "torch.serialization"):
        return True
    return name in _PLAIN or _ARRAYS.fullmatch(name) is not None


def _text(head: bytes) -> str:
    """The beginning of a text on one line; empty if these bytes are none."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut in two
    except UnicodeDecodeError:
        return ""
    if not all(char.isprintable() or char.isspace() for char in text):
        return ""
    return one_line(" ".join(text.split()), _SHOWN)
