"""A microphone, recorded from a real PulseAudio server: what is played comes out, and every end is told."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.pulse import PulseServer, needs_pulse
from support.waiting import until

from ascstream.capture.messages import Failed, Message, Opened, Sound
from ascstream.capture.microphone import Delay
from ascstream.capture.recorder import Recorder
from ascstream.capture.requests import MicrophoneRequest

DEFAULT = MicrophoneRequest(None)


def tones(*hz: float) -> NDArray[np.float32]:
    """[n_channels, 48000]: a second that can be played over and over, a tone a channel, of amplitude 0.5."""
    times = np.arange(48_000) / 48_000
    return (0.5 * np.sin(2 * np.pi * np.array(hz)[:, np.newaxis] * times)).astype(np.float32)


@pytest.fixture(scope="module")
def pulse() -> Iterator[PulseServer]:
    with PulseServer() as server, server.applied():
        server.play(tones(440, 1000), loop=True)
        yield server


class Recording:
    """What a child says of a microphone."""

    def __init__(self, request: MicrophoneRequest = DEFAULT) -> None:
        self.said: list[tuple[float, Message]] = []
        self.recorder = Recorder(request, lambda message: self.said.append((time.monotonic(), message)))

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exc: object) -> None:
        self.recorder.close(30)

    @property
    def sounds(self) -> list[Sound]:
        return [message for _, message in self.said if isinstance(message, Sound)]

    @property
    def seconds(self) -> float:
        return sum(sound.samples.shape[1] / sound.sample_rate for sound in self.sounds)

    def hear(self, seconds: float) -> NDArray[np.float32]:
        """[n_channels, n_samples]: the newest sound, as soon as so much more of it came."""
        before = self.seconds
        until(lambda: self.seconds >= before + seconds, 60)
        samples = np.concatenate([sound.samples for sound in self.sounds], axis=1)
        return samples[:, -round(seconds * self.sounds[-1].sample_rate) :]

    def end(self) -> Failed:
        until(lambda: self.said and isinstance(self.said[-1][1], Failed), 60)
        last = self.said[-1][1]
        assert isinstance(last, Failed)
        return last


def loudest(samples: NDArray[np.float32], sample_rate: int) -> float:
    """The loudest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * sample_rate / len(samples)


@pytest.mark.slow
@needs_pulse
def test_a_tone_comes_through(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(0.5)
        samples = recording.hear(1.0)
        opened = recording.said[0][1]
    assert isinstance(opened, Opened)
    assert (opened.name, opened.n_channels, opened.details) == ("default", 2, "ALSA")
    rate = opened.sample_rate
    assert rate is not None
    assert {sound.sample_rate for sound in recording.sounds} == {rate}
    assert [loudest(channel, rate) for channel in samples] == pytest.approx([440, 1000], abs=2)
    level = np.sqrt(np.mean(samples**2, axis=1))
    assert level == pytest.approx([0.5 / math.sqrt(2)] * 2, rel=0.05)
    assert max(sound.samples.shape[1] for sound in recording.sounds) <= 0.05 * rate


@needs_pulse
@pytest.mark.slow
def test_stamps_advance_at_the_true_rate_and_lie_just_before_the_arrival(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(6.0)
    came = np.array([moment for moment, message in recording.said if isinstance(message, Sound)])
    stamps = np.array([sound.stamp for sound in recording.sounds])
    lengths = np.array([sound.samples.shape[1] / sound.sample_rate for sound in recording.sounds])
    if not any(sound.lost for sound in recording.sounds):  # a machine that is too busy may lose some: then it says so
        slope = np.polyfit(np.cumsum(lengths) - lengths, stamps, 1)[0]
        assert slope == pytest.approx(1.0, abs=5e-3)
    late = came - stamps - lengths
    assert -0.02 < np.median(late) < 0.3
    assert np.all(np.diff(stamps) > -0.05)


@pytest.mark.slow
@needs_pulse
@pytest.mark.parametrize(("channels", "hz"), [((2,), [1000.0]), ((2, 1), [1000.0, 440.0])])
def test_chosen_channels_come_in_the_order_chosen(
    pulse: PulseServer, channels: tuple[int, ...], hz: list[float]
) -> None:
    with Recording(MicrophoneRequest(None, channels=channels)) as recording:
        recording.hear(0.5)
        samples = recording.hear(0.5)
        rate = recording.sounds[0].sample_rate
    assert [loudest(channel, rate) for channel in samples] == pytest.approx(hz, abs=3)


@needs_pulse
def test_a_channel_that_does_not_exist_is_told_with_their_number(pulse: PulseServer) -> None:
    with Recording(MicrophoneRequest("pulse", channels=(1, 99))) as recording:
        assert recording.end() == Failed(
            "pulse has channels 1 to 32, not 1,99; choose others with --mic-channels", missing=False
        )


@needs_pulse
def test_a_name_that_is_not_there_is_missing_and_the_others_are_listed(pulse: PulseServer) -> None:
    with Recording(MicrophoneRequest("Violin", "ALSA")) as recording:
        last = recording.end()
    assert last.missing
    assert last.message.startswith("there is no microphone 'Violin' of ALSA; found: pa:")
    assert "'pulse'" in last.message
    assert last.message.endswith("; type: ascstream devices")


@needs_pulse
def test_a_microphone_without_a_server_is_missing() -> None:
    with PulseServer() as server, server.applied():
        server.kill()
        with Recording() as recording:
            last = recording.end()
    assert last.missing
    assert last.message.startswith("there is no microphone default")


@needs_pulse
@pytest.mark.slow
def test_unplugged_it_falls_silent_cannot_be_opened_and_comes_back(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(0.5)
        try:
            pulse.unplug()
            time.sleep(0.5)
            heard = recording.seconds
            time.sleep(0.5)
            assert recording.seconds == heard
            with Recording() as again:
                assert "default cannot be opened" in again.end().message
        finally:
            pulse.plug()
    with Recording() as recording:
        assert np.abs(recording.hear(0.5)).max() > 0.3


@needs_pulse
@pytest.mark.slow
def test_frozen_it_falls_silent_and_goes_on(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(0.5)
        try:
            pulse.freeze()
            time.sleep(0.5)
            heard = recording.seconds
            time.sleep(0.5)
            assert recording.seconds == heard
            assert recording.recorder.running
            with Recording() as hanging:  # PortAudio does not even start
                time.sleep(1.0)
            assert hanging.said == []
            assert not hanging.recorder.running
        finally:
            pulse.thaw()
        recording.hear(0.5)


@needs_pulse
@pytest.mark.slow
def test_a_server_that_dies_is_told_and_heard_again_after_its_return(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(0.5)
        try:
            pulse.kill()
            assert recording.end().message.startswith("default stopped: ")
            until(lambda: not recording.recorder.running)
        finally:
            pulse.restart()
    with Recording() as recording:
        assert np.abs(recording.hear(0.5)).max() > 0.3


@pytest.mark.slow
@needs_pulse
def test_signals_are_the_parents_business(pulse: PulseServer) -> None:
    with Recording() as recording:
        recording.hear(0.1)
        assert recording.recorder.pid is not None
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(recording.recorder.pid, number)
        recording.hear(0.5)
        os.kill(recording.recorder.pid, signal.SIGKILL)
        message = recording.end().message
    assert message.startswith("recording from the default microphone ended unexpectedly (signal 9)")


@needs_pulse
@pytest.mark.slow
def test_a_parent_that_stops_reading_finds_the_newest_sound_and_a_mark(pulse: PulseServer) -> None:
    said: list[Sound] = []
    stalled: list[bool] = []

    def deliver(message: Message) -> None:
        if isinstance(message, Sound):
            said.append(message)
            if not stalled:
                stalled.append(True)
                time.sleep(4.0)

    recorder = Recorder(DEFAULT, deliver)
    try:
        until(lambda: any(sound.lost for sound in said), 60)
    finally:
        recorder.close(30)
    lost = next(index for index, sound in enumerate(said) if sound.lost)
    assert said[lost].stamp - said[lost - 1].stamp > 0.5
    assert said[0].stamp + 1.0 < said[lost].stamp


@given(
    said=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=300),
    latency=st.floats(0, 0.5),
)
def test_no_sound_comes_from_the_future_whatever_portaudio_says(said: list[float], latency: float) -> None:
    delay = Delay(latency)
    assert all(0 <= delay.follow(seconds) <= 60 for seconds in said)


def test_what_is_said_of_the_delay_is_averaged_and_then_kept() -> None:
    rng, delay = np.random.default_rng(1), Delay(0.5)
    noisy = [delay.follow(0.03 + 0.01 * float(rng.uniform(-1, 1))) for _ in range(1000)]
    assert abs(noisy[-1] - 0.03) < 0.002
    assert len(set(noisy[100:])) == 1  # a stamp then moves with the clock of the sound alone
    changed = [delay.follow(0.1) for _ in range(200)]
    assert changed[-1] == pytest.approx(0.1)


def test_what_waited_while_the_process_was_stopped_is_as_old_as_it_is_said_to_be() -> None:
    delay = Delay(0.06)
    before = [delay.follow(0.03) for _ in range(150)]
    backlog = [delay.follow(seconds) for seconds in (6.0, 4.0, 2.0, 0.5)]
    assert backlog == [6.0, 4.0, 2.0, 0.5]
    assert delay.follow(0.031) == before[-1] == 0.03


def test_without_a_word_of_the_delay_the_latency_counts() -> None:
    delay = Delay(0.06)
    assert [delay.follow(seconds) for seconds in (float("nan"), -3.0, 1e9)] == [0.06] * 3
