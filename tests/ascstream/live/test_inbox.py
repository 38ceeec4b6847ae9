"""Letters of recorders: in order, bounded, and a bell that rings for signal handlers too."""

import threading
import time

import numpy as np
import pytest

from ascstream.capture.messages import Note, Opened, Sound
from ascstream.live.inbox import Inbox


def sound(stamp: float) -> Sound:
    return Sound(stamp, np.zeros((1, 4800), np.float32), 48000)


def test_letters_come_in_order_and_once():
    inbox = Inbox()
    inbox.put("microphone", 1, Opened("card"))
    inbox.put("camera", 4, Note("note", "a sentence"))
    letters = inbox.take()
    assert [(letter.device, letter.attempt, type(letter.message)) for letter in letters] == [
        ("microphone", 1, Opened),
        ("camera", 4, Note),
    ]
    assert inbox.take() == []


def test_of_sound_that_nobody_takes_the_newest_three_seconds_stay_and_say_so():
    inbox = Inbox()
    inbox.put("microphone", 1, Opened("card"))
    for index in range(100):
        inbox.put("microphone", 1, sound(index / 10))
    first, *letters = [letter.message for letter in inbox.take()]
    assert first == Opened("card")
    sounds = [message for message in letters if isinstance(message, Sound)]
    assert [message.stamp for message in sounds] == pytest.approx(np.arange(70, 100) / 10)
    assert [message.lost for message in sounds] == [True] + [False] * 29
    inbox.put("microphone", 1, sound(11.0))
    assert len(inbox.take()) == 1


def test_of_everything_else_there_is_an_end_too():
    inbox = Inbox()
    for index in range(10_000):
        inbox.put("camera", 1, Note("note", str(index)))
    letters = inbox.take()
    assert len(letters) == 2000
    assert letters[-1].message == Note("note", "9999")


def test_waiting_ends_when_something_comes_and_otherwise_in_time():
    inbox = Inbox()
    begun = time.monotonic()
    inbox.wait(0.05)
    assert 0.04 < time.monotonic() - begun < 2.0
    timer = threading.Timer(0.05, inbox.ring)
    timer.start()
    begun = time.monotonic()
    inbox.wait(30.0)
    assert time.monotonic() - begun < 10.0
    timer.join()
