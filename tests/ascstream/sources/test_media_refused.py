"""What cannot be decoded, is not media, or must not be followed: one clear sentence each, and no secret in it."""

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.media import audio_wants, both_wants, hear, write_wav

from ascstream.errors import DecodeError, SourceError, SourceNotFoundError
from ascstream.sources.media import open_media


def refusal(where, error=DecodeError, **options) -> str:
    with pytest.raises(SourceError) as caught:
        hear(open_media(where, **options), both_wants())
    assert type(caught.value) is error
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "no.wav", SourceNotFoundError) == f"no such file: {tmp_path / 'no.wav'}; check the path"


def test_a_folder(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} is a folder; expected a media file"


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert refusal(tmp_path / "a.mp4") == f"{tmp_path / 'a.mp4'} is empty (0 bytes); record or copy it again"


@pytest.mark.parametrize("content", [b"Dear diary, today was no media.\n" * 50, b"\x00" * 5000, bytes(range(256)) * 40])
def test_what_is_no_media(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    assert "a.mp4 is not media that FFmpeg can read; expected sound or video such as .wav or .mp4" in refusal(
        tmp_path / "a.mp4"
    )


def test_an_mp4_without_its_index(clips):
    cut = clips.cut("no_moov.mp4", clips.clip("clip.mp4"), 0.5)
    assert refusal(cut) == (
        f"{cut} is an incomplete MP4: its index (moov) is missing, as when a recording or a copy was broken off; "
        "record or copy it again"
    )


def test_an_mp4_whose_index_comes_last_from_a_pipe(clips):
    with subprocess.Popen(["cat", str(clips.clip("clip.mp4"))], stdout=subprocess.PIPE) as cat:
        message = refusal(cat.stdout)
    assert "standard input is an MP4 whose index (moov) is not at its beginning" in message
    assert "ffmpeg -i IN.mp4 -c copy -movflags +faststart OUT.mp4" in message


def test_an_empty_pipe():
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as nothing:
        assert refusal(nothing.stdout) == "standard input is empty (0 bytes); check the command that feeds it"


def test_no_second_of_sound(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(0, np.int16), 24000)
    assert refusal(path) == f"{path} holds 0 s that can be decoded; record or copy it again"


def test_a_start_behind_the_end(clips):
    path = clips.tone("plain.wav", 4.0)
    message = f"nothing can be decoded from 9 s on in {path}, and it lasts 4.0 s; give a smaller start"
    assert refusal(path, start_seconds=9) == message


def test_only_subtitles(tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    assert refusal(tmp_path / "a.srt").endswith("has neither a sound nor a picture track that can be decoded")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(100, np.int16), 24000)
    path.chmod(0)
    assert refusal(path, SourceError).startswith(f"no permission to read {path}")


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "flac"])
def test_a_file_cut_in_the_middle_says_where(clips, suffix):
    options = ("-movflags", "+faststart") if suffix == "mp4" else ()
    whole = clips.tone("long.flac", 6.0) if suffix == "flac" else clips.clip(f"long.{suffix}", 6.0, *options)
    message = refusal(clips.cut(f"cut_long.{suffix}", whole, 0.6))
    assert f"cut_long.{suffix} ends early: decoded " in message
    assert "of 6.0 s; what came before is kept" in message


def test_a_whole_file_with_a_short_sound_does_not_end_early(clips):
    for suffix in ("mkv", "mp4"):
        path = clips.clip(f"short_sound.{suffix}", 3.0, "-af", "atrim=end=1")
        assert hear(open_media(path), audio_wants()).blocks[-1].end == pytest.approx(1.0, abs=0.04)


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
}


@pytest.mark.parametrize("suffix", [*PLAYLISTS, "mp4", "wav"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_not_followed(clips, tmp_path, kind, suffix):
    """Neither to a file by its absolute path, nor to one beside it, nor to the network."""
    secret = clips.clip("secret.ts", 1.0)
    (tmp_path / "beside.ts").write_bytes(secret.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for target in (str(secret), "beside.ts", f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"):
            path = tmp_path / f"list.{suffix}"
            path.write_text(PLAYLISTS[kind].format(target))
            assert "is a playlist, which is not followed; give the media files that it names" in refusal(path)
            with path.open("rb") as file:
                assert "is a playlist, which is not followed" in refusal(file)
        with pytest.raises(TimeoutError):
            server.accept()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the clips; /secret wants a password, /slow never answers."""

    def do_GET(self):
        if self.path.startswith("/secret"):
            self.send_error(401)
        elif self.path.startswith("/slow"):
            threading.Event().wait(3)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(clips, tmp_path) -> Iterator[str]:
    clips.clip("web.mkv", 2.0)

    def handle(*args):
        return Handler(*args, directory=str(clips.folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handle) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_a_url_gives_what_the_file_gives_and_hides_its_password(server, clips):
    source = open_media(f"http://me:hidden@{server}/web.mkv?token=abc")
    assert source.info.name == f"http://***@{server}/web.mkv?token=***"
    heard = hear(source, both_wants())
    assert np.array_equal(heard.samples, hear(open_media(clips.path("web.mkv")), both_wants()).samples)


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("nothing.mkv", SourceNotFoundError, "there is nothing at http://***@"),
        ("secret.mkv", SourceError, "no permission to read http://***@"),
        ("slow.mkv", SourceError, "did not answer within 0.5 s; check the address and the network"),
    ],
)
def test_a_url_that_does_not_give_says_why_without_the_password(server, path, error, words):
    message = refusal(f"http://me:hidden@{server}/{path}?key=abc", error, open_timeout_seconds=0.5)
    assert words in message
    assert "hidden" not in message
    assert "abc" not in message


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert "refused the connection" in refusal(f"http://me:hidden@127.0.0.1:{port}/a.wav", SourceError)


def test_a_playlist_from_the_network_cannot_read_files_here(server, clips):
    secret = clips.clip("secret.ts", 1.0)
    (clips.folder / "evil.m3u8").write_text(PLAYLISTS["m3u8"].format(f"file://{secret}"))
    with pytest.raises(SourceError):
        hear(open_media(f"http://{server}/evil.m3u8"), audio_wants())


def test_a_session_from_the_network_does_not_make_us_listen(server, clips):
    (clips.folder / "evil.sdp").write_text(PLAYLISTS["sdp"])
    with pytest.raises(SourceError):
        open_media(f"http://{server}/evil.sdp")


def test_an_unknown_scheme_names_the_known_ones():
    message = refusal("gopher://me:hidden@host/x", SourceError)
    assert message.startswith(
        "cannot open gopher://***@host/x: gopher:// is not supported; expected a file or one of http"
    )


def test_nothing_is_printed(tmp_path, capfd):
    (tmp_path / "a.mp4").write_bytes(b"no media" * 999)
    refusal(tmp_path / "a.mp4")
    assert capfd.readouterr() == ("", "")


def test_a_device_or_a_number_is_no_media():
    for name in ("/dev/null", Path("/proc/self/status")):
        assert "is not media that FFmpeg can read" in refusal(name) or "empty" in refusal(name)
