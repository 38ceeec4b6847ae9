"""A camera that sends motion JPEG, recorded by a child: opens, answers, and everything that goes wrong with cameras."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.cameras import MjpegCamera
from support.films import plain, read_moment
from support.waiting import until
from support.watched import SMALL, Watched

from ascstream.capture.messages import Failed, Note, Opened, Seen, Sound
from ascstream.capture.requests import MediaRequest, PictureRequest


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    with MjpegCamera() as camera:
        yield camera


def test_it_opens_says_that_pictures_come_and_answers(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, sound=True, picture=SMALL)) as child:
        child.wait_for(Seen)
        assert isinstance(child.said[0][1], Opened)
        [opened] = child.all(Opened)
        assert (opened.name, opened.width, opened.height, opened.sample_rate) == (camera.url, 640, 480, None)
        assert opened.frame_rate is None, "it announces none"
        assert opened.details.startswith("mjpeg")
        picture = child.ask()
        assert picture.image is not None
        assert picture.stamp is not None
        assert picture.image.shape == (120, 160, 3)
        drawn = read_moment(picture.image, picture.stamp)
        assert drawn is not None
        assert -0.001 <= picture.stamp - drawn < 1.0, "stamped soon after it was made, never before"
        assert picture.stamp <= picture.moment
        assert not child.all(Sound)
        assert not child.all(Failed)


@pytest.mark.slow
def test_it_says_that_pictures_come_at_most_ten_times_a_second(camera: MjpegCamera) -> None:
    camera.frame_rate = 50
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen)
        begin = time.monotonic()
        seen = child.wait_for(Seen, 12, since=begin)
        assert time.monotonic() - begin > 0.9
        assert sum(message.n_frames for message in seen) > len(seen)
        stamps = [message.stamp for message in seen]
        assert stamps == sorted(stamps)


def test_a_picture_is_sent_once(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen)
        assert child.ask(time.monotonic() - 1000).stamp is None, "there was none then"
        camera.freeze()
        until(lambda: time.monotonic() > child.said[-1][0] + 0.3)
        first, second = child.ask(), child.ask()
        assert first.image is not None
        assert second.image is None
        assert second.stamp == first.stamp


def test_a_question_is_about_its_moment(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen, 5)
        picture = child.ask(time.monotonic() - 0.3)
        assert picture.stamp is not None
        assert picture.moment - 1.0 < picture.stamp <= picture.moment


def test_a_cut_picture_has_the_middle(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=PictureRequest(96, 96, "crop", 96, "bilinear"))) as child:
        child.wait_for(Seen)
        picture = child.ask()
        assert picture.image is not None
        assert picture.image.shape == (96, 96, 3)
        assert read_moment(picture.image, time.monotonic()) is not None


@pytest.mark.slow
def test_a_camera_that_freezes_is_silent_and_then_failed(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=SMALL, read_seconds=1.0)) as child:
        child.wait_for(Seen)
        camera.freeze()
        [failed] = child.wait_for(Failed)
        assert failed.message == f"{camera.url} gave nothing for 1 s; check the network"
        assert not failed.missing
        last = child.all(Seen)[-1].stamp
        assert child.said[-1][0] - last > 0.9


@pytest.mark.slow
def test_rubbish_does_not_count_as_pictures(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen)
        camera.garbage()
        until(lambda: child.recorder.ask(time.monotonic()) or child.all(Note))
        [note] = child.all(Note)
        assert note.kind == "corrupt"
        assert note.message == f"a picture of {camera.url} cannot be decoded and is left out; so are more like it"
        time.sleep(0.2)
        begin = time.monotonic()
        child.watch(0.7, rate=10)
        assert not child.all(Seen, begin)
        camera.garbage(False)
        child.wait_for(Seen, since=time.monotonic())
        assert child.ask().image is not None
        assert child.all(Note) == [note], "told once"


def test_a_new_size_is_told_and_the_pictures_go_on(camera: MjpegCamera) -> None:
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen)
        camera.resize(320, 240)

        def told() -> bool:
            picture = child.ask()
            assert picture.image is None or picture.image.shape == (120, 160, 3)
            return len(child.all(Opened)) > 1

        until(told)
        assert [(opened.width, opened.height) for opened in child.all(Opened)] == [(640, 480), (320, 240)]


def test_a_killed_camera_is_failed_and_its_return_opens(camera: MjpegCamera) -> None:
    request = MediaRequest(camera.url, picture=SMALL)
    with Watched(request) as child:
        child.wait_for(Seen)
        camera.kill()
        [failed] = child.wait_for(Failed)
        assert failed.message.startswith(camera.url)
        assert "check that what sends it still runs" in failed.message
    with Watched(request) as child:
        [failed] = child.wait_for(Failed)
        assert failed.missing, "nobody listens"
        assert failed.message == (
            f"{camera.url} refused the connection; check that the server runs and the port is right"
        )
    camera.restart()
    with Watched(request) as child:
        child.wait_for(Seen)


def test_credentials_are_never_told(camera: MjpegCamera) -> None:
    url = camera.url.replace("//", "//somebody:hush@")
    with Watched(MediaRequest(url, picture=SMALL)) as child:
        child.wait_for(Seen)
        camera.kill()
        child.wait_for(Failed)
        assert "hush" not in repr(child.said)
        assert "***@" in child.all(Opened)[0].name
        assert "hush" not in "".join(child.recorder.log)


def test_the_colour_is_right(camera: MjpegCamera) -> None:
    camera.draw = plain(200, 40, 90)
    with Watched(MediaRequest(camera.url, picture=SMALL)) as child:
        child.wait_for(Seen)
        image = child.ask().image
        assert image is not None
        assert abs(image.astype(int).mean(axis=(0, 1)) - (200, 40, 90)).max() < 4
