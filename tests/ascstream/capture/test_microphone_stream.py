"""What becomes of a microphone's blocks, on a PortAudio that delivers what no sound server does on demand."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from support.portaudio import Heard, PortAudioError, ScriptedPortAudio

from ascstream.capture.child import Outbox
from ascstream.capture.messages import Failed, Message, Note, Opened, Sound, read
from ascstream.capture.microphone import record_from
from ascstream.capture.requests import MicrophoneRequest

NAME = "Card: mic (hw:1,0)"
ENDED = Failed(f"{NAME} stopped: it was unplugged, or the sound system ended; is it plugged in, and running?")


def said_by(portaudio: ScriptedPortAudio, channels: tuple[int, ...] = ()) -> list[Message]:
    """Everything that is sent until the device ends."""
    reader, writer = os.pipe()
    outbox = Outbox(writer)
    with os.fdopen(reader, "rb") as file:
        record_from(portaudio, MicrophoneRequest(None, channels=channels), outbox)
        outbox.close(0.0)
        said = []
        while (message := read(file)) is not None:
            said.append(message)
    outbox.close()
    return said


def block(*rows: float, n_channels: int = 2) -> NDArray[np.float32]:
    """[n_samples, n_channels]: the value of a row is that of its channel 1, others are larger by 10 each."""
    return (np.array(rows)[:, np.newaxis] + 10 * np.arange(n_channels)).astype(np.float32)


def test_blocks_arrive_whole_and_lost_ones_are_marked() -> None:
    said = said_by(
        ScriptedPortAudio(
            [Heard(block(1, 2), 7.0, 7.1), Heard(block(3), 7.5, 7.6, overflow=True), Heard(block(4), 8, 9)]
        )
    )
    assert said[0] == Opened(NAME, 48_000, 2, 2, details="ALSA")
    sounds = [message for message in said if isinstance(message, Sound)]
    assert [sound.samples.tolist() for sound in sounds] == [[[1, 2], [11, 12]], [[3, 4], [13, 14]]]
    assert [sound.lost for sound in sounds] == [False, True]  # joined, but not over a hole
    assert said[-1] == ENDED
    assert len(said) == 4


@pytest.mark.parametrize(
    ("adc", "now", "delay"),
    [
        (1_795_261_015.0, 1_795_261_015.25, 0.25),  # another clock than ours, and fine
        (0.0, 5.0, 0.06 + 480 / 48_000),  # host APIs that do not know
        (5.0, 5.0, 0.06 + 480 / 48_000),
        (6.0, 5.0, 0.06 + 480 / 48_000),
        (1.0, 5000.0, 0.06 + 480 / 48_000),
        (float("nan"), 5.0, 0.06 + 480 / 48_000),
    ],
)
def test_a_stamp_is_the_moment_in_the_air_on_our_clock(adc: float, now: float, delay: float) -> None:
    before = time.monotonic()
    said = said_by(ScriptedPortAudio([Heard(block(*range(480)), adc, now)]))
    after = time.monotonic()
    assert isinstance(said[1], Sound)
    assert before - delay <= said[1].stamp <= after - delay


@pytest.mark.parametrize(("rate", "n_samples"), [(22_050, 220), (11_025, 110), (12_150, 122), (8_000, 80)])
def test_a_delay_of_nothing_is_not_believed_at_any_rate(rate: int, n_samples: int) -> None:
    portaudio = ScriptedPortAudio([Heard(block(*range(n_samples)), 5.0, 5.0)], rates=(rate,), announced_rate=rate)
    before = time.monotonic()
    said = said_by(portaudio)
    after = time.monotonic()
    assert isinstance(said[1], Sound)
    delay = 0.06 + n_samples / rate
    assert before - delay <= said[1].stamp <= after - delay


def test_what_is_no_number_is_silence_and_marked() -> None:
    samples = np.array([[0.5, np.nan], [np.inf, 0.25]], np.float32)
    sound = said_by(ScriptedPortAudio([Heard(samples, 1.0, 1.1)]))[1]
    assert isinstance(sound, Sound)
    assert sound.samples.tolist() == [[0.5, 0.0], [0.0, 0.25]]
    assert sound.lost


def test_more_blocks_than_anybody_takes_are_lost() -> None:
    blocks = [Heard(block(number), 1.0, 1.1) for number in range(300)]
    sounds = [message for message in said_by(ScriptedPortAudio(blocks)) if isinstance(message, Sound)]
    assert np.concatenate([sound.samples[0] for sound in sounds]).tolist() == list(range(200))


@pytest.mark.parametrize(
    ("n_channels", "channels", "taken", "n_opened"),
    [
        (1, (), [1.0], 1),
        (2, (), [1.0, 11.0], 2),
        (32, (), [1.0, 11.0], 2),
        (4, (3,), [21.0], 3),
        (4, (4, 1), [31.0, 1.0], 4),
    ],
)
def test_only_the_channels_that_are_needed_are_opened(
    n_channels: int, channels: tuple[int, ...], taken: list[float], n_opened: int
) -> None:
    portaudio = ScriptedPortAudio([Heard(block(1, n_channels=n_opened), 1.0, 1.1)], n_channels=n_channels)
    said = said_by(portaudio, channels)
    assert said[0] == Opened(NAME, 48_000, len(taken), n_channels, details="ALSA")
    assert isinstance(said[1], Sound)
    assert said[1].samples[:, 0].tolist() == taken
    assert portaudio.tried == [(48_000, n_opened)]


def test_of_an_array_the_first_two_are_heard_and_the_user_is_told() -> None:
    said = said_by(ScriptedPortAudio([Heard(block(1), 1.0, 1.1)], n_channels=6))
    assert said[1] == Note(
        "microphone_array",
        f"{NAME} has 6 channels, of which the first two are heard; choose others with --mic-channels, such as "
        "--mic-channels 1,3",
    )


@pytest.mark.parametrize(
    ("announced", "rates", "tried"),
    [
        (96_000.0, (16_000,), [96_000, 48_000, 44_100, 16_000]),
        (44_100.0, (48_000,), [44_100, 48_000]),
        (22_050.0, (22_050,), [22_050]),
    ],
)
def test_a_rate_that_is_refused_is_followed_by_others(
    announced: float, rates: tuple[int, ...], tried: list[int]
) -> None:
    portaudio = ScriptedPortAudio(announced_rate=announced, rates=rates)
    said = said_by(portaudio)
    assert isinstance(said[0], Opened)
    assert said[0].sample_rate == rates[0]
    assert portaudio.tried == [(rate, 2) for rate in tried]


def test_a_device_that_only_opens_whole_is_opened_whole() -> None:
    portaudio = ScriptedPortAudio([Heard(block(1, n_channels=8), 1.0, 1.1)], n_channels=8, numbers=(8,))
    said = said_by(portaudio, (2,))
    assert said[0] == Opened(NAME, 48_000, 1, 8, details="ALSA")
    assert isinstance(said[1], Sound)
    assert said[1].samples.tolist() == [[11.0]]
    assert portaudio.tried[-1] == (48_000, 8)


@pytest.mark.parametrize(
    ("refusal", "message", "missing"),
    [
        (
            PortAudioError("Error opening RawInputStream: Device unavailable", -9985),
            f"{NAME} is in use by another program, or was just unplugged; fuser -v /dev/snd/* says by which",
            False,
        ),
        (
            PortAudioError("Error opening RawInputStream: Invalid device", -9996),
            f"{NAME} cannot be opened (Invalid device); is it plugged in, and does the sound system run?",
            True,
        ),
        (
            PortAudioError("Error: Unanticipated host error", -9999, (0, -5, "Input/output error")),
            f"{NAME} cannot be opened (Input/output error); is it plugged in, and does the sound system run?",
            False,
        ),
        (
            PortAudioError("Error starting stream"),
            f"{NAME} cannot be opened (Error starting stream); is it plugged in, and does the sound system run?",
            False,
        ),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(refusal: PortAudioError, message: str, missing: bool) -> None:
    assert said_by(ScriptedPortAudio(refusal=refusal)) == [Failed(message, missing=missing)]


def test_no_rate_at_all() -> None:
    (only,) = said_by(ScriptedPortAudio(rates=()))
    assert only == Failed(
        f"{NAME} takes none of its own rate, 48000, 44100 and 16000 Hz; type: ascstream devices --probe"
    )


@pytest.mark.parametrize("channels", [(3,), (0,), (1, 9)])
def test_channels_that_do_not_exist(channels: tuple[int, ...]) -> None:
    (only,) = said_by(ScriptedPortAudio(), channels)
    assert only == Failed(
        f"{NAME} has channels 1 to 2, not {','.join(map(str, channels))}; choose others with --mic-channels"
    )
