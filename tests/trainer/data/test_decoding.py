"""A clip to 16-bit samples and JPEG pictures: exact lengths, real stamps, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.bad_files import cut, float_wav
from support.clips import BOTH, RATE, SMALL, STEREO, clip_of, heard, noise, shade, write_media

from trainer.data.decoding import decode_clip, to_integers
from trainer.data.pictures import decode_picture, pillow
from trainer.data.settings import PictureSettings, Settings, SoundSettings
from trainer.errors import DataError

SOUND = Settings(STEREO)


@given(npst.arrays(np.int16, (3, 2)))
def test_sixteen_bits_come_back_as_they_were(values: np.ndarray) -> None:
    integers, n_clipped = to_integers((values.T / np.float32(32768)).astype(np.float32))
    np.testing.assert_array_equal(integers, values)
    assert (integers.dtype.str, n_clipped) == ("<i2", 0)


@given(npst.arrays(np.float32, (2, 5), elements=st.floats(-1, 1, width=32)))
def test_rounding_is_half_a_step_at_most(samples: np.ndarray) -> None:
    integers, n_clipped = to_integers(samples)
    exact = np.minimum(32768 * samples.astype(np.float64), 32767)
    assert np.abs(integers.T - exact).max() <= 0.5
    assert n_clipped == 0


def test_what_is_beyond_full_scale_is_clipped_and_counted() -> None:
    integers, n_clipped = to_integers(np.array([[1.5, -1.0, 1.0, -7.0, 0.25]], np.float32))
    assert integers[:, 0].tolist() == [32767, -32768, 32767, -32768, 8192]
    assert n_clipped == 2


@pytest.mark.parametrize("rate", [RATE, 11_025, 48_000])
def test_samples_are_those_of_a_stream(tmp_path: Path, rate: int) -> None:
    path = write_media(tmp_path / "a.wav", samples=noise(1.3), rate=RATE)
    got = decode_clip(clip_of(path), Settings(SoundSettings(rate, 2)))
    expected = heard(path, rate)
    np.testing.assert_array_equal(got.samples, np.clip(np.rint(expected.T * 32768), -32768, 32767))
    assert len(got.samples) == round(1.3 * rate)
    assert got.seconds == len(got.samples) / rate


@pytest.mark.parametrize("n_samples", [479_999, 480_000, 480_001])
def test_a_sample_more_or_less_is_kept(tmp_path: Path, n_samples: int) -> None:
    sound = np.resize(noise(0.5), (n_samples, 2))
    path = write_media(tmp_path / "a.wav", samples=sound, rate=48_000)
    kept = decode_clip(clip_of(path), Settings(SoundSettings(48_000, 2)))
    np.testing.assert_array_equal(kept.samples, sound)
    mono = decode_clip(clip_of(path), Settings(SoundSettings(24_000, 1)))
    assert mono.samples.shape == (240_000, 1) if n_samples < 480_001 else (240_001, 1)


def test_one_file_gives_what_two_give(tmp_path: Path) -> None:
    sound = noise(1.6)
    audio = write_media(tmp_path / "a.wav", samples=sound)
    video = write_media(tmp_path / "v.mp4", n_frames=40)
    one = decode_clip(clip_of(write_media(tmp_path / "both.mkv", samples=sound, n_frames=40)), BOTH)
    two = decode_clip(clip_of(audio, video), BOTH)
    np.testing.assert_array_equal(one.samples, sound)
    np.testing.assert_array_equal(two.samples, sound)
    assert one.frame_times == two.frame_times
    assert one.pictures == two.pictures
    assert one.seconds == two.seconds == 1.6


@pytest.mark.parametrize("frame_rate", [5.0, 4.0, 12.5, 25.0, 100.0])
def test_the_newest_frame_of_each_moment_of_the_grid_is_kept(tmp_path: Path, frame_rate: float) -> None:
    path = write_media(tmp_path / "v.mp4", n_frames=40, frame_rate=30)
    got = decode_clip(clip_of(path), Settings(None, PictureSettings(32, 24, "squash", "area", None, frame_rate)))
    moments = np.arange(0, 40 / 30, 1 / frame_rate)
    numbers = sorted({*np.floor(moments * 30 + 1e-6).astype(int), 39})  # the last one may be looked at later
    np.testing.assert_allclose(got.frame_times, np.array(numbers) / 30, atol=1e-9)
    for number, picture in zip(numbers, got.pictures, strict=True):
        image = decode_picture(picture)
        assert image.shape == (24, 32, 3)
        assert abs(image.mean() - shade(number)) < 6
    assert got.seconds == pytest.approx(40 / 30)
    assert got.samples.size == 0


@pytest.mark.parametrize(("seconds", "n_frames"), [(2.0, 25), (1.0, 50)])
@pytest.mark.parametrize("together", [True, False])
def test_the_sound_says_how_long_a_clip_is(tmp_path: Path, seconds: float, n_frames: int, together: bool) -> None:
    sound = noise(seconds)
    if together:
        clip = clip_of(write_media(tmp_path / "both.mkv", samples=sound, n_frames=n_frames))
    else:
        video = write_media(tmp_path / "v.mp4", n_frames=n_frames)
        clip = clip_of(write_media(tmp_path / "a.wav", samples=sound), video)
    got = decode_clip(clip, BOTH)
    np.testing.assert_array_equal(got.samples, sound)
    assert got.seconds == seconds
    assert got.frame_times[-1] == pytest.approx((n_frames - 1) / 25, abs=1e-3)


def test_a_mono_recording_fills_both_channels_unless_refused(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", samples=noise(0.2, n_channels=1))
    got = decode_clip(clip_of(path), SOUND)
    np.testing.assert_array_equal(got.samples[:, 0], got.samples[:, 1])
    with pytest.raises(DataError, match=r"a\.wav: expected a recording, got: the sound is mono"):
        decode_clip(clip_of(path), Settings(SoundSettings(RATE, 2, refuse_mono=True)))


def bad_clip(folder: Path, kind: str) -> Path:
    path = folder / "bad.wav"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a recording\n" * 100)
    elif kind == "truncated":
        cut(write_media(path, samples=noise(4.0)), 0.5)
    elif kind == "header":
        cut(write_media(path, samples=noise(1.0)), 0.0005)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "expected a recording, got: no such file"),
        ("empty", "is empty (0 bytes)"),
        ("text", "expected a recording, got: "),
        ("truncated", "expected a recording, got: "),
        ("header", "expected a recording, got: "),
    ],
)
def test_what_cannot_be_decoded_is_said(tmp_path: Path, kind: str, message: str) -> None:
    path = bad_clip(tmp_path, kind)
    with pytest.raises(DataError) as error:
        decode_clip(clip_of(path), SOUND)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_track_is_said(tmp_path: Path) -> None:
    audio = write_media(tmp_path / "a.wav", samples=noise(0.5))
    video = write_media(tmp_path / "v.mp4", n_frames=10)
    with pytest.raises(DataError, match=r"a\.wav: expected a picture, got none"):
        decode_clip(clip_of(audio), BOTH)
    with pytest.raises(DataError, match=r"v\.mp4: expected sound, got none"):
        decode_clip(clip_of(video), BOTH)
    with pytest.raises(DataError, match="no sound track"):
        decode_clip(clip_of(video), SOUND)
    with pytest.raises(DataError, match="no picture track"):
        decode_clip(clip_of(audio), Settings(None, SMALL))


def test_samples_that_are_no_numbers_spoil_the_clip(tmp_path: Path) -> None:
    samples = np.zeros(RATE, np.float32)
    samples[8000:8100] = np.nan
    with pytest.raises(DataError, match=r"bad\.wav: expected a whole recording, got: a part of the sound"):
        decode_clip(clip_of(float_wav(tmp_path / "bad.wav", samples, RATE)), SOUND)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_a_picture_of_its_own_lasts_a_second(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    pillow().fromarray(ramp).save(path)
    got = decode_clip(clip_of(path), Settings(None, SMALL))
    assert (got.seconds, got.frame_times, len(got.pictures)) == (1.0, (0.0,), 1)
    assert abs(decode_picture(got.pictures[0]).mean() - ramp.mean()) < 2
    with pytest.raises(DataError, match="sound"):
        decode_clip(clip_of(path), Settings(STEREO, SMALL))
