"""A device under supervision: opened, watched, ended and opened again; every moment is the test's."""

import numpy as np
import pytest
from support.fake_devices import World

from ascstream.capture.messages import Failed, Note, Opened, Seen, Sound
from ascstream.live.supervisor import Supervisor

SILENCE = np.zeros((1, 960), np.float32)
OPENED = Opened("card", 48000, 1, 1)


class Recorder:
    """Notes what becomes of it."""

    def __init__(self):
        self.killed = self.closed = False
        self.stuck = False
        self.log = ("first line", "the last line")
        self.asked = []

    @property
    def running(self):
        return not self.killed or self.stuck

    def ask(self, moment):
        self.asked.append(moment)

    def kill(self):
        self.killed = True

    def close(self, timeout_seconds=0.5):
        self.kill()
        self.closed = True


class Watch:
    """Sees what it is told to see."""

    def __init__(self):
        self.looking = False
        self.came = False
        self.longest_seconds = 30.0

    def start(self):
        self.looking = True

    def stop(self):
        self.looking = False

    def changed(self):
        came, self.came = self.came, False
        return came

    def forget(self):
        self.came = False

    def join(self, timeout_seconds):
        assert not self.looking


class Bench:
    """A supervisor on a clock that goes on in tenths of a second."""

    def __init__(self, kinds=("sound",), watch=None, jitter=1.0):
        self.world = World(1000.0)
        self.recorders = []
        self.events = []
        self.supervisor = Supervisor(
            "microphone", "card", kinds, self.start, lambda *_: None, watch=watch, random=lambda: jitter
        )
        self.supervisor.open(1000.0)

    def start(self, deliver):
        self.recorders.append(Recorder())
        return self.recorders[-1]

    @property
    def now(self):
        return self.world.now

    def go(self, seconds, *, sound=False, seen=False, stamp=None):
        for _ in range(round(seconds / 0.1)):
            self.world.now += 0.1
            stamp_now = self.now if stamp is None else stamp
            if sound:
                self.say(Sound(stamp_now, SILENCE, 48000))
            if seen:
                self.say(Seen(stamp_now, 3))
            self.events += self.supervisor.step(self.now)

    def say(self, message):
        if isinstance(message, Sound | Seen):
            self.events += self.supervisor.heard(message, self.now)
        else:
            self.events += self.supervisor.take(self.supervisor.attempt, message, self.now)

    def kinds(self):
        return [event.kind for event in self.events]


def test_a_healthy_device_runs_and_nothing_is_said():
    bench = Bench()
    assert bench.supervisor.state == "opening"
    bench.say(OPENED)
    bench.go(60, sound=True)
    assert (bench.supervisor.state, bench.supervisor.since) == ("running", pytest.approx(1000.1))
    assert bench.supervisor.ready
    assert bench.supervisor.lost_since is None
    assert (bench.events, len(bench.recorders)) == ([], 1)


def test_one_that_never_delivers_is_ended_after_five_seconds():
    bench = Bench()
    bench.say(OPENED)
    bench.go(4.9)
    assert not bench.recorders[0].killed
    bench.go(0.3)
    assert bench.recorders[0].killed
    assert bench.supervisor.state == "waiting"
    assert bench.supervisor.problem == "card gave nothing within 5 s (it said: the last line)"
    assert bench.events == []  # it was never there to be lost
    bench.go(0.6)
    assert bench.supervisor.state == "opening"
    assert bench.recorders[0].closed


def test_a_stall_is_noticed_within_two_seconds_and_told_once():
    bench = Bench()
    bench.go(20, sound=True)
    silent_since = bench.now
    while not bench.events:
        bench.go(0.1)
    assert bench.now - silent_since <= 2.0
    assert bench.events[0].message == "microphone lost: card has given no sound for 1.8 s"
    assert bench.supervisor.lost_since == pytest.approx(silent_since)
    bench.go(120)
    assert bench.kinds() == ["device_lost"]
    assert bench.supervisor.n_losses == 1
    bench.go(0.1, sound=True)
    while bench.supervisor.state != "running":
        bench.go(0.1, sound=bench.supervisor.state == "opening")
    assert bench.kinds() == ["device_lost", "device_back"]
    assert bench.events[1].seconds == pytest.approx(bench.now - silent_since, abs=0.11)


def test_a_stamp_that_stands_still_is_silence():
    bench = Bench(["picture"])
    bench.go(5, seen=True)
    bench.go(2, seen=True, stamp=bench.now)
    assert bench.supervisor.state == "waiting"
    assert bench.events[0].message == "microphone lost: card has given no picture for 1.8 s"


def test_one_old_picture_is_no_return():
    bench = Bench(["picture"])
    bench.go(3, seen=True)
    bench.go(3)  # lost, and opened again
    assert bench.supervisor.state == "opening"
    bench.say(Seen(bench.now, 1))  # what the server had ready
    bench.go(3)
    assert bench.kinds() == ["device_lost"]
    assert bench.supervisor.lost_since == pytest.approx(1003.0)
    bench.go(4)
    bench.say(Seen(bench.now - 0.1, 1))
    bench.say(Seen(bench.now, 1))
    assert bench.kinds() == ["device_lost", "device_back"]
    assert bench.supervisor.n_losses == 1


def test_a_source_is_lost_when_either_of_its_two_stops():
    bench = Bench(["sound", "picture"])
    bench.say(Opened("camera", 48000, 2, 2, 640, 480))
    bench.go(1, sound=True)
    assert not bench.supervisor.ready
    bench.go(1, sound=True, seen=True)
    assert bench.supervisor.ready
    bench.go(2, sound=True)
    assert bench.supervisor.state == "waiting"


def test_attempts_lie_further_and_further_apart_up_to_half_a_minute():
    bench = Bench(watch=Watch())
    starts = []
    while len(starts) < 10:
        if len(bench.recorders) > len(starts):
            starts.append(bench.now)
            bench.say(Failed("busy"))
        bench.go(0.1)
    gaps = np.diff(starts)
    assert gaps[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30], abs=0.3)
    assert gaps[-1] == pytest.approx(30, abs=0.3)


def test_jitter_makes_attempts_earlier_by_up_to_a_quarter():
    bench = Bench(jitter=0.0)
    bench.say(Failed("busy"))
    bench.go(0.3)
    assert bench.supervisor.state == "waiting"
    bench.go(0.2)
    assert bench.supervisor.state == "opening"


def test_what_comes_back_is_opened_at_once():
    watch = Watch()
    bench = Bench(watch=watch)
    for _ in range(8):
        bench.say(
            Failed(
                "there is no such device",
            )
        )
        bench.supervisor.state == "waiting" and bench.supervisor.open(bench.now)
    bench.say(Failed("there is no such device", missing=True))
    assert watch.looking
    assert bench.supervisor.missing
    bench.go(15)
    assert bench.supervisor.state == "waiting"
    watch.came = True
    bench.go(0.1)
    assert bench.supervisor.state == "opening"
    assert not watch.looking
    bench.say(Failed("not quite yet"))
    bench.go(0.6)  # the back-off began anew
    assert bench.supervisor.state == "opening"


@pytest.mark.parametrize("longest_seconds", [2.0, None])
def test_where_a_return_cannot_be_seen_attempts_stay_close(longest_seconds):
    watch = None
    if longest_seconds is not None:
        watch = Watch()
        watch.longest_seconds = longest_seconds
    bench = Bench(watch=watch)
    for _ in range(6):
        bench.say(Failed("no answer"))
        bench.go(2.1)
        assert bench.supervisor.state == "opening"


def test_a_device_that_fails_says_why():
    bench = Bench()
    bench.go(1, sound=True)
    bench.say(Failed("the card was unplugged"))
    assert bench.supervisor.problem == "the card was unplugged"
    assert [(event.kind, event.message) for event in bench.events] == [
        ("device_lost", "microphone lost: the card was unplugged")
    ]


def test_old_messages_of_an_attempt_that_ended_are_nothing():
    bench = Bench()
    old = bench.supervisor.attempt
    bench.go(1, sound=True)
    bench.supervisor.reopen(bench.now)
    assert not bench.supervisor.is_current(old)
    assert bench.supervisor.take(old, Failed("killed"), bench.now) == []
    assert bench.supervisor.state == "opening"


def test_one_that_is_reopened_and_does_not_come_back_is_lost():
    bench = Bench()
    bench.go(20, sound=True)
    silent_since = bench.now
    bench.supervisor.reopen(bench.now)
    bench.go(1)
    bench.supervisor.reopen(bench.now)
    bench.go(30)
    assert bench.kinds() == ["device_lost"]
    assert bench.supervisor.n_losses == 1
    assert bench.supervisor.lost_since == pytest.approx(silent_since)
    while bench.supervisor.state != "running":
        bench.go(0.1, sound=bench.supervisor.state == "opening")
    assert bench.kinds() == ["device_lost", "device_back"]
    assert bench.events[1].seconds == pytest.approx(bench.now - silent_since, abs=0.11)


def test_one_that_is_reopened_and_comes_back_at_once_was_never_lost():
    bench = Bench()
    bench.go(2, sound=True)
    bench.supervisor.reopen(bench.now)
    bench.go(1)
    bench.go(2, sound=True)
    assert (bench.events, bench.supervisor.n_losses) == ([], 0)


def test_a_new_form_and_the_childs_notes_are_told():
    bench = Bench()
    bench.say(OPENED)
    bench.say(OPENED)
    bench.say(Opened("card", 44100, 2, 2))
    bench.say(Note("mono", "one channel is dead"))
    assert [(event.kind, event.message) for event in bench.events] == [
        ("device_changed", "microphone changed: 1 × 48000 Hz before, 2 × 44100 Hz now"),
        ("mono", "one channel is dead"),
    ]


def test_a_process_that_was_stopped_blames_nobody():
    bench = Bench()
    bench.go(5, sound=True)
    bench.world.now += 60
    assert bench.supervisor.step(bench.now) == []
    assert bench.supervisor.state == "running"
    bench.go(2)
    assert bench.supervisor.state == "waiting"


def test_a_process_that_a_driver_holds_is_left_for_later_and_not_many_of_them():
    bench = Bench()
    for _ in range(2000):
        bench.recorders[-1].stuck = True
        bench.go(1.0)
    assert len(bench.recorders) == 4
    assert not any(recorder.closed for recorder in bench.recorders)
    for recorder in bench.recorders:
        recorder.stuck = False
    bench.go(0.5)
    assert len(bench.recorders) == 5
    bench.supervisor.close()
    assert all(recorder.closed for recorder in bench.recorders)


def test_only_a_device_that_runs_is_asked():
    bench = Bench(["picture"])
    assert not bench.supervisor.ask(1.0)
    bench.go(0.1, seen=True)
    assert bench.supervisor.ask(2.0)
    assert bench.recorders[0].asked == [2.0]
