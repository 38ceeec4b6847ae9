"""Archives: unpacked whole, again without harm, and refused before a byte lands outside the folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from trainer.data.unpack import check_room, unpack
from trainer.errors import DataError, TrainerError


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def test_files_are_unpacked_and_those_that_are_there_left_alone(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("top/", b""), ("top/audio/a.wav", b"aaaa"), ("top/audio/b.wav", b"bb"))
    seen: list[tuple[int, int]] = []
    folder = tmp_path / "out"
    assert unpack(archive, folder, lambda *done: seen.append(done)) == {"top/audio/a.wav": 4, "top/audio/b.wav": 2}
    assert seen == [(4, 6), (6, 6)]
    first = folder / "top/audio/a.wav"
    assert first.read_bytes() == b"aaaa"
    first.write_bytes(b"AAAA")
    (folder / "top/audio/b.wav").write_bytes(b"half of it")
    unpack(archive, folder)
    assert first.read_bytes() == b"AAAA"
    assert (folder / "top/audio/b.wav").read_bytes() == b"bb"
    assert not list(folder.rglob("*.partial"))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:/evil"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", ("good", b"good"), (name, b"evil"))
    with pytest.raises(DataError, match=r"expected files that stay in their folder, got '.*evil'"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    archive = zipped(tmp_path / "a.zip", ("good", b"good"), (link, b"/etc/passwd"))
    with pytest.raises(DataError, match="expected plain files, got 'link', which is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("secret", b"secret"))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="'secret', which is encrypted"):
        unpack(archive, tmp_path / "out")


def test_a_damaged_archive_is_refused_and_no_half_file_stays(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("good", b"good"), ("bad", b"content"))
    archive.write_bytes(archive.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(DataError, match=r"a\.zip: expected a zip archive, got a damaged one: Bad CRC-32.*; delete it"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]
    archive.write_bytes(b"<html>")
    with pytest.raises(DataError, match="got a damaged one: File is not a zip file"):
        unpack(archive, tmp_path / "out")


def test_a_full_disk_is_seen_beforehand(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"new/deep: expected 1000000000\.0 GB free on the disk, got \d+\.\d GB"):
        check_room(tmp_path / "new/deep", 10**18)
    check_room(tmp_path, 0)
