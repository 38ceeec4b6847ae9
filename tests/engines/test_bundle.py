"""A bundle's folder: what is read was verified, nothing outside it is opened, and it appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import bundles

from engines.bundle import Bundle, _exchange, _exchange_by_turns, make_manifest, open_bundle, verify, write_bundle
from engines.errors import BundleError, ManifestError

FRESH = "get a fresh copy of the bundle, or name another one with --bundle FOLDER"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return bundles.late_fusion_bare(tmp_path)


def fields(name: str = "small") -> dict[str, object]:
    """A manifest without schema and files."""
    return {
        "name": name,
        "version": "1",
        "description": "Nothing",
        "licence": "Apache-2.0",
        "labels": ["a", "b"],
        "window": {"seconds": 1, "default_step_seconds": 1},
        "inputs": [
            {"name": "x", "audio": {"sample_rate": 8000, "channels": "mono", "feature": {"kind": "waveform"}}},
        ],
        "outputs": [{"name": "fused"}],
        "graphs": [{"name": "scene", "files": {"float32": "scene.onnx"}}],
    }


def read_all(path: Path, name: str | None = None) -> None:
    bundle = open_bundle(path)
    if name is None:
        verify(bundle)
    else:
        bundle.read(name)


def error_of(path: Path, name: str | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        read_all(path, name)
    return str(caught.value)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "small", fields(), {"scene.onnx": b"graph", "CARD.md": b""})
    bundle = open_bundle(tmp_path / "small")
    assert bundle == written
    assert bundle.path == tmp_path / "small"
    assert bundle.read("scene.onnx") == b"graph"
    assert bundle.manifest.files["scene.onnx"].sha256 == hashlib.sha256(b"graph").hexdigest()
    assert bundle.manifest.files["scene.onnx"].size == 5
    verify(bundle)
    assert sorted(os.listdir(tmp_path)) == ["small"]  # noqa: PTH208
    assert sorted(os.listdir(tmp_path / "small")) == ["CARD.md", "manifest.json", "scene.onnx"]  # noqa: PTH208


@pytest.mark.parametrize("shape", bundles.SHAPES)
def test_every_shape_of_bundle_is_whole(shape: str, tmp_path: Path) -> None:
    verify(open_bundle(bundles.SHAPES[shape](tmp_path)))


def test_a_file_the_manifest_does_not_list_is_not_opened(path: Path) -> None:
    (path / "secret").write_text("x")
    assert error_of(path, "secret") == (
        f"{path}/secret: expected a file the manifest lists (frame.onnx, golden.npz, scene.onnx), got 'secret'"
    )
    assert "expected a file the manifest lists" in error_of(path, "../../etc/passwd")


def test_a_missing_folder(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none") == (
        f"{tmp_path}/none: expected a bundle, a folder with a manifest.json, got: No such file or directory; "
        "name one with --bundle FOLDER"
    )
    assert "got: embedded null byte" in error_of(Path("\0"))


def test_a_file_instead_of_a_folder(path: Path) -> None:
    assert error_of(path / "scene.onnx") == (
        f"{path}/scene.onnx: expected a bundle, a folder with a manifest.json, got: Not a directory; "
        "name one with --bundle FOLDER"
    )


def test_a_missing_manifest(tmp_path: Path) -> None:
    assert error_of(tmp_path) == (
        f"{tmp_path}/manifest.json: expected a file of the bundle, got: No such file or directory; {FRESH}"
    )


def test_a_manifest_too_large_to_be_one(path: Path) -> None:
    with (path / "manifest.json").open("r+b") as file:
        file.truncate(5_000_000)
    assert error_of(path) == f"{path}/manifest.json: expected at most 1048576 bytes, got 5000000; {FRESH}"


def test_a_manifest_with_an_error_names_file_and_key(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("24000", '"24k"', 1))
    with pytest.raises(ManifestError) as caught:
        open_bundle(path)
    assert str(caught.value) == (
        f'{path}/manifest.json: inputs[0].audio.sample_rate: expected an integer in Hz, got "24k"'
    )


def test_a_manifest_that_reaches_outside_opens_nothing_there(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"scene.onnx"', '"../../etc/passwd"'))
    assert error_of(path) == (
        f'{path}/manifest.json: files.../../etc/passwd: expected a file name inside the bundle, got "../../etc/passwd"'
    )


def test_a_missing_file(path: Path) -> None:
    (path / "scene.onnx").unlink()
    assert error_of(path) == (
        f"{path}/scene.onnx: expected a file of the bundle, got: No such file or directory; {FRESH}"
    )


def test_an_altered_file(path: Path) -> None:
    data = bytearray((path / "scene.onnx").read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[-1] ^= 1
    (path / "scene.onnx").write_bytes(data)
    got = hashlib.sha256(data).hexdigest()
    assert error_of(path) == (
        f"{path}/scene.onnx: expected sha256 {expected}, got {got}: the file was altered; {FRESH}"
    )


@pytest.mark.parametrize("change", [-1, 1, 1_000_000])
def test_a_file_of_another_size(path: Path, change: int) -> None:
    size = (path / "scene.onnx").stat().st_size
    with (path / "scene.onnx").open("r+b") as file:
        file.truncate(size + change)
    assert error_of(path) == f"{path}/scene.onnx: expected {size} bytes, got {size + change}; {FRESH}"


def test_a_manifest_that_promises_more_than_any_memory(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    size, manifest["files"]["scene.onnx"]["size"] = manifest["files"]["scene.onnx"]["size"], 10**30
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert error_of(path) == f"{path}/scene.onnx: expected {10**30} bytes, got {size}; {FRESH}"


@pytest.mark.parametrize("name", ["scene.onnx", "manifest.json"])
def test_a_link_is_not_followed_even_to_the_right_bytes(path: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)
    assert error_of(path) == f"{path}/{name}: expected a file of the bundle, got: a symbolic link; {FRESH}"


def test_the_bundle_itself_may_be_reached_by_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(path)
    verify(open_bundle(tmp_path / "current"))


@pytest.mark.parametrize("name", ["scene.onnx", "manifest.json"])
def test_a_pipe_is_refused_and_not_waited_for(path: Path, name: str) -> None:
    (path / name).unlink()
    os.mkfifo(path / name)
    assert error_of(path) == f"{path}/{name}: expected a plain file, got something else; {FRESH}"


def test_a_folder_instead_of_a_file(path: Path) -> None:
    (path / "scene.onnx").unlink()
    (path / "scene.onnx").mkdir()
    assert error_of(path) == f"{path}/scene.onnx: expected a plain file, got something else; {FRESH}"


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder all may enter, used by a process without root's rights."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65_534, 65_534)
        os.seteuid(65_534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_file_that_may_not_be_read(nobody: Path) -> None:
    path = bundles.mono_logmel(nobody)
    (path / "scene.onnx").chmod(0)
    assert error_of(path) == f"{path}/scene.onnx: expected a file of the bundle, got: Permission denied; {FRESH}"


def test_a_folder_that_may_not_be_written(nobody: Path) -> None:
    nobody.chmod(0o555)
    try:
        with pytest.raises(BundleError) as caught:
            write_bundle(nobody / "small", fields(), {"scene.onnx": b""})
    finally:
        nobody.chmod(0o755)
    assert str(caught.value) == (
        f"{nobody}/small: expected to write a bundle, got: Permission denied; nothing was changed there"
    )
    assert list(nobody.iterdir()) == []


def test_a_manifest_that_may_not_be_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        write_bundle(tmp_path / "small", fields() | {"labels": ["b", "a"]}, {"scene.onnx": b""})
    assert "alphabetical" in str(caught.value)
    with pytest.raises(ManifestError) as caught:
        write_bundle(tmp_path / "small", fields(), {"other.onnx": b""})
    assert str(caught.value) == 'graphs[0].files.float32: expected a file listed under files, got "scene.onnx"'
    with pytest.raises(ManifestError):
        write_bundle(tmp_path / "small", fields(), {"scene.onnx": b"", "../evil": b""})
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_is_made_of_records_or_json() -> None:
    manifest = make_manifest(fields(), {"scene.onnx": b"abc"})
    records = {name: getattr(manifest, name) for name in fields()}
    assert make_manifest(records, {"scene.onnx": b"abc"}) == manifest


def test_the_parent_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        write_bundle(tmp_path / "a" / "b", fields(), {"scene.onnx": b""})
    assert str(caught.value) == (
        f"{tmp_path}/a/b: expected an existing folder around it; type: mkdir -p '{tmp_path}/a'"
    )


def test_what_is_there_is_replaced_only_on_demand(tmp_path: Path) -> None:
    target = tmp_path / "small"
    write_bundle(target, fields(), {"scene.onnx": b"old"})
    with pytest.raises(BundleError) as caught:
        write_bundle(target, fields(), {"scene.onnx": b"new"})
    assert str(caught.value) == (
        f"{target}: expected a free place, got something that is there already; replace it: --overwrite"
    )
    assert open_bundle(target).read("scene.onnx") == b"old"
    write_bundle(target, fields(), {"scene.onnx": b"new"}, overwrite=True)
    assert open_bundle(target).read("scene.onnx") == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_broken_bundle_can_be_replaced(path: Path) -> None:
    (path / "scene.onnx").unlink()
    (path / "golden.npz").write_bytes(b"")
    write_bundle(path, fields(), {"scene.onnx": b"new"}, overwrite=True)
    assert open_bundle(path).read("scene.onnx") == b"new"


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    def refused(target: Path) -> str:
        with pytest.raises(BundleError) as caught:
            write_bundle(target, fields(), {"scene.onnx": b""}, overwrite=True)
        return str(caught.value).removeprefix(f"{target}: expected a bundle to replace, got ")

    end = ": move it away or choose another place"
    target = tmp_path / "target"
    target.mkdir()
    assert refused(target) == f"a folder without a bundle's manifest.json{end}"
    (target / "manifest.json").write_text('{"files": ["a"]}')
    assert refused(target) == f"a folder without a bundle's manifest.json{end}"
    shutil.rmtree(target)
    write_bundle(target, fields(), {"scene.onnx": b""})
    (target / "thesis.txt").write_text("years of work")
    assert refused(target) == f"'thesis.txt', which no bundle has{end}"
    (target / "thesis.txt").unlink()
    (target / "scene.onnx").unlink()
    (target / "scene.onnx").mkdir()
    assert refused(target) == f"the folder 'scene.onnx', which no bundle has{end}"
    link = tmp_path / "link"
    link.symlink_to(target)
    assert refused(link) == f"something that is no folder{end}"
    file = tmp_path / "file"
    file.write_text("")
    assert refused(file) == f"something that is no folder{end}"
    with pytest.raises(BundleError) as caught:  # --overwrite would not help, and is not offered
        write_bundle(file, fields(), {"scene.onnx": b""})
    assert str(caught.value) == f"{file}: expected a free place, got something that is no folder{end}"


def test_a_bundle_that_is_not_accepted_leaves_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "small"
    write_bundle(target, fields(), {"scene.onnx": b"old"})

    def refuse(bundle: Bundle) -> None:
        assert bundle.path != target
        assert bundle.read("scene.onnx") == b"new"
        raise ArithmeticError("parity")

    with pytest.raises(ArithmeticError):
        write_bundle(target, fields(), {"scene.onnx": b"new"}, overwrite=True, accept=refuse)
    assert open_bundle(target).read("scene.onnx") == b"old"
    assert list(tmp_path.iterdir()) == [target]


def write_large(folder: Path) -> str:
    """Try to replace a bundle by one too large for the disk; the message."""
    target = folder / "small"
    with pytest.raises(BundleError) as caught:
        write_bundle(target, fields("new"), {"scene.onnx": bytes(1_000_000)}, overwrite=True)
    assert open_bundle(target).read("scene.onnx") == b"old"
    assert list(folder.iterdir()) == [target]
    return str(caught.value)


def test_a_write_that_fails_leaves_the_old_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "small", fields(), {"scene.onnx": b"old"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        got = write_large(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert got == f"{tmp_path}/small: expected to write a bundle, got: File too large; nothing was changed there"


def test_a_full_disk_leaves_the_old_bundle(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        write_bundle(tmp_path / "small", fields(), {"scene.onnx": b"old"})
        got = write_large(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert got == (
        f"{tmp_path}/small: expected to write a bundle, got: No space left on device; nothing was changed there"
    )


@pytest.mark.slow
def test_readers_see_the_old_bundle_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "small"
    contents = [bytes([index]) * 1000 for index in range(2)]
    write_bundle(target, fields(), {"scene.onnx": contents[0]})
    over = threading.Event()
    seen: set[bytes] = set()
    swapped: list[BundleError] = []

    def reader() -> None:
        while not over.is_set():
            bundle = open_bundle(target)  # there is one at every moment
            try:
                seen.add(bundle.read("scene.onnx"))
            except BundleError as error:  # replaced between the manifest and the file
                swapped.append(error)

    def writer(content: bytes) -> None:
        for _ in range(50):
            write_bundle(target, fields(), {"scene.onnx": content}, overwrite=True)

    failures: list[BaseException] = []

    def noting(call: object, *arguments: object) -> None:
        try:
            call(*arguments)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    reading = threading.Thread(target=noting, args=(reader,))
    writing = [threading.Thread(target=noting, args=(writer, content)) for content in contents]
    reading.start()
    for thread in writing:
        thread.start()
    for thread in writing:
        thread.join()
    over.set()
    reading.join()
    assert failures == []
    assert seen == set(contents)
    assert all("the file was altered" in str(error) for error in swapped)
    verify(open_bundle(target))
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("exchange", [_exchange, _exchange_by_turns])
def test_two_folders_change_places(exchange: Callable[[Path, Path], object], tmp_path: Path) -> None:
    first, second = tmp_path / ".a.partial", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / folder.name).touch()
    if exchange(first, second) is False:
        pytest.skip("this file system does not exchange names")
    assert [(folder.name, entry.name) for folder in (first, second) for entry in folder.iterdir()] == [
        (".a.partial", "b"),
        ("b", ".a.partial"),
    ]
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_an_exchange_that_fails_puts_things_back(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(FileNotFoundError):
        _exchange_by_turns(tmp_path / ".a.partial", tmp_path / "b")
    assert not _exchange(tmp_path / ".a.partial", tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_of_two_writers_of_a_free_place_one_wins(tmp_path: Path) -> None:
    target = tmp_path / "small"
    with pytest.raises(BundleError) as caught:
        write_bundle(
            target,
            fields(),
            {"scene.onnx": b"slow"},
            accept=lambda _: write_bundle(target, fields(), {"scene.onnx": b"quick"}),
        )
    assert "something that is there already" in str(caught.value)
    assert open_bundle(target).read("scene.onnx") == b"quick"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupt_leaves_no_trace(tmp_path: Path) -> None:
    def interrupt(_: Bundle) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "small", fields(), {"scene.onnx": b""}, accept=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_a_place_too(tmp_path: Path) -> None:
    code = (
        "import json, pathlib, sys; from engines.bundle import write_bundle, open_bundle, verify\n"
        "path = pathlib.Path('small')\n"
        "write_bundle(path, json.loads(sys.argv[1]), {'scene.onnx': b'x'})\n"
        "verify(open_bundle(path)); print(open_bundle(path).path)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(fields())], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "small\n"


def test_permissions_are_the_users(tmp_path: Path) -> None:
    write_bundle(tmp_path / "small", fields(), {"scene.onnx": b""})
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "small").stat().st_mode == (tmp_path / "plain").stat().st_mode
