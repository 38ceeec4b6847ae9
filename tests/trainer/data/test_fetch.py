"""Fetching a corpus from a local record: consent, resumption, checks, and what is left on the disk."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.recordings import data_folder
from support.tau import small_fold, write_av_layout
from support.web import FileServer, serving

from trainer.data.download import Patience
from trainer.data.fetch import ARCHIVES, LICENCE_SUMMARY, RECORD, Archive, Progress, fetch_tau_av_2021
from trainer.data.tau_av_2021 import FOLDER, LABELS, read_tau_av_2021
from trainer.errors import ConfigError, DataError, TrainerError


def packed(root: Path, *folders: str) -> bytes:
    """A zip of what lies in these folders of a corpus, below the folder's name as in the record."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and name.startswith(folders):
                file.writestr(f"{FOLDER}/{name}", path.read_bytes())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], tuple[Archive, ...]]:
    """The files of a small record, and its table."""
    root = tmp_path_factory.mktemp("record")
    write_av_layout(root, small_fold(LABELS, "lyon", 1, 2), small_fold(LABELS, "lyon", 500, 1))
    bodies = {
        "meta": packed(root, "evaluation_setup", "synthetic"),
        "audio.1": packed(root, "audio"),
        "video.1": packed(root, "video"),
    }
    table = tuple(
        Archive(
            name, hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body) if name != "meta" else None
        )
        for name, body in bodies.items()
    )  # fmt: skip
    return {f"/files/{archive.file_name}": bodies[archive.name] for archive in table}, table


def fetch(folder: Path, server: FileServer, table: tuple[Archive, ...], **options) -> Path:
    options = {"consent": lambda _: True, "sleep": lambda _: None, **options}
    return fetch_tau_av_2021(folder, record=server.url, archives=table, **options)


def asked_for(server: FileServer) -> list[str]:
    return [path.removeprefix(f"/files/{FOLDER}.").removesuffix(".zip") for path, _ in server.requests]


@pytest.mark.data
def test_the_table_is_the_published_one() -> None:
    with (data_folder() / "tau_av_2021/archives.csv").open() as file:
        rows = [Archive(row["archive"], row["md5"], int(row["bytes"])) for row in csv.DictReader(file)]
    assert list(ARCHIVES[1:]) == rows
    assert ARCHIVES[0] == Archive("meta", "76e3d7ed5291b118372e06379cb2b490")


def test_the_table_has_the_record_in_it() -> None:
    assert len(ARCHIVES) == 25
    assert sum(archive.n_bytes or 0 for archive in ARCHIVES) == 107_607_337_075
    assert ARCHIVES[1].file_name == "TAU-urban-audio-visual-scenes-2021-development.audio.1.zip"
    assert RECORD in LICENCE_SUMMARY


def test_a_fetched_corpus_is_read(tmp_path: Path, record) -> None:
    files, table = record
    seen: list[Progress] = []
    with serving(files) as server:
        folder = fetch(tmp_path / "tau", server, table, on_progress=seen.append)
        assert asked_for(server) == ["meta", "audio.1", "video.1"]
        corpus = read_tau_av_2021(folder)
        assert len(corpus.clips) == 60
        assert not list(folder.rglob("*.zip*"))
        # a second time there is nothing to do, and nothing to ask
        assert fetch(folder, server, table, consent=lambda _: pytest.fail("asked again")) == folder
        assert len(server.requests) == 3
    steps = list(dict.fromkeys((item.archive.name, item.number, item.step) for item in seen))
    assert steps == [
        (name, number, step)
        for number, name in enumerate(("meta", "audio.1", "video.1"), start=1)
        for step in ("downloading", "unpacking")
    ]
    assert seen[-1].step == "unpacking"
    assert seen[-1].n_archives == 3


@pytest.mark.parametrize("answer", [False, None, "yes"])
def test_without_consent_nothing_is_downloaded(tmp_path: Path, record, answer: object) -> None:
    files, table = record
    asked: list[str] = []

    def refuse(question: str) -> object:
        asked.append(question)
        return answer

    with serving(files) as server:
        with pytest.raises(ConfigError, match="expected consent to the licence, got none; nothing was downloaded"):
            fetch(tmp_path / "tau", server, table, consent=refuse)
        assert server.requests == []
    assert not (tmp_path / "tau").exists()
    assert asked[0].startswith(LICENCE_SUMMARY)
    assert "non-commercial" in asked[0]
    assert "3 of 3 archives" in asked[0]


def test_the_question_names_the_sizes(tmp_path: Path) -> None:
    asked: list[str] = []
    for video in (True, False):
        with pytest.raises(ConfigError):
            fetch_tau_av_2021(tmp_path, consent=lambda text: bool(asked.append(text)), video=video)
    assert "25 of 25 archives" in asked[0]
    assert "107.6 GB to download, about 129.1 GB unpacked" in asked[0]
    assert "9 of 9 archives" in asked[1]
    assert "30.4 GB to download" in asked[1]


def test_pictures_can_be_left_out(tmp_path: Path, record) -> None:
    files, table = record
    with serving(files) as server:
        folder = fetch(tmp_path, server, table, video=False)
        assert asked_for(server) == ["meta", "audio.1"]
    assert len(read_tau_av_2021(folder, video=False).clips) == 60


def test_a_stopped_fetch_goes_on_where_it_stopped(tmp_path: Path, record) -> None:
    files, table = record
    with serving(files, None, ("cut", 1000), 503) as server:
        with pytest.raises(TrainerError, match="type the same command again to go on"):
            fetch(tmp_path, server, table, patience=Patience(attempts=2))
        assert asked_for(server) == ["meta", "audio.1", "audio.1"]
        fetch(tmp_path, server, table)
    assert asked_for(server)[3:] == ["audio.1", "video.1"]
    assert server.requests[3][1] == "bytes=1000-"
    assert len(read_tau_av_2021(tmp_path).clips) == 60


def test_files_that_were_deleted_are_fetched_again(tmp_path: Path, record) -> None:
    files, table = record
    with serving(files) as server:
        fetch(tmp_path, server, table)
        next((tmp_path / FOLDER / "audio").iterdir()).unlink()
        next((tmp_path / FOLDER / "evaluation_setup").iterdir()).unlink()
        fetch(tmp_path, server, table)
        assert asked_for(server)[3:] == ["meta", "audio.1"]
    assert len(read_tau_av_2021(tmp_path).clips) == 60


def test_an_archive_of_another_md5_is_refused(tmp_path: Path, record) -> None:
    files, table = record
    wrong = (table[0], replace(table[1], md5="0" * 32), table[2])
    with serving(files) as server, pytest.raises(DataError, match=r"audio\.1\.zip.*MD5 0{32}, got [0-9a-f]{32}, twice"):
        fetch(tmp_path, server, wrong)
    assert not (tmp_path / FOLDER / "audio").exists()


def test_archives_downloaded_by_hand_are_used_and_kept(tmp_path: Path, record) -> None:
    files, table = record
    mine = tmp_path / table[1].file_name
    mine.write_bytes(files[f"/files/{table[1].file_name}"])
    with serving(files) as server:
        fetch(tmp_path, server, table)
        assert asked_for(server) == ["meta", "video.1"]
    assert mine.is_file()
    assert len(read_tau_av_2021(tmp_path).clips) == 60


@pytest.mark.parametrize(("content", "got"), [(b"<html>", "6 bytes instead of"), (None, "got [0-9a-f]{32}; delete it")])
def test_an_archive_by_hand_that_is_another_is_named(tmp_path: Path, record, content: bytes | None, got: str) -> None:
    files, table = record
    mine = tmp_path / table[1].file_name
    mine.write_bytes(b"x" * (table[1].n_bytes or 0) if content is None else content)
    with serving(files) as server, pytest.raises(DataError, match=rf"audio\.1\.zip: expected the archive .*{got}"):
        fetch(tmp_path, server, table)


def test_archives_stay_when_asked(tmp_path: Path, record) -> None:
    files, table = record
    with serving(files) as server:
        fetch(tmp_path, server, table, keep_archives=True)
    assert len(list(tmp_path.rglob("*.zip"))) == 3


def test_a_disk_that_is_too_small_is_seen_before_the_download(tmp_path: Path, record) -> None:
    files, table = record
    huge = (*table, Archive("audio.2", "0" * 32, 10**18))
    with serving(files) as server:
        with pytest.raises(TrainerError, match="GB free on the disk"):
            fetch(tmp_path, server, huge)
        assert server.requests == []
