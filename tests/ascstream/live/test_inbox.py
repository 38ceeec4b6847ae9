"""Letters of recorders: in order, bounded, and a bell that rings for signal handlers too."""

import threading
import time

import numpy as np
import pytest

from ascstream.capture.messages import Failed, Note, Opened, Seen, Sound
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


def test_the_bound_on_sound_holds_when_chunks_grow():
    inbox = Inbox()
    for index in range(30):
        inbox.put("microphone", 1, sound(index / 10))
    inbox.put("microphone", 1, Sound(3.0, np.zeros((1, 96_000), np.float32), 48_000))
    sounds = [letter.message for letter in inbox.take() if isinstance(letter.message, Sound)]
    assert [message.stamp for message in sounds] == pytest.approx([*np.arange(20, 30) / 10, 3.0])
    assert [message.lost for message in sounds] == [True] + [False] * 10
    inbox.put("microphone", 1, Sound(5.0, np.zeros((1, 480_000), np.float32), 48_000))
    assert inbox.take() == []  # more than may wait at all
    inbox.put("microphone", 1, sound(15.0))
    (letter,) = inbox.take()
    assert isinstance(letter.message, Sound)
    assert letter.message.lost


def test_of_everything_else_there_is_an_end_too():
    inbox = Inbox()
    for index in range(10_000):
        inbox.put("camera", 1, Note("note", str(index)))
    letters = inbox.take()
    assert len(letters) == 2000
    assert letters[-1].message == Note("note", "9999")


def test_sound_that_goes_with_the_rest_is_counted_and_the_next_one_says_so():
    inbox = Inbox()
    inbox.put("microphone", 1, sound(0.0))
    inbox.put("microphone", 1, sound(0.1))
    inbox.put("microphone", 1, sound(0.2))
    for index in range(1998):
        inbox.put("camera", 1, Seen(float(index), 1))
    first, second = (letter.message for letter in inbox.take() if isinstance(letter.message, Sound))
    assert (first.stamp, first.lost, second.lost) == (0.1, True, False)
    inbox.put("microphone", 1, sound(0.3))
    for index in range(2000):
        inbox.put("camera", 1, Seen(float(index), 1))
    for index in range(30):  # three seconds: what was dropped with the rest counts no more
        inbox.put("microphone", 1, sound(0.4 + index / 10))
    sounds = [letter.message for letter in inbox.take() if isinstance(letter.message, Sound)]
    assert [message.stamp for message in sounds] == pytest.approx(0.4 + np.arange(30) / 10)
    assert [message.lost for message in sounds] == [True] + [False] * 29


def test_a_failure_and_the_newest_form_of_a_device_are_never_dropped():
    inbox = Inbox()
    inbox.put("microphone", 1, Opened("old"))
    inbox.put("camera", 1, Opened("camera"))
    inbox.put("microphone", 1, Failed("unplugged"))
    inbox.put("microphone", 2, Opened("new"))
    for index in range(3000):
        inbox.put("camera", 1, Seen(float(index), 1))
    letters = [letter.message for letter in inbox.take()]
    assert letters[:3] == [Opened("camera"), Failed("unplugged"), Opened("new")]
    assert (len(letters), letters[-1]) == (2000, Seen(2999.0, 1))


def test_chunks_without_samples_have_an_end_too():
    inbox = Inbox()
    for index in range(3000):
        inbox.put("microphone", 1, Sound(float(index), np.zeros((1, 0), np.float32), 48000))
    assert len(inbox.take()) == 2000


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
