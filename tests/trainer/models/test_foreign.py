"""What a refused file is said to be: by its bytes alone, and nothing in it is run."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.models.cp_mobile import CpMobile
from trainer.models.foreign import describe, is_npz


class Marks:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def saved(content: object, *, zipped: bool = True) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def archive(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return buffer.getvalue()


def many(number: int, claimed: int | None = None) -> bytes:
    """An archive that lists one empty array so many times, and says in zip64 how many bytes its list has."""
    one = archive(**{"a.npy": b""})
    start = one.index(b"PK\x01\x02")
    entries = one[start : one.index(b"PK\x05\x06")] * number
    size, end = len(entries) if claimed is None else claimed, start + len(entries)
    return b"".join(
        [
            one[:start],
            entries,
            struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start),
            struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1),
            struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        ]
    )


class Counted(io.BytesIO):
    """A file that knows the most bytes that were read at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, np.zeros(3))
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "0 bytes"),
    "text": (b"<!DOCTYPE html>\n<html>", 'text, which begins with "<!DOCTYPE html> <html>"'),
    "a letter cut in two": (b"x" * 511 + "é".encode(), 'text, which begins with "xxx'),
    "control characters": (b"\x1b[2J", "another file, or a part of one"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS in place of the file"),
    "arrays": (npz(), "an .npz of arrays"),
    "an array": (b"\x93NUMPY\x01\x00", "a single array (.npy)"),
    "HDF5": (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
    "packed": (gzip.compress(b"weights"), "a file compressed by gzip"),
    "safetensors": (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "a damaged .safetensors file, a part of one, or"),
    "other archive": (archive(**{"a\x1b.txt": b"x"}), "an archive of other files (a\N{REPLACEMENT CHARACTER}.txt)"),
    "empty archive": (archive(), "an archive of other files (nothing)"),
    "part of an archive": (npz()[:50], "a damaged archive, or a part of one"),
    "script": (archive(**{"net/data.pkl": b"", "net/constants.pkl": b""}), "a TorchScript archive, which holds code"),
    "network": (saved(torch.nn.Linear(1, 1)), "a pickle that would call torch.nn.modules.linear.Linear"),
    "old network": (saved(torch.nn.ReLU(), zipped=False), "would call torch.nn.modules.activation.ReLU"),
    "tensors": (saved({"a": torch.zeros(1), "b": np.zeros(1)}), "a checkpoint of something else, or a damaged one"),
    "old tensors": (saved({"a": torch.zeros(1)}, zipped=False), "a pickle of something else, or a part of one"),
    "bytes": (bytes(range(129, 256)), "another file, or a part of one"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_by_its_bytes(name: str) -> None:
    data, expected = FILES[name]
    found = describe(io.BytesIO(data)).what
    assert expected in found
    assert found.isprintable()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickles_call_is_named_and_not_made(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    data = pickle.dumps({"x": torch.Size([1]), "state_dict": {"a": "x" * 300, "b": Marks(mark)}}, protocol)
    assert describe(io.BytesIO(data)).what == "a pickle that would call os.mkdir"
    assert describe(io.BytesIO(archive(**{"net/data.pkl": data}))).what == "a pickle that would call os.mkdir"
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_call_behind_tensors_is_named(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    data = saved({"state_dict": CpMobile().state_dict(), "optimizer_states": [Marks(mark)]}, zipped=zipped)
    assert describe(io.BytesIO(data)).what == "a pickle that would call os.mkdir"
    assert not mark.exists()


def test_names_that_are_fetched_from_the_memo_are_told() -> None:
    data = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940K\x00h\x00h\x01\x93\x8c\x04true\x85R."
    assert describe(io.BytesIO(data)).what == "a pickle that would call os.system"
    with pytest.raises(ModuleNotFoundError):  # and such a pickle is one that pickle follows
        pickle.loads(data.replace(b"posix", b"posiy"))  # noqa: S301


def test_a_name_does_not_rule_the_terminal() -> None:
    found = describe(io.BytesIO(b"c" + b"m" * 150 + b"\n" + b"n" * 150 + b"\n."))
    assert len(found.what) < 100
    assert "pickle" not in describe(io.BytesIO(b"\x80\x02cos\n\x1b[2J\n.")).what.partition(" of ")[2]


def test_looking_ends_soon() -> None:
    started = time.monotonic()
    describe(io.BytesIO(b"\x80\x02" + b"N0" * (10 << 20)))
    describe(io.BytesIO(archive(**{f"{number}/data.pkl": b"N0" * 100_000 for number in range(20)})))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("number", [60_000, 200_000])
def test_a_long_list_of_entries_is_not_gone_through(number: int) -> None:
    file = Counted(many(number))
    assert describe(file).what == "an archive of very many files"
    assert not is_npz(file)
    assert file.most < 5 << 20
    assert describe(io.BytesIO(many(1000))).what == "an .npz of arrays"
    assert describe(io.BytesIO(many(1000, claimed=1 << 40))).what == "a damaged archive, or a part of one"


def test_an_npz_holds_arrays_alone() -> None:
    assert is_npz(io.BytesIO(npz()))
    for other in (b"", archive(), archive(**{"a.npy": b"", "b.txt": b""}), saved({})):
        assert not is_npz(io.BytesIO(other))
