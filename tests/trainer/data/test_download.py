"""Downloads from a local server: resumed, tried again, refused, and never there with a byte wrong."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from support.web import serving

from trainer.data.download import Patience, download
from trainer.errors import DataError, TrainerError

BODY = os.urandom(300_000)
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def test_a_file_arrives_whole_and_says_how_far_it_is(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with serving({"/a": BODY}) as server:
        path = download(
            f"{server.url}/a",
            tmp_path / "deep/a.zip",
            md5=MD5,
            n_bytes=len(BODY),
            on_bytes=lambda done, total: seen.append((done, total)),
        )
    assert path.read_bytes() == BODY
    assert seen[-1] == (300_000, 300_000)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert [entry.name for entry in path.parent.iterdir()] == ["a.zip"]


def test_a_cut_connection_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pauses: list[float] = []
    with serving({"/a": BODY}, ("cut", 100_000), ("cut", 50_000)) as server:
        path = download(f"{server.url}/a", tmp_path / "a", md5=MD5, n_bytes=len(BODY), sleep=pauses.append)
    assert path.read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert pauses == [1.0, 1.0]


def test_a_partial_file_of_an_earlier_run_is_continued(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(BODY[:299_999])
    with serving({"/a": BODY}) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.requests == [("/a", "bytes=299999-")]
    assert (tmp_path / "a").read_bytes() == BODY


@pytest.mark.parametrize("n_bytes", [len(BODY), None])
def test_a_whole_partial_file_is_only_checked(tmp_path: Path, n_bytes: int | None) -> None:
    (tmp_path / "a.partial").write_bytes(BODY)
    with serving({"/a": BODY}) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, n_bytes=n_bytes)
    assert server.requests == ([] if n_bytes else [("/a", "bytes=300000-")])
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_partial_file_that_is_too_long_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(BODY + b"more")
    with serving({"/a": BODY}) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, n_bytes=len(BODY))
    assert server.requests == [("/a", None)]


@pytest.mark.parametrize("fault", [("whole",), ("wrong range",)])
def test_a_server_that_cannot_resume_is_asked_for_everything(tmp_path: Path, fault: tuple[str]) -> None:
    (tmp_path / "a.partial").write_bytes(b"x" * 1000)
    with serving({"/a": BODY}, fault) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, sleep=lambda _: None)
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_server_that_does_not_tell_the_length_is_believed_by_the_md5(tmp_path: Path) -> None:
    with serving({"/a": BODY}, ("no length",)) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, n_bytes=len(BODY))
    assert len(server.requests) == 1
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_busy_server_is_asked_again_after_the_pause_it_names(tmp_path: Path) -> None:
    pauses: list[float] = []
    with serving({"/a": BODY}, 503, 429, 500, 502) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, sleep=pauses.append)
    assert pauses == [7.0, 7.0, 7.0, 8.0]
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_server_that_stays_busy_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    pauses: list[float] = []
    patience = Patience(attempts=4, longest_pause_seconds=3)
    with (
        serving({"/a": BODY}, ("cut", 70_000), 503, 503, 503) as server,
        pytest.raises(TrainerError, match=r"/a: expected the file, got: 503 .*, 4 times in a row; type the same"),
    ):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, patience=patience, sleep=pauses.append)
    assert pauses == [1.0, 3.0, 3.0]
    assert (tmp_path / "a.partial").read_bytes() == BODY[:70_000]
    assert not (tmp_path / "a").exists()


def test_a_file_with_another_md5_is_asked_for_once_more(tmp_path: Path) -> None:
    with serving({"/a": BODY}, ("spoil",)) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.requests == [("/a", None)] * 2
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_file_that_keeps_another_md5_is_refused_and_removed(tmp_path: Path) -> None:
    with serving({"/a": BODY}) as server, pytest.raises(DataError, match=f"MD5 {'0' * 32}, got {MD5}, twice"):
        download(f"{server.url}/a", tmp_path / "a", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(tmp_path: Path) -> None:
    with serving({"/a": BODY}) as server, pytest.raises(DataError, match="expected 5 bytes, got a file of 300,000"):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, n_bytes=5)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_said_at_once(tmp_path: Path) -> None:
    pauses: list[float] = []
    with serving({}) as server, pytest.raises(DataError, match="/a: expected the file, got: 404 Not Found"):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, sleep=pauses.append)
    assert pauses == []


def test_a_silent_server_is_left_after_a_deadline(tmp_path: Path) -> None:
    patience = Patience(attempts=2, silence_seconds=0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/a"
        with pytest.raises(TrainerError, match="got: timed out, 2 times in a row"):
            download(url, tmp_path / "a", md5=MD5, patience=patience, sleep=lambda _: None)


def test_a_server_that_falls_silent_midway_is_asked_for_the_rest(tmp_path: Path) -> None:
    patience = Patience(silence_seconds=0.2)
    with serving({"/a": BODY}, ("hang", 1000)) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, patience=patience, sleep=lambda _: None)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-"]
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_connection_that_crawls_is_made_anew(tmp_path: Path) -> None:
    patience = Patience(attempts=1, crawl_seconds=0.2)
    with (
        serving({"/a": BODY}, ("drip", 12)) as server,
        pytest.raises(TrainerError, match=r"got: \d bytes in 0\.2 s; type the same command"),
    ):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5, patience=patience)
    with serving({"/a": BODY}) as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == BODY


def test_no_server_is_said_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/a"
    with pytest.raises(TrainerError, match="got: Connection refused, 6 times in a row"):
        download(url, tmp_path / "a", md5=MD5, sleep=lambda _: None)
