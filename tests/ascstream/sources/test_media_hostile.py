"""Media made to harm: headers that lie, stamps that leap, files damaged at random. All ends in time."""

from __future__ import annotations

import io
import random
import signal
import struct
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.bad_files import every, float_wav, tone, write_clip
from support.fuzz import mutate
from support.media import Clips, Heard, audio_wants, both_wants, hear, video_wants

from ascstream.errors import SourceError
from ascstream.records import AudioBlock
from ascstream.sources.base import VideoWants, Wants
from ascstream.sources.media import open_media

SECONDS = 10.0
"""No input of a few seconds may take longer."""


def patched(clips: Clips, name: str, source: Path, *changes: tuple[bytes, int, bytes]) -> Path:
    """A copy in which, `offset` bytes behind each place of a mark, other bytes stand."""
    data = bytearray(source.read_bytes())
    for mark, offset, new in changes:
        assert mark in data
        at = data.find(mark)
        while at >= 0:
            data[at + offset : at + offset + len(new)] = new
            at = data.find(mark, at + 1)
    path = clips.path(name)
    path.write_bytes(data)
    return path


def late(clips: Clips, name: str, picture_seconds: int, sound_offset: int) -> Path:
    """A picture from 0 s on, and a second of sound from `sound_offset` on, in the order of time."""
    return clips.make(
        name,
        *("-f", "lavfi", "-i", f"color=red:size=32x32:rate=2:duration={picture_seconds}"),
        *("-itsoffset", str(sound_offset), "-f", "lavfi", "-i", "sine=440:sample_rate=24000:duration=1"),
        *("-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    )


@pytest.mark.parametrize("suffix", ["mkv", "nut"])
def test_sound_far_behind_the_picture_is_waited_for_and_found(clips, suffix):
    heard = hear(open_media(late(clips, f"far.{suffix}", 31, 30)), both_wants())
    assert heard.lost[0] == pytest.approx((0, 30), abs=0.05)
    assert heard.blocks[-1].end == pytest.approx(31, abs=0.05)
    assert np.abs(heard.samples[:, -12_000:]).max() > 0.05


def test_a_span_may_end_while_the_sound_is_still_far(clips):
    path = late(clips, "far.mkv", 31, 30)
    heard = hear(open_media(path, duration_seconds=5), both_wants())
    assert heard.blocks[-1].end == 5
    assert heard.lost == [(0, 5)]


def test_a_track_that_begins_twenty_hours_after_the_other_has_jumped(clips):
    heard = hear(open_media(late(clips, "days.mkv", 2, 72_000)), both_wants())
    assert heard.kinds == ["jump"]
    assert heard.events[0].seconds == pytest.approx(72_000, abs=1)
    assert heard.blocks[-1].end < 3


@pytest.mark.parametrize("length", ["1e999999999:00:00", "00:01/0:00", "aa:bb:cc", "1e999:00:00", "inf:00:00"])
def test_a_length_that_is_no_time_is_not_believed(clips, length):
    whole = clips.tone("tagged.mka", 2.0, "-c:a", "flac")
    said = (b"00:00:02", 0, length.encode().ljust(18)[:18])
    heard = hear(open_media(patched(clips, "lies.mka", whole, said)), audio_wants())
    assert heard.blocks[-1].end == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("box", "offset", "value"), [(b"stts", 16, 0x7FFFFFFF), (b"mdhd", 16, 1), (b"mdhd", 16, 0), (b"mdhd", 16, 1 << 31)]
)
def test_an_mp4_that_says_its_frames_last_for_years_ends(clips, box, offset, value):
    path = patched(clips, "years.mp4", clips.clip("clip.mp4"), (box, offset, struct.pack(">I", value)))
    begun = time.monotonic()
    heard = Heard()
    with suppress(SourceError):
        hear(open_media(path), both_wants(), heard)
    assert time.monotonic() - begun < SECONDS
    assert sum(block.n_samples for block in heard.blocks) < 2 * 3600 * 24_000


def gif_of(path: Path, width: int, height: int) -> Path:
    """A GIF whose screen is said to be of that size: one frame, one pixel of it drawn."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    path.write_bytes(head + image + image + b";")
    return path


def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path):
    path = gif_of(tmp_path / "bomb.gif", 16_000, 16_000)
    begun = time.monotonic()
    with pytest.raises(SourceError, match="holds 0 s that can be decoded"):
        hear(open_media(path), Wants(None, video_wants()))
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_picture_too_thin_to_be_scaled_is_left_out_and_counted(tmp_path, size):
    wants = VideoWants(448, 448, "crop", None, "bilinear", video_wants().schedule)
    heard = Heard()
    tracemalloc.start()
    hear(open_media(gif_of(tmp_path / "thin.gif", *size)), Wants(None, wants), heard)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert (heard.frames, heard.kinds[:1]) == ([], ["corrupt"])


@pytest.mark.parametrize("rate", [2**31 - 1, 2**32 - 1, 10**8])
def test_a_sample_rate_that_cannot_be_gives_no_sound(tmp_path, rate):
    path = float_wav(tmp_path / "fast.wav", tone(0.5))
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    with pytest.raises(SourceError):
        hear(open_media(path), audio_wants())


@pytest.mark.parametrize("rate", [1, 7, 23_993, 10_000_000])
def test_a_strange_sample_rate_keeps_time(tmp_path, rate):
    n_samples = min(5 * rate, 2_000_000)
    heard = hear(open_media(float_wav(tmp_path / "odd.wav", tone(n_samples / 44_100), rate)), audio_wants())
    assert heard.blocks[-1].end == pytest.approx(n_samples / rate, abs=1e-4)


@pytest.mark.slow
def test_a_sample_a_second_takes_no_more_memory_than_any_other_sound(tmp_path):
    """The packets of such a file stand for an hour each."""
    path = float_wav(tmp_path / "slow.wav", tone(4000 / 44_100), 1)
    tracemalloc.start()
    with open_media(path) as source:
        longest = max(item.n_samples for item in source.items(audio_wants()) if isinstance(item, AudioBlock))
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert longest <= 20 * 24_000  # the filter of the resampler holds 16 samples back


def test_infinite_samples_of_six_channels_and_numbers_beyond_float32_are_lost_without_a_warning(tmp_path):
    six = np.full((24_000, 6), 0.25, "<f4")
    six[7000] = np.inf
    six[9000, 3] = np.nan
    for name, n_channels, data in (("six", 6, six), ("big", 1, np.full(24_000, 1e300, "<f8"))):
        bytes_each = data.dtype.itemsize
        form = struct.pack(
            "<HHIIHH", 3, n_channels, 24_000, 24_000 * n_channels * bytes_each, n_channels * bytes_each, 8 * bytes_each
        )
        body = b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", data.nbytes) + data.tobytes()
        (tmp_path / name).write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert len(hear(open_media(tmp_path / "six"), audio_wants()).lost) >= 1
    assert hear(open_media(tmp_path / "big"), audio_wants()).lost == [(0.0, 1.0)]


def test_a_start_beyond_all_stamps_is_behind_the_end(clips):
    for name in ("plain.wav", "clip.mkv"):
        path = clips.tone(name, 4.0) if name.endswith("wav") else clips.clip(name)
        with pytest.raises(SourceError, match="nothing can be decoded from 1e"):
            hear(open_media(path, start_seconds=1e20), audio_wants())


def test_a_name_too_long_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read .*: File name too long"):
        open_media(tmp_path / ("a" * 300))


def test_a_device_is_read_as_a_pipe():
    with pytest.raises(SourceError, match="/dev/zero is not media that FFmpeg can read"):
        open_media("/dev/zero")


SMALL = (32, 24)
TENTHS = every(Fraction(1, 10), Fraction(6, 5))
SEEDS: dict[str, Callable[[Path], object]] = {
    "a.wav": lambda path: float_wav(path, tone(1.2)),
    "a.mp3": lambda path: write_clip(path, samples=tone(1.2), audio_codec="libmp3lame"),
    "a.flac": lambda path: write_clip(path, samples=tone(1.2), audio_codec="flac"),
    "a.ogg": lambda path: write_clip(path, samples=tone(1.2), sample_rate=48_000, audio_codec="libopus"),
    "a.aac": lambda path: write_clip(path, samples=tone(1.2)),
    "v.gif": lambda path: gif_of(path, 64, 64),
    **{
        f"av.{suffix}": lambda path: write_clip(path, samples=tone(1.2), picture=SMALL, frame_times=TENTHS)
        for suffix in ("mp4", "mkv", "ts", "avi", "mov", "3gp", "nut")
    },
}  # fmt: skip


def fuzz(folder: Path, seed: int, n_cases: int) -> dict[str, int]:
    """Damage files at random and read them; how many could be read whole, and how many were refused."""
    rng = random.Random(seed)  # noqa: S311
    whole = {}
    for name, make in SEEDS.items():
        make(folder / name)
        whole[name] = (folder / name).read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for case in range(n_cases):
        name = rng.choice(sorted(whole))
        path = folder / f"damaged{Path(name).suffix}"
        path.write_bytes(mutate(rng, whole[name], others=list(whole.values())))
        begun = time.monotonic()
        sentence = ""
        try:
            with open_media(path) as source:
                for _ in source.items(both_wants()):
                    assert time.monotonic() - begun < SECONDS, (seed, case, name)
        except SourceError as error:
            sentence = str(error)
        outcomes["refused" if sentence else "read"] += 1
        assert sentence.isprintable(), (seed, case, name)
        assert time.monotonic() - begun < SECONDS, (seed, case, name)
    return outcomes


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path):
    outcomes = fuzz(tmp_path, seed=1, n_cases=250)
    assert min(outcomes.values()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_damaged_files_are_read_or_refused_in_a_sentence(tmp_path, seed):
    outcomes = fuzz(tmp_path, seed=seed, n_cases=600)
    assert min(outcomes.values()) > 50


class Drop:
    """A pipe that gives a file drop by drop."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 700))

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError

    def tell(self) -> int:
        raise OSError


@pytest.mark.slow
def test_an_interrupt_that_arrives_while_a_pipe_is_decoded_is_kept(clips, capfd):
    """Nor does it print a traceback, whatever is going on; PyAV loses one in thirty as it makes errors of its own."""
    data = clips.clip("interrupted.mkv", 2.0, size="96x64").read_bytes()
    rng = random.Random(1)  # noqa: S311
    fired: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        fired.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    surfaced = 0
    try:
        for _ in range(150):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0005, 0.02))
                    with open_media(Drop(data)) as source:
                        for _ in source.items(both_wants()):
                            pass
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                surfaced += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(fired) > 30
    assert surfaced >= 0.9 * len(fired)
    assert capfd.readouterr() == ("", "")
