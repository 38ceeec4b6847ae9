"""Streams with sound and picture, and films in real time, recorded by a child: rates, continuity, and their offset."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.cameras import rtsp_film, rtsp_server, udp_stream
from support.films import clap_film, claps_heard, claps_seen
from support.watched import SMALL, Watched

from ascstream.capture.messages import Failed, Note, Opened, Picture, Seen, Sound
from ascstream.capture.requests import MediaRequest

MOST_APART_SECONDS = 0.04


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clap_film(tmp_path_factory.mktemp("films") / "claps.mp4", seconds=12)


def both(where: str) -> MediaRequest:
    return MediaRequest(where, sound=True, picture=SMALL, read_seconds=1.0)


def offsets(child: Watched) -> list[float]:
    """How much later each flash was stamped than the nearest tone."""
    heard = claps_heard(child.all(Sound))
    return [min((seen - tone for tone in heard), key=abs) for seen in claps_seen(child.shown)] if heard else []


def watch_claps(child: Watched, count: int = 2) -> list[float]:
    """Watch until so many claps were both seen and heard."""
    deadline = time.monotonic() + 30
    while len(offsets(child)) < count and time.monotonic() < deadline and not child.all(Failed):
        child.watch(0.5)
    apart = offsets(child)
    assert len(apart) >= count, (child.all(Failed), len(child.shown), len(child.all(Sound)))
    return apart


def gaps(sounds: Sequence[Sound]) -> list[float]:
    """By how much each piece is stamped later than where the one before ended."""
    ends = [sound.stamp + sound.samples.shape[1] / sound.sample_rate for sound in sounds]
    return [sound.stamp - end for sound, end in zip(sounds[1:], ends, strict=False)]


@pytest.mark.slow
def test_rtsp_keeps_sound_and_picture_together(film: Path) -> None:
    with rtsp_server(rtsp_film(film)) as server, Watched(both(server.url)) as child:
        apart = watch_claps(child)
        assert np.median(np.abs(apart)) <= MOST_APART_SECONDS
        [opened] = child.all(Opened)
        assert (opened.sample_rate, opened.n_channels, opened.width, opened.height) == (48000, 2, 320, 240)
        assert opened.details.startswith("h264")
        assert "aac" in opened.details
        server.kill()
        [failed] = child.wait_for(Failed)
        assert failed.message == f"{server.url} ended; check that what sends it still runs"


@pytest.mark.slow
def test_transport_streams_keep_sound_and_picture_together(film: Path) -> None:
    with udp_stream(film) as sender, Watched(both(sender.url)) as child:
        apart = watch_claps(child)
        assert np.median(np.abs(apart)) <= MOST_APART_SECONDS
        sounds = child.all(Sound)
        assert all(np.isfinite(sound.samples).all() and sound.samples.shape[0] == 2 for sound in sounds)
        assert sum(sound.lost for sound in sounds) <= 1
        sender.kill()
        [failed] = child.wait_for(Failed)
        assert failed.message == f"{sender.url} gave nothing for 1 s; check the network"


@pytest.mark.slow
def test_sound_alone_is_followed(film: Path) -> None:
    with udp_stream(film) as sender, Watched(MediaRequest(sender.url, sound=True)) as child:
        child.wait_for(Sound, 100)
        [opened] = child.all(Opened)
        assert (opened.width, opened.sample_rate) == (None, 48000)
        assert not child.all(Seen)
        assert child.ask() == Picture(child.all(Picture)[0].moment, None, None)


@pytest.mark.slow
def test_h264_that_is_joined_in_the_middle_is_shown_from_a_key_frame_on(film: Path) -> None:
    with udp_stream(film) as sender:
        time.sleep(1.5)
        with Watched(MediaRequest(sender.url, picture=SMALL)) as child:
            child.wait_for(Seen, 3)
            image = child.ask().image
            assert image is not None
            assert min(abs(image.mean() - 0), abs(image.mean() - 255)) < 20, "black or white, never half of it"


@pytest.mark.slow
def test_a_film_plays_in_real_time_over_and_over(tmp_path: Path) -> None:
    path = clap_film(tmp_path / "short.mkv", seconds=2, sound="pcm_s16le")
    with Watched(MediaRequest(str(path), sound=True, picture=SMALL)) as child:
        child.wait_for(Seen)
        begin = time.monotonic()
        child.watch(6)
        sounds = child.all(Sound)
        assert np.abs(gaps(sounds)).max() < 0.002, "also where it begins again"
        assert not any(sound.lost for sound in sounds)
        heard = claps_heard(sounds)
        assert np.allclose(np.diff(heard), 1.0, atol=0.005)
        assert np.median(np.abs(offsets(child))) <= MOST_APART_SECONDS
        late = [came - message.stamp for came, message in child.said if isinstance(message, Sound) and came > begin]
        assert min(late) >= 0, "nothing is heard before its time"
        assert np.median(late) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("tracks", ["sound", "picture"])
def test_a_film_with_one_track_plays(tmp_path: Path, tracks: str) -> None:
    path = clap_film(tmp_path / "both.mkv", seconds=1, sound="pcm_s16le")
    request = MediaRequest(str(path), sound=tracks == "sound", picture=SMALL if tracks == "picture" else None)
    with Watched(request) as child:
        if tracks == "sound":
            assert np.abs(gaps(child.wait_for(Sound, 60))).max() < 0.002
        else:
            stamps = [seen.stamp for seen in child.wait_for(Seen, 12)]
            assert np.diff(stamps).max() < 0.5, "it began again"
        assert len(child.all(Opened)) == 1


def test_a_large_picture_is_decoded_by_whatever_is_there(tmp_path: Path) -> None:
    path = clap_film(tmp_path / "large.mkv", seconds=1, width=1280, height=720)
    with Watched(MediaRequest(str(path), picture=SMALL)) as child:
        child.wait_for(Seen, 3)
        image = child.ask().image
        assert image is not None
        assert image.shape == (120, 160, 3)
        assert not child.all(Note)
