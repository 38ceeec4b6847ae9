"""Names of inputs: expanded in order, printed without their secrets."""

import time
from pathlib import Path

import pytest

from ascstream.errors import SourceNotFoundError
from ascstream.sources.inputs import expand_inputs, redact, url_scheme


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.MP4", "notes.txt", ".hidden.wav", "deep/er/c.mkv", ".git/d.wav", "star*.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_stands_for_its_media_sorted_without_hidden_ones(tree):
    names = ["a.MP4", "b.wav", "deep/er/c.mkv", "star*.wav"]
    assert expand_inputs([tree]) == [str(tree / name) for name in names]


def test_order_is_as_typed_and_nothing_comes_twice(tree):
    typed = [str(tree / "deep" / "er" / "c.mkv"), "-", str(tree / "*.wav"), str(tree / "b.wav"), "rtsp://camera/1"]
    assert expand_inputs(typed) == [typed[0], "-", str(tree / "b.wav"), str(tree / "star*.wav"), "rtsp://camera/1"]


def test_an_existing_name_with_a_star_is_that_file_alone(tree):
    assert expand_inputs([str(tree / "star*.wav")]) == [str(tree / "star*.wav")]


def test_two_stars_go_deep(tree):
    assert expand_inputs([str(tree / "**" / "*.mkv")]) == [str(tree / "deep" / "er" / "c.mkv")]


def test_a_file_named_on_its_own_may_have_any_suffix(tree):
    assert expand_inputs([tree / "notes.txt"]) == [str(tree / "notes.txt")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.wav", "no such file or folder: .*nothing.wav; check the path"),
        ("empty", "no media files in the folder .*empty; expected .wav, .mp4, .mkv, .mp3 or the like"),
        ("*.flac", r"no file matches .*\*.flac; check the pattern"),
    ],
)
def test_what_is_not_there_is_named(tree, name, message):
    with pytest.raises(SourceNotFoundError, match=message):
        expand_inputs([str(tree / name)])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:secret@host/1", "rtsp://***@host/1"),
        ("https://host/x.mp4?id=3&token=abc&n=1", "https://host/x.mp4?id=3&token=***&n=1"),
        ("https://host/?API_KEY=abc#password=def", "https://host/?API_KEY=***#password=***"),
        ("https://host/?X-Amz-Signature=abc&X-Amz-Date=1", "https://host/?X-Amz-Signature=***&X-Amz-Date=1"),
        ("failed: http://u:p@h/a and http://u2:p2@h/b", "failed: http://***@h/a and http://***@h/b"),
        ("rtsp://me:p@ss@host/1", "rtsp://***@host/1"),
        ("clips/a@b?token=1.wav", "clips/a@b?token=1.wav"),
        ("rtsp://me:pa/ss@host/1", "rtsp://***@host/1"),
        ("rtsp://me:p'a?s#s@host/1 broke off", "rtsp://***@host/1 broke off"),
        ("rtsp://me:SECRET PW@h/x", "rtsp://***@h/x"),
        ("rtsp:/me:SECRET@h", "rtsp:/***@h"),
        ("C:/clips/me@home.mp4", "C:/clips/me@home.mp4"),
        ("rtsp://10.0.0.1:554/user=admin_password=abc_channel=1.sdp", "rtsp://10.0.0.1:554/user=admin_password=***"),
        ("http://host/?loginuse=admin&loginpas=888888&psw=1", "http://host/?loginuse=admin&loginpas=***&psw=***"),
        ("rtsp://host:554/a@2 and 'rtsp://[::1]:554/b@2'", "rtsp://host:554/a@2 and 'rtsp://[::1]:554/b@2'"),
        ("no 'rtsp://host', me@home; http://host, me@home", "no 'rtsp://host', me@home; http://host, me@home"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert redact(url) == shown


def test_secrets_are_found_in_time_whatever_the_text():
    began = time.monotonic()
    for text in ("key" * 5_000, "x" * 15_000, "a:" * 7_000, "@" * 15_000, "=" * 15_000):
        redact(f"rtsp://{text}")
    assert time.monotonic() - began < 10


def test_only_urls_have_a_scheme():
    assert [url_scheme(x) for x in ("RTSP://h", "a.wav", "-", "C:\\x.wav", "clip:1.wav", "file:///a")] == [
        "rtsp",
        None,
        None,
        None,
        None,
        "file",
    ]
