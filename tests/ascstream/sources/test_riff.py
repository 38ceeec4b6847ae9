"""How long a WAV says it is, from headers as programs write them."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import wave
from fractions import Fraction

import numpy as np
import pytest

from ascstream.records import AudioBlock
from ascstream.sources.base import AudioWants, Wants
from ascstream.sources.media import open_media
from ascstream.sources.riff import announced_seconds


def header(data_size: int, *, before: bytes = b"", riff: bytes = b"RIFF") -> bytes:
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    return riff + b"\0\0\0\0WAVE" + fmt + before + struct.pack("<4sI", b"data", data_size)


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (header(16_000), Fraction(1)),
        (header(24_001), Fraction(24_001, 16_000)),
        (header(16_000, before=struct.pack("<4sI", b"LIST", 3) + b"abc\0"), Fraction(1)),
        (header(0), None),
        (header(0xFFFF_FFFF), None),
        (header(0x7FFF_FFFF), None),
        (header(16_000, riff=b"RF64"), None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"OggS", None),
        (b"", None),
        (header(16_000)[:30], None),
    ],
)
def test_a_header_says_how_long_it_is_or_does_not(head: bytes, seconds: Fraction | None) -> None:
    assert announced_seconds(head) == seconds


def test_a_wav_through_a_pipe_is_heard_before_half_of_it_came() -> None:
    # FFmpeg would wait for 400 kB, seconds of sound, to see whether the samples are DTS
    rate, seconds = 48_000, 6
    samples = (0.2 * np.sin(np.arange(rate * seconds) * 0.06) * 32767).astype("<i2")
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    data = whole.getvalue()
    reader, writer = os.pipe()
    go_on = threading.Event()

    def feed() -> None:
        with os.fdopen(writer, "wb") as end:
            end.write(data[: len(data) // 2])
            end.flush()
            go_on.wait(20)
            end.write(data[len(data) // 2 :])

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(reader, "rb") as pipe, open_media(pipe) as source:
        items = source.items(Wants(AudioWants(24_000, 1), None))
        begun = time.monotonic()
        heard = 0.0
        for item in items:
            if isinstance(item, AudioBlock):
                heard = item.end
            if heard >= 2.0:
                break
        assert time.monotonic() - begun < 15
        assert not go_on.is_set()
        go_on.set()
        for item in items:
            if isinstance(item, AudioBlock):
                heard = item.end
    feeder.join()
    assert heard == pytest.approx(6.0, abs=1e-4)
