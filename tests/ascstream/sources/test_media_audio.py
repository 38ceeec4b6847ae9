"""Sound through `open_media`: samples, times, gaps, jumps; every clip made by the ffmpeg command."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.media import Heard, audio_wants, both_wants, hear, video_wants, write_wav

from ascstream.errors import DecodeError, UsageError
from ascstream.records import AudioBlock, StreamEvent
from ascstream.sources.base import AudioWants, Wants
from ascstream.sources.media import open_media


def noise(n_samples, n_channels=1, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(-20000, 20000, (n_samples, n_channels)).astype(np.int16)
    return values[:, 0] if n_channels == 1 else values


def rms(samples):
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_a_wav_is_heard_sample_by_sample(tmp_path):
    raw = noise(50_001)
    heard = hear(open_media(write_wav(tmp_path / "a.wav", raw, 24000)), audio_wants())
    assert np.array_equal(heard.samples[0], raw / np.float32(32768))
    assert (heard.lost, heard.events, heard.ends) == ([], [], [])


def test_stereo_is_kept_or_averaged(tmp_path):
    raw = noise(30_000, 2)
    path = write_wav(tmp_path / "a.wav", raw, 24000)
    assert np.array_equal(hear(open_media(path), audio_wants(n_channels=2)).samples, raw.T / np.float32(32768))
    mean = (raw[:, 0] / np.float32(32768) + raw[:, 1] / np.float32(32768)) / 2
    assert np.array_equal(hear(open_media(path), audio_wants()).samples[0], mean)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60_000), st.sampled_from([8000, 11025, 22050, 44100, 48000, 96000]))
def test_the_length_is_the_duration_times_the_rate(tmp_path, n_samples, rate):
    heard = hear(open_media(write_wav(tmp_path / "a.wav", noise(n_samples), rate)), audio_wants())
    assert heard.samples.shape[1] == max(round(n_samples * 24000 / rate), 0)


def test_mono_on_two_channels_is_said_once_or_refused(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(30_000), 24000)
    heard = hear(open_media(path), audio_wants(n_channels=2))
    assert np.array_equal(heard.samples[0], heard.samples[1])
    assert [(e.kind, e.message) for e in heard.events] == [
        ("mono_source", "the sound is mono: left and right are the same")
    ]
    with pytest.raises(DecodeError, match=r"the sound is mono, .* give a stereo recording"):
        hear(open_media(path), audio_wants(n_channels=2, refuse_mono=True))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mp3", "ogg", "flac", "opus"])
def test_coded_sound_keeps_time_and_level(clips, suffix):
    path = clips.tone(f"tone.{suffix}", 2.0)
    heard = hear(open_media(path), audio_wants())
    assert abs(heard.samples.shape[1] / 24000 - 2.0) < 0.03
    assert rms(heard.samples[0, 4800:-4800]) == pytest.approx(0.125 / 2**0.5, rel=0.1)
    assert heard.lost == []


def test_an_edit_list_cuts_the_codecs_padding(clips):
    assert hear(open_media(clips.tone("tone.mp4", 2.0)), audio_wants()).samples.shape == (1, 48000)


def test_five_point_one_at_96_khz_and_8_khz_mono(clips):
    surround = clips.tone("surround.wav", 1.0, "-af", "pan=5.1|FC=c0", "-c:a", "pcm_f32le", rate=96000)
    heard = hear(open_media(surround), audio_wants(44100, 2))
    assert heard.samples.shape == (2, 44100)
    share = 0.5**0.5 / (1 + 2 * 0.5**0.5)
    assert rms(heard.samples[:, 4410:-4410]) == pytest.approx(0.125 / 2**0.5 * share, rel=1e-3)
    assert hear(open_media(clips.tone("phone.wav", 1.0, rate=8000)), audio_wants(44100)).samples.shape == (1, 44100)


def test_sound_that_begins_late_begins_with_a_lost_stretch(clips):
    clip = clips.clip("clip.mp4")
    twice = ("-i", clip, "-itsoffset", "0.5", "-i", clip)
    late = clips.make("late.mkv", *twice, "-map", "0:v", "-map", "1:a", "-c", "copy")
    heard = hear(open_media(late), both_wants())
    assert len(heard.lost) == 1
    assert heard.lost[0][0] == 0
    assert heard.lost[0][1] == pytest.approx(0.5, abs=0.025)  # less the codec's priming
    assert not heard.blocks[0].samples.any()


@pytest.mark.parametrize(("suffix", "error"), [("mkv", 0.0011), ("nut", 1e-4)])
def test_a_hole_in_the_stamps_is_lost_for_exactly_its_length(clips, suffix, error):
    tone = clips.tone("packets.wav", 3.0, rate=48000)
    # packets of 1024 samples; those of 1.024 … 1.536 s are left out
    holed = clips.make(
        f"holed.{suffix}",
        *("-i", tone, "-af", "asetnsamples=1024:p=0,aselect=not(between(n\\,48\\,71)),aresample=48000:async=0"),
        *("-fps_mode", "passthrough", "-c:a", "pcm_s16le"),
    )
    heard = hear(open_media(holed), audio_wants())
    assert len(heard.lost) == 1
    start, end = heard.lost[0]
    assert start == pytest.approx(1.024, abs=error)
    assert end - start == pytest.approx(0.512, abs=2 * error)
    assert heard.samples.shape[1] == pytest.approx(72000, abs=error * 48000)
    after = heard.samples[0, round(end * 24000) + 240 : round(end * 24000) + 1200]
    times = np.arange(round(end * 24000) + 240, round(end * 24000) + 1200) / 24000
    fit = np.abs(np.mean(after * np.exp(-2j * np.pi * 440 * times)))
    assert fit == pytest.approx(0.125 / 2, rel=0.02)


def test_a_stream_that_starts_its_clock_anew_goes_on_without_a_hole(clips):
    first = clips.clip("first.ts", 2.0, "-output_ts_offset", "500")
    second = clips.clip("second.ts", 2.0, "-output_ts_offset", "10")
    joined = clips.path("joined.ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    heard = hear(open_media(joined), both_wants())
    assert heard.kinds == ["jump"]
    assert heard.events[0].message == "the clock of the time stamps starts anew; the stream goes on without a hole"
    assert heard.samples.shape[1] / 24000 == pytest.approx(4.0, abs=0.15)
    assert sum(end - start for start, end in heard.lost) < 0.1
    assert len(heard.frames) == 20
    assert heard.ends[0] == pytest.approx(4.0, abs=0.15)


def test_a_jump_ahead_is_no_hour_of_silence(clips):
    first = clips.tone("ahead1.ts", 1.0, "-c:a", "mp2", "-output_ts_offset", "10")
    second = clips.tone("ahead2.ts", 1.0, "-c:a", "mp2", "-output_ts_offset", "1000")
    joined = clips.path("ahead.ts")
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    heard = hear(open_media(joined), audio_wants())
    assert heard.kinds == ["jump"]
    assert heard.events[0].seconds == pytest.approx(989, abs=0.2)
    assert heard.samples.shape[1] / 24000 == pytest.approx(2.0, abs=0.06)


def test_samples_that_are_no_numbers_count_as_lost(tmp_path):
    import av

    samples = np.full((1, 48000), 0.25, np.float32)
    samples[0, 20_000] = np.nan
    samples[0, 30_000] = np.inf
    path = tmp_path / "nan.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=24000, layout="mono")
        for start in range(0, 48000, 1000):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1000], format="flt", layout="mono")
            frame.sample_rate, frame.pts = 24000, start
            container.mux(stream.encode(frame))
    heard = hear(open_media(path), audio_wants())
    assert heard.samples.shape == (1, 48000)
    assert heard.kinds == ["corrupt", "corrupt"]
    assert heard.events[1].message == "2 parts of the sound could not be decoded"
    assert len(heard.lost) == 2
    for (start, end), bad in zip(heard.lost, (20_000, 30_000), strict=True):
        assert start * 24000 <= bad < end * 24000
        assert end - start < 0.2
    for block in heard.blocks:
        assert block.lost or np.all(block.samples == 0.25)


def test_a_damaged_packet_is_left_out_and_its_time_is_lost(clips):
    path = clips.path("hole.mp4")
    data = bytearray(clips.tone("plain.mp4", 4.0, "-movflags", "+faststart").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(250)) * 12
    path.write_bytes(bytes(data))
    heard = hear(open_media(path), audio_wants())
    assert heard.kinds[0] == "corrupt"
    assert heard.samples.shape == (1, 96000)
    assert 0.02 < sum(end - start for start, end in heard.lost) < 1.5


@pytest.mark.parametrize(("start", "duration"), [(0.0, 1.0), (0.5, None), (2.25, 1.5), (3.7, 0.01), (4.0, 20.0)])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp4", "ts", "mp3"])
def test_a_part_is_the_same_samples_as_in_the_whole(clips, suffix, start, duration):
    # without AAC's noise substitution, which draws new noise every time; MP2 is dithered
    codec, error = {"ts": (("-c:a", "mp2"), 1e-4), "mp4": (("-aac_pns", "0"), 1e-6)}.get(suffix, ((), 1e-6))
    source = "anoisesrc=sample_rate=48000:duration=6:seed=1:amplitude=0.5"
    path = clips.make(f"part.{suffix}", "-f", "lavfi", "-i", source, *codec)
    whole = hear(open_media(path), audio_wants()).samples
    part = hear(open_media(path, start_seconds=start, duration_seconds=duration), audio_wants())
    first = round(start * 24000)
    last = whole.shape[1] if duration is None else min(first + round(duration * 24000), whole.shape[1])
    assert part.samples.shape[1] == last - first
    assert np.abs(part.samples - whole[:, first:last]).max() < error
    assert (part.lost, part.events) == ([], [])


def test_info_tells_length_and_offset(clips):
    with open_media(clips.tone("plain.wav", 4.0), start_seconds=1.5, duration_seconds=10) as source:
        info = source.info
    assert (info.duration_seconds, info.offset_seconds, info.live) == (2.5, 1.5, False)
    assert (info.has_audio, info.has_video) == (True, False)
    assert info.name.endswith("plain.wav")


@pytest.mark.parametrize(("start", "duration"), [(-1, None), (float("nan"), None), (0, 0), (0, float("inf"))])
def test_a_part_that_cannot_be_is_a_usage_error(clips, start, duration):
    with pytest.raises(UsageError, match=r"expected a (start|duration)"):
        open_media(clips.tone("plain.wav", 4.0), start_seconds=start, duration_seconds=duration)


def test_where_the_sound_ends_first_lost_blocks_keep_pace_with_the_picture(clips):
    path = clips.clip("short_sound.mkv", 3.0, "-af", "atrim=end=1")
    heard = hear(open_media(path), both_wants())
    assert heard.samples.shape[1] / 24000 == pytest.approx(3.0, abs=0.04)
    assert len(heard.lost) == 1
    assert heard.lost[0][0] == pytest.approx(1.0, abs=0.04)
    assert len(heard.frames) == 15


def test_where_there_is_no_sound_lost_blocks_keep_pace_with_the_picture(clips):
    path = clips.clip("silent.mp4", 3.0, "-an")
    heard = hear(open_media(path), both_wants())
    assert heard.lost == [(0.0, pytest.approx(3.0))]
    assert len(heard.frames) == 15
    assert heard.ends == [3.0]


def test_where_there_is_no_picture_it_ends_at_once(clips):
    heard = hear(open_media(clips.tone("plain.wav", 4.0)), both_wants())
    assert heard.ends == [0.0]
    assert heard.samples.shape[1] == 96000


def test_a_cover_is_no_picture(clips):
    cover = clips.make("cover.png", "-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1")
    path = clips.make(
        "covered.mp3",
        *("-i", clips.tone("plain.wav", 4.0), "-i", cover, "-map", "0", "-map", "1", "-c:v", "png"),
        *("-disposition:v", "attached_pic"),
    )
    with open_media(path) as source:
        assert (source.info.has_audio, source.info.has_video) == (True, False)
    assert hear(open_media(path), both_wants()).ends == [0.0]


def test_neither_wanted_track_is_an_error(clips):
    with pytest.raises(DecodeError, match=r"no sound track in .*silent2.mp4: it has only a picture"):
        hear(open_media(clips.clip("silent2.mp4", 1.0, "-an")), audio_wants())
    with pytest.raises(DecodeError, match=r"no picture track in .*plain.wav: it has only sound"):
        hear(open_media(clips.tone("plain.wav", 4.0)), Wants(None, video_wants()))


@pytest.mark.parametrize("options", [("wav",), ("mkv",), ("ts",)])
def test_a_pipe_gives_what_the_file_gives(clips, options):
    path = clips.clip(f"piped.{options[0]}", 2.0) if options[0] != "wav" else clips.tone("plain.wav", 4.0)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        piped = hear(open_media(cat.stdout), both_wants())
    filed = hear(open_media(path), both_wants())
    assert np.array_equal(piped.samples, filed.samples)
    assert [frame.time for frame in piped.frames] == [frame.time for frame in filed.frames]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(piped.frames, filed.frames, strict=True))


def test_a_pipe_can_begin_later(clips):
    path = clips.tone("plain.wav", 4.0)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        part = hear(open_media(cat.stdout, start_seconds=2.5), audio_wants())
    assert np.array_equal(part.samples, hear(open_media(path), audio_wants()).samples[:, 60000:])


def test_an_interrupt_while_a_pipe_is_read_is_not_lost():
    class Interrupted:
        def read(self, size: int) -> bytes:
            raise KeyboardInterrupt

        def seekable(self) -> bool:
            return False

        def seek(self, offset: int, whence: int = 0) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    with pytest.raises(KeyboardInterrupt):
        open_media(Interrupted())


def test_items_are_given_once(clips):
    source = open_media(clips.tone("plain.wav", 4.0))
    hear(source, audio_wants())
    with pytest.raises(RuntimeError, match="a source gives its items once"):
        hear(source, audio_wants())
    source.close()


def test_what_was_heard_before_a_file_breaks_off_is_kept(clips):
    whole = clips.clip("whole.mp4", 6.0, "-movflags", "+faststart")
    heard = Heard()
    message = r"cut.mp4 ends early: decoded \d\.\d of 6\.0 s; what came before is kept, .* copy or record it again"
    with pytest.raises(DecodeError, match=message):
        hear(open_media(clips.cut("cut.mp4", whole, 0.6)), both_wants(), heard)
    assert 2.0 < heard.blocks[-1].end < 5.0
    assert len(heard.frames) > 10


def test_a_colon_or_a_dash_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    raw = noise(2400)
    for name in ("data:x.wav", "-x.wav", "concat:a|b.wav", "%03d.wav"):
        heard = hear(open_media(write_wav(tmp_path / name, raw, 24000)), audio_wants())
        assert heard.samples.shape == (1, 2400)
    monkeypatch.chdir(tmp_path)
    assert hear(open_media("-x.wav"), audio_wants()).samples.shape == (1, 2400)
    assert hear(open_media((Path.cwd() / "-x.wav").as_uri()), audio_wants()).samples.shape == (1, 2400)


def test_wants_of_two_rates_at_once_do_not_share_state(clips):
    path = clips.tone("plain.wav", 4.0)
    low, high = (hear(open_media(path), Wants(AudioWants(rate, 1), None)) for rate in (16000, 44100))
    assert (low.samples.shape[1], high.samples.shape[1]) == (64000, 176400)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_vorbis_with_short_and_long_blocks_has_no_gaps(rate: int, tmp_path: Path) -> None:
    # clicks make the encoder change its block length, and the stamps wobble by 448 samples where it does
    clicks = f"aevalsrc=0.3*random(0)*lt(mod(t\\,0.5)\\,0.02)+0.001*random(1):s={rate}:d=5"
    path = tmp_path / "clicks.ogg"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", clicks, "-c:a", "libvorbis", str(path)], check=True)
    with open_media(path) as source:
        items = list(source.items(Wants(AudioWants(rate, 1), None)))
    assert not [item for item in items if isinstance(item, StreamEvent)]
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert not any(block.lost for block in blocks)
    raw = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1", "-"]
    reference = np.frombuffer(subprocess.run(raw, check=True, capture_output=True).stdout, np.float32)
    heard = np.concatenate([block.samples[0] for block in blocks])
    n = min(heard.size, reference.size)
    assert abs(heard.size - reference.size) <= 1
    assert np.abs(heard[:n] - reference[:n]).max() < 1e-5
