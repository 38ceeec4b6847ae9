"""What cannot be recorded, and what a camera is asked for: messages, and FFmpeg's options in their order."""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from support.films import clap_film
from support.watched import SMALL, Watched
from support.web import serving

from ascstream.capture.messages import Failed
from ascstream.capture.opening import camera_size, device_options, explain_device, open_medium
from ascstream.capture.requests import MediaRequest, PictureRequest
from ascstream.errors import DecodeError, SourceError, SourceNotFoundError


def squashed(width: int, height: int) -> PictureRequest:
    return PictureRequest(width, height, "squash", None, "bilinear")


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (None, (640, 480)),
        (squashed(96, 96), (320, 240)),
        (squashed(320, 240), (320, 240)),
        (squashed(321, 240), (640, 480)),
        (PictureRequest(224, 224, "crop", 256, "bilinear"), (640, 480)),
        (PictureRequest(224, 224, "crop", None, "bilinear"), (320, 240)),
        (PictureRequest(500, 300, "crop", None, "bilinear"), (1280, 720)),
        (squashed(9000, 9000), (3840, 2160)),
    ],
)
def test_a_camera_is_asked_for_the_smallest_size_that_is_enough(
    picture: PictureRequest | None, size: tuple[int, int]
) -> None:
    assert camera_size(picture) == size


def test_motion_jpeg_is_asked_for_first_and_anything_last() -> None:
    options = list(device_options("v4l2", squashed(224, 224)))
    assert options[0] == {
        "input_format": "mjpeg",
        "video_size": "320x240",
        "framerate": "30",
        "timestamps": "default",
    }
    assert [len(chosen) for chosen in options] == [4, 3, 2, 1]
    assert options[-1] == {"timestamps": "default"}
    assert list(device_options("avfoundation", None)) == [
        {"video_size": "640x480", "framerate": "30"},
        {"framerate": "30"},
        {},
    ]


@pytest.mark.parametrize(
    ("number", "words", "missing"),
    [
        (errno.ENOENT, "no such camera", True),
        (errno.ENODEV, "was unplugged", True),
        (errno.EBUSY, "in use by another program", False),
        (errno.EACCES, "usermod -aG video", False),
        (errno.ENOTTY, "is no camera", False),
        (errno.EINVAL, "does not work as a camera", False),
        (None, "does not work as a camera", False),
    ],
)
def test_a_camera_that_does_not_open_says_why(number: int | None, words: str, missing: bool) -> None:
    error = explain_device(number, "/dev/video3")
    assert words in str(error)
    assert "/dev/video3" in str(error)
    assert isinstance(error, SourceNotFoundError) == missing


def failure(request: MediaRequest) -> Failed:
    with Watched(request) as child:
        [failed] = child.wait_for(Failed)
        assert len(child.said) == 1
        return failed


def test_a_child_says_why_it_cannot_open() -> None:
    failed = failure(MediaRequest("/dev/video99", "v4l2", picture=SMALL))
    assert failed == Failed("no such camera: /dev/video99; type: ascstream devices", missing=True)


def refusal(where: str, **wants: object) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_medium(MediaRequest(where, picture=SMALL, open_seconds=1.0, read_seconds=1.0, **wants))
    return caught.value


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    assert isinstance(refusal(str(tmp_path / "none.mp4")), SourceNotFoundError)
    assert isinstance(refusal("rtsp://somebody:hush@127.0.0.1:1/live"), SourceNotFoundError)
    error = refusal("rtsp://somebody:hush@no-such-host.invalid/live")
    assert isinstance(error, SourceNotFoundError)
    assert str(error) == "cannot reach rtsp://***@no-such-host.invalid/live; check the host's name and the network"


def test_what_is_no_medium_is_refused(tmp_path: Path) -> None:
    empty, rubbish = tmp_path / "empty.mp4", tmp_path / "rubbish.mp4"
    empty.touch()
    rubbish.write_bytes(bytes(range(256)) * 40)
    assert "is empty (0 bytes)" in str(refusal(str(empty)))
    assert "is not media" in str(refusal(str(rubbish)))
    assert "is a folder" in str(refusal(str(tmp_path)))
    assert "standard input cannot be watched live" in str(refusal("-"))
    assert "is not supported" in str(refusal("ftp://127.0.0.1/clip.mp4"))


def test_the_wanted_track_must_be_there(tmp_path: Path) -> None:
    film = clap_film(tmp_path / "both.mkv", seconds=1)
    sound_only = tmp_path / "sound.wav"
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(film), "-vn", str(sound_only)], check=True)
    assert str(refusal(str(sound_only))) == f"no picture in {sound_only}; give another source, or none"
    assert isinstance(refusal(str(sound_only)), DecodeError)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(server.accept()[0]))
        thread.start()
        error = refusal(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
        for connection in held:
            connection.close()
    assert "did not answer within 1 s" in str(error)
    assert not isinstance(error, SourceNotFoundError)


def test_a_playlist_from_the_network_opens_no_local_file(tmp_path: Path) -> None:
    secret = clap_film(tmp_path / "secret.mkv", seconds=1)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
    with serving({"/live.m3u8": playlist}) as server:
        assert isinstance(refusal(f"{server.url}/live.m3u8"), SourceError)


def test_a_server_that_sends_a_page_is_not_said_to_be_out_of_reach() -> None:
    with serving({"/index.html": b"<html><body>" + 100 * b"<p>A camera? No.</p>" + b"</body></html>"}) as server:
        error = refusal(f"{server.url}/index.html")
    assert isinstance(error, SourceError)
    assert "cannot reach" not in str(error)
