"""Inside a media child: which pictures are kept and answered with, and how gaps of the sound are marked."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.films import encode_jpeg, read_moment, show_moment
from support.media import write_wav
from support.watched import SMALL

from ascstream.capture.child import Outbox
from ascstream.capture.decoders import Decoder
from ascstream.capture.frames import Frames
from ascstream.capture.messages import Message, Opened, Seen, read
from ascstream.capture.report import Report
from ascstream.capture.sound import SoundTrack


class Said:
    """A report whose messages can be read back."""

    def __init__(self) -> None:
        receive, send = os.pipe()
        self._file = os.fdopen(receive, "rb")
        self._outbox = Outbox(send)
        self.report = Report(self._outbox, Opened("camera"))

    def end(self) -> list[Message]:
        """All that was said."""
        self._outbox.close()
        if self._file.closed:
            return []
        with self._file:
            return list(iter(lambda: read(self._file), None))


@pytest.fixture
def said() -> Iterator[Said]:
    said = Said()
    yield said
    said.end()


@pytest.fixture
def frames(said: Said) -> Iterator[tuple[Frames, list[av.Packet]]]:
    """Frames of motion JPEG, and a second of its packets: each shows the moment 100 + k/25."""
    jpegs = b"".join(encode_jpeg(show_moment(100 + number / 25, 320, 240)) for number in range(25))
    with av.open(io.BytesIO(jpegs), format="mjpeg") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert len(packets) == 25
        yield Frames(SMALL, Decoder(stream, said.report), Fraction(1), said.report), packets


def shown(frames: Frames, moment: float) -> float | None:
    """The moment that the answer shows; None where there is no new picture."""
    image = frames.answer(moment).image
    return None if image is None else read_moment(image, 100.0)


def test_the_newest_picture_up_to_the_moment_is_the_answer(frames: tuple[Frames, list[av.Packet]]) -> None:
    kept, packets = frames
    for number, packet in enumerate(packets):
        kept.add(packet, 100 + number / 25, 100 + number / 25)
    assert frames[0].answer(99.9).stamp is None
    assert shown(kept, 100.50) == pytest.approx(100.48, abs=0.001)
    assert kept.answer(100.51).image is None, "sent before"
    assert shown(kept, 100.52) == pytest.approx(100.52, abs=0.001)
    assert shown(kept, 200.0) == pytest.approx(100.96, abs=0.001), "the newest is kept at any age"


def test_pictures_may_come_in_any_order_and_ahead_of_their_time(frames: tuple[Frames, list[av.Packet]]) -> None:
    kept, packets = frames
    for number in (3, 0, 2, 1, 24):
        kept.add(packets[number], 100 + number / 25, 100.0)
    assert shown(kept, 100.1) == pytest.approx(100.08, abs=0.001)
    assert shown(kept, 100.9) == pytest.approx(100.12, abs=0.001)
    assert shown(kept, 100.96) == pytest.approx(100.96, abs=0.001)


def test_what_cannot_be_decoded_is_passed_over_and_counted(said: Said, frames: tuple[Frames, list[av.Packet]]) -> None:
    kept, packets = frames
    kept.add(packets[0], 100.0, 100.0)
    kept.add(av.Packet(b"\xff\xd8 no picture"), 100.04, 100.04)
    assert shown(kept, 100.1) == pytest.approx(100.0, abs=0.001)
    assert said.report.n_corrupt == 1
    kept.add(av.Packet(b"nor this one"), 100.3, 100.3)
    kept.add(packets[10], 100.4, 100.4)
    assert kept.answer(100.45).stamp == 100.0, "tried no more often than five times a second"
    kept.add(packets[13], 100.52, 100.52)
    assert shown(kept, 100.6) == pytest.approx(100.52, abs=0.001)


def test_memory_is_bounded(frames: tuple[Frames, list[av.Packet]]) -> None:
    kept, packets = frames
    for number in range(1000):
        kept.add(packets[number % 25], 100 + number / 1000, 100.0)
    assert kept.answer(100.0).stamp is None, "more than 64 are not kept"
    assert kept.answer(102.0).stamp == pytest.approx(100.999)


def test_pictures_are_said_ten_times_a_second(said: Said, frames: tuple[Frames, list[av.Packet]]) -> None:
    kept, packets = frames
    said.report.begin()
    for number, packet in enumerate(packets):
        kept.add(packet, 100 + number / 25, 100 + number / 25)
    messages = said.end()
    seen = [message for message in messages if isinstance(message, Seen)]
    assert len(seen) >= 1, "those that wait are joined"
    assert sum(message.n_frames for message in seen) == 25
    assert isinstance(messages[0], Opened)
    assert (messages[0].details, messages[0].width) == ("mjpeg, yuvj420p", None)


def test_a_gap_in_the_sound_is_marked_and_only_there(said: Said, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_wav(path, (np.sin(np.arange(48000) / 10) * 9000).astype(np.int16), 48000)
    with av.open(str(path)) as container:
        track = SoundTrack(container.streams.audio[0], said.report)
        packets = [packet for packet in container.demux() if packet.size]
        sounds = [sound for number, packet in enumerate(packets) if number != 3 for sound in track.decode(packet)]
    assert [sound.lost for sound in sounds] == [number == 3 for number in range(len(packets) - 1)]
    assert sounds[0].samples.shape[0] == 1
    assert sounds[0].samples.dtype == np.float32
    ends = [sound.stamp + sound.samples.shape[1] / sound.sample_rate for sound in sounds]
    assert sounds[3].stamp - ends[2] == pytest.approx(packets[3].duration / 48000)
    assert np.allclose([sound.stamp for sound in sounds[4:]], ends[3:-1])
