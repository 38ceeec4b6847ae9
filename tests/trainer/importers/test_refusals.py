"""What is no published network is refused in a sentence, before anything in it is run, unpacked or written."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import settle

from trainer.cli import main
from trainer.errors import DataError, ExportError
from trainer.importers.cp_mobile import import_cp_mobile
from trainer.importers.files import arrays_of, read_file
from trainer.importers.places365 import import_places365
from trainer.models.cp_mobile import CpMobile, cp_mobile_baseline
from trainer.models.pretrained import fit_weights


class Marks:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def said(importer: Callable[[Path], object], path: Path) -> str:
    """The refusal, one line that begins with the file."""
    with pytest.raises(DataError) as raised:
        importer(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", ["code.ckpt", "code.pth.tar"])
@pytest.mark.parametrize("kind", ["zip", "older torch", "plain pickle", "inside an optimiser's state"])
def test_code_in_a_pickle_is_never_run(name: str, kind: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / name
    weights = {"state_dict": {f"model.{key}": tensor for key, tensor in CpMobile().state_dict().items()}}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps({"state_dict": Marks(mark)}))
    elif kind == "inside an optimiser's state":
        torch.save({**weights, "optimizer_states": [Marks(mark)]}, path)
    else:
        torch.save({"state_dict": Marks(mark)}, path, _use_new_zipfile_serialization=kind == "zip")
    for importer in (import_cp_mobile, import_places365):
        message = said(importer, path)
        assert "a .safetensors file, or a checkpoint of tensors and plain values alone, got a pickle that" in message
        assert "got a pickle that would call os.mkdir; convert it where you trust it" in message
    assert not mark.exists()
    with path.open("rb") as file:  # and it would have left its mark
        torch.load(file, weights_only=False) if kind != "plain pickle" else pickle.load(file)  # noqa: S301
    assert mark.is_dir()


def test_code_in_an_array_is_never_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "code.npz"
    holder = np.empty(1, object)
    holder[0] = Marks(mark)
    np.savez(path, arr_0=holder)
    assert "arr_0: expected an array of floating-point numbers, got object; nothing that is pickled is read" in said(
        import_places365, path
    )
    path.write_bytes(pickle.dumps([Marks(mark)]))
    assert "expected an .npz file of arrays, got a pickle that would call os.mkdir; convert" in said(
        import_places365, path
    )
    assert not mark.exists()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    arrays, checkpoint = tmp_path / "bomb.npz", tmp_path / "bomb.ckpt"
    np.savez_compressed(arrays, arr_0=np.zeros(30 << 20, np.float32))
    assert arrays.stat().st_size < 200_000
    assert "expected arrays of at most 16,777,216 bytes, got 125,829,248 of them" in said(import_places365, arrays)
    plain = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(10 << 20)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    message = said(import_cp_mobile, checkpoint)
    assert "expected a checkpoint as torch.save writes it, nothing in it compressed, got one of" in message
    assert "that unpacks to 41,9" in message


def test_an_archive_that_lies_about_its_sizes_is_not_unpacked_further(tmp_path: Path) -> None:
    path, said_size = tmp_path / "lie.npz", 1000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", bytes(64 << 20))
    path.write_bytes(path.read_bytes().replace((64 << 20).to_bytes(4, "little"), said_size.to_bytes(4, "little")))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    message = said(import_places365, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "arr_0.npy: expected an array, got damaged bytes (Bad CRC-32 for file 'arr_0.npy')" in message
    assert peak < 8 << 20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:  # of which no part can be unpacked alone
        archive.writestr("arr_0.npy", bytes(1 << 20))
    assert "expected an array as numpy packs it, got one packed in another way" in said(import_places365, path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "twice.npz", io.BytesIO()
    np.save(content, np.zeros(3, np.float32))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("arr_0.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("arr_0.npy", content.getvalue())
    assert "arr_0: expected one array of a name, got two" in said(import_places365, path)


def test_a_checkpoint_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rotten.ckpt"
    torch.save({"state_dict": CpMobile().state_dict()}, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the midst of the weights
    path.write_bytes(data)
    assert "got damaged bytes (Bad CRC-32 for file" in said(import_cp_mobile, path)


NO_NUMBERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sparse": torch.Tensor.to_sparse,
    "complex": lambda tensor: tensor.to(torch.complex64),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "a shape alone": lambda tensor: tensor.to("meta"),
}


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:Sparse invariant checks")
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_tensors_that_are_no_plain_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save({**CpMobile().state_dict(), "classify.0.weight": NO_NUMBERS[kind](torch.ones(2, 2))}, path)
    message = said(import_cp_mobile, path)
    assert "expected plain tensors by name, got something else at classify.0.weight" in message


def test_whole_numbers_and_those_that_float32_cannot_hold_are_refused(tmp_path: Path) -> None:
    path, state = tmp_path / "odd.ckpt", settle(CpMobile()).state_dict()
    weight = state["classify.0.weight"]
    for odd, message in (
        (weight.to(torch.int64), "got 1 of whole numbers (classify.0.weight)"),
        (weight.double() * 1e300, "expected finite numbers, got others in classify.0.weight"),
        (weight.to(torch.float8_e4m3fn), "expected plain tensors by name, got something else at classify.0.weight"),
    ):
        torch.save({**state, "classify.0.weight": odd}, path)
        assert message in said(import_cp_mobile, path)


def test_names_in_a_file_do_not_rule_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save({"\x1b[2Jname\nof " + 1000 * "x": torch.zeros(1)}, path)
    message = said(import_cp_mobile, path)
    assert "1 unexpected (\N{REPLACEMENT CHARACTER}[2Jname\N{REPLACEMENT CHARACTER}of xxx" in message
    assert len(message) < len(str(path)) + 400


def test_a_counter_that_nobody_has_is_left_out(tmp_path: Path) -> None:
    network = settle(CpMobile())
    fit_weights(CpMobile(), {**network.state_dict(), "teacher.num_batches_tracked": torch.tensor(1)}, "net.ckpt")


def test_weights_whose_answers_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = settle(CpMobile()).state_dict()
    torch.save({name: -tensor if "running_var" in name else tensor for name, tensor in state.items()}, tmp_path / "net")
    with pytest.raises(ExportError, match="scene: expected numbers for answers, got NaN or infinity in fused"):
        import_cp_mobile(tmp_path / "net")


def test_arrays_are_told_from_a_checkpoint_whatever_their_name(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "net.npz", np.zeros((64, 3, 3, 3), np.float32))
        path = (tmp_path / "net.npz").rename(tmp_path / "net.ckpt")
        assert "alone, got an .npz of arrays; name a file of the kind that is" in said(import_cp_mobile, path)
        assert "arr_1: expected biases of conv1, [64], got nothing" in said(import_places365, path)
    path.write_text("weights")
    assert "expected SqueezeNet's arrays (.npz), or CSAIL's ResNet: a .safetensors file" in said(import_places365, path)


def test_the_ending_of_a_file_may_be_in_capitals(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", np.zeros((64, 3, 3, 3), np.float32))
    upper = (tmp_path / "net.npz").rename(tmp_path / "NET.NPZ")
    assert "arr_1: expected biases of conv1, [64], got nothing" in said(import_places365, upper)


def test_many_entries_are_not_looked_through(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.npy", b"")
    assert "expected at most 10000 entries, got 10001" in said(import_places365, path)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(40_000):
            archive.writestr(f"{number}.npy.more", b"")
    assert "expected at most 10000 entries, got very many" in said(import_places365, path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.ckpt"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)  # sparse
    assert "expected at most 64 MiB, which networks of this kind take, got 64 MiB" in said(import_cp_mobile, path)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.ckpt"
    os.mkfifo(pipe)
    assert "expected a file to import, got: no plain file" in said(import_cp_mobile, pipe)
    assert "got: Is a directory; name the file itself" in said(import_cp_mobile, tmp_path)
    assert "got: No such file or directory; name the file itself" in said(import_cp_mobile, tmp_path / "absent.ckpt")


@pytest.mark.parametrize("name", ["net.ckpt", "net.npz"])
def test_a_shortened_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, arr_0=np.zeros((64, 3, 3, 3), np.float32))
    else:
        torch.save({"state_dict": CpMobile().state_dict()}, path)
    path.write_bytes(path.read_bytes()[:-100])
    importer = import_places365 if path.suffix == ".npz" else import_cp_mobile
    assert "expected a whole file, got a damaged or shortened one" in said(importer, path)
    path.write_text("weights")
    assert 'got text, which begins with "weights"; ' in said(importer, path)
    path.write_bytes(b"")
    assert "got 0 bytes; " in said(importer, path)


def test_a_damaged_array_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, arr_0=np.ones((64, 3, 3, 3), np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "arr_0.npy: expected an array, got damaged bytes (Bad CRC-32 for file 'arr_0.npy')" in said(
        import_places365, path
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no array", "expected an array, got something else"),
        (b"", "expected an array, got something else"),
        (b"\x93NUMPY\x01\x00\x76\x00"
         + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
         + b"\n", "expected [1000000000000] numbers, got 0 bytes"),
        (b"\x93NUMPY\x01\x00\x76\x00"
         + b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }".ljust(117) + b"\n" + bytes(4),
         "expected an array, got something else"),
        (b"\x93NUMPY\x01\x00\x76\x00"
         + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }".ljust(117) + b"\n" + bytes(4),
         "expected an array, got something else"),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("arr_0.npy", content)
    with pytest.raises(DataError, match="arr_0") as raised:
        arrays_of(read_file(path, 1 << 20), 1 << 20)
    assert expected in str(raised.value)


def test_arrays_come_out_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((3, 4)).astype(np.float32), np.asfortranarray(rng.random((2, 5)))
    np.savez(tmp_path / "net.npz", first, second)
    arrays = arrays_of(read_file(tmp_path / "net.npz", 1 << 20), 1 << 20)
    assert list(arrays) == ["arr_0", "arr_1"]
    np.testing.assert_array_equal(arrays["arr_0"], first)
    np.testing.assert_array_equal(arrays["arr_1"], second.astype(np.float32))


def test_another_network_is_refused_by_its_first_key(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": cp_mobile_baseline().state_dict()}, path)
    message = said(import_cp_mobile, path)
    assert "expected the 138 tensors of CpMobile, got 12 missing (blocks.0.norm.scale" in message
    assert "of another shape (blocks.0.path.0.weight" in message
    assert "(conv1.weight, bn1.weight" in said(import_places365, path)
    np.savez(tmp_path / "other.npz", np.zeros((64, 3, 3, 3), np.float32), np.zeros(63, np.float32))
    assert "arr_1: expected biases of conv1, [64], got [63]; are these the arrays of SqueezeNet" in said(
        import_places365, tmp_path / "other.npz"
    )
    np.savez(tmp_path / "less.npz", np.zeros((64, 3, 3, 3), np.float32))
    assert "arr_1: expected biases of conv1, [64], got nothing" in said(import_places365, tmp_path / "less.npz")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = settle(CpMobile())
    state = network.state_dict()
    state["classify.0.weight"][0, 0] = torch.nan
    torch.save({"state_dict": state}, tmp_path / "nan.ckpt")
    assert "expected finite numbers, got others in classify.0.weight" in said(import_cp_mobile, tmp_path / "nan.ckpt")
    np.savez(tmp_path / "nan.npz", np.full((64, 3, 3, 3), np.inf, np.float32))
    assert "arr_0: expected finite numbers, kernels of conv1, got NaN or infinity" in said(
        import_places365, tmp_path / "nan.npz"
    )


def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "ran"
    torch.save({"state_dict": Marks(mark)}, tmp_path / "code.ckpt")
    out = tmp_path / "bundle"
    assert main(["import", "cp-mobile", str(tmp_path / "code.ckpt"), "--out", str(out)]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"trainer: {tmp_path / 'code.ckpt'}: expected a .safetensors file, or a checkpoint")
    assert printed.err.count("\n") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["code.ckpt"]
    assert main(["import", "yolo", "x", "--out", str(out)]) == 2
    assert "'yolo' is not one of 'cp-mobile', 'places365'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["file/bundle", "file/deep/bundle", "new/deep/bundle"])
def test_what_is_refused_leaves_no_folder_around_the_bundle(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "net.ckpt").write_text("weights")
    code = main(["import", "cp-mobile", str(tmp_path / "net.ckpt"), "--out", str(tmp_path / name)])
    message = capsys.readouterr().err
    if name.startswith("file"):
        assert (code, message.count("\n")) == (4, 1)
        assert f"{name}: expected a folder around it, got a file, {tmp_path / 'file'}: choose another place" in message
    else:
        assert code == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "net.ckpt"]
