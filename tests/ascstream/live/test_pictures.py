"""Questions to a camera, and what windows hear of the answers: also late ones, and none."""

from fractions import Fraction

import numpy as np
import pytest

from ascstream.capture.messages import Picture
from ascstream.live.pictures import LivePictures
from ascstream.live.timeline import Timeline
from ascstream.records import VideoFrame, VideoProgress
from ascstream.sources.base import FrameSchedule

START = 300.0
IMAGE = np.zeros((2, 2, 3), np.uint8)


class Camera:
    """Asked at tenths of a second from 0.1 on."""

    def __init__(self, delay=0.0, paces=False):
        schedule = FrameSchedule(Fraction(1, 10), (Fraction(1, 10),), 1.0)
        self.pictures = LivePictures(schedule, Timeline(START), delay, paces=paces)
        self.asked = []
        self.there = True

    def ask(self, moment):
        self.asked.append(moment)
        return self.there

    def step(self, seconds):
        return list(self.pictures.step(START + seconds, self.ask))

    def answer(self, moment, stamp, image=IMAGE):
        stamp = None if stamp is None else START + stamp
        return list(self.pictures.take(Picture(START + moment, stamp, image)))


def test_a_picture_in_time_settles_its_moment():
    camera = Camera()
    assert camera.step(0.05) == []
    assert camera.step(0.101) == []
    assert camera.asked == [pytest.approx(START + 0.1)]
    (frame,) = camera.answer(0.1, 0.08)
    assert isinstance(frame, VideoFrame)
    assert (frame.time, frame.index) == (pytest.approx(0.08), 0)
    assert 0.1 + 1e-6 < frame.until < 0.1 + 1e-5
    assert camera.step(0.16) == []


def test_the_same_picture_again_and_none_at_all_are_progress():
    camera = Camera()
    for moment, stamp in ((0.1, 0.08), (0.2, None)):
        camera.step(moment + 0.001)
        assert camera.answer(moment, stamp, None) == [VideoProgress(pytest.approx(moment + 2e-6))]


def test_a_picture_that_is_late_is_not_waited_for_and_still_serves():
    camera = Camera()
    camera.step(0.101)
    assert camera.pictures.due_moment() == pytest.approx(START + 0.151)
    assert camera.step(0.15) == []
    assert camera.step(0.152) == [VideoProgress(pytest.approx(0.1, abs=1e-5))]
    (frame,) = camera.answer(0.1, 0.09)
    assert (frame.time, frame.until) == (pytest.approx(0.09), pytest.approx(0.09))


def test_an_answer_settles_older_questions_and_times_never_go_back():
    camera = Camera()
    camera.step(0.201)
    assert len(camera.asked) == 2
    (first,) = camera.answer(0.2, 0.19)
    assert first.until > 0.2
    (second,) = camera.answer(0.1, 0.05)
    assert second.time == first.time
    assert camera.step(0.29) == []


def test_a_camera_that_is_lost_is_not_waited_for():
    camera = Camera()
    camera.there = False
    assert camera.step(0.25) == [
        VideoProgress(pytest.approx(0.1, abs=1e-5)),
        VideoProgress(pytest.approx(0.2, abs=1e-5)),
    ]


def test_moments_that_were_missed_by_far_are_not_asked_for():
    camera = Camera()
    camera.step(0.1)
    (progress,) = camera.step(60.0)
    assert progress.time == pytest.approx(59.5, abs=1e-3)
    assert camera.asked[1] == pytest.approx(START + 59.5, abs=0.11)
    assert len(camera.asked) < 10


def test_what_the_camera_shows_later_is_asked_for_later():
    camera = Camera(delay=0.25)
    assert camera.step(0.34) == []
    assert camera.asked == []
    camera.step(0.36)
    assert camera.asked == [pytest.approx(START + 0.35)]
    (frame,) = camera.answer(0.35, 0.33)
    assert frame.time == pytest.approx(0.08)


def test_without_sound_windows_hear_of_time():
    camera = Camera(paces=True)
    assert camera.step(0.06) == [VideoProgress(pytest.approx(0.06, abs=1e-5))]
    assert camera.step(0.09) == []
    assert camera.pictures.due_moment() == pytest.approx(START + 0.1)
