"""The picture through `open_media`: which frames, when, at which size, and which way up."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import FIVE_A_SECOND, Heard, audio_wants, both_wants, hear, quadrants, video_wants

from ascstream.sources.base import FrameSchedule, VideoWants, Wants
from ascstream.sources.media import open_media
from ascstream.sources.picture import lay_out

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def see(path, wants: VideoWants | None = None, **options) -> Heard:
    return hear(open_media(path, **options), Wants(None, wants or video_wants()))


def corners(image):
    """Colours in the middle of each quarter: top left, top right, bottom left, bottom right."""
    height, width = image.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [image[row, column].astype(int) for row in rows for column in columns]


def assert_colours(image, expected, tolerance=24):
    for seen, colour in zip(corners(image), expected, strict=True):
        assert np.abs(seen - np.array(colour)).max() <= tolerance, (seen, colour)


def test_frames_are_the_ones_that_windows_look_at(clips):
    heard = see(clips.clip("clip.mp4"))
    assert [round(frame.time * 30) for frame in heard.frames] == [*range(6, 90, 6), 89]
    for frame in heard.frames:
        assert frame.until - frame.time == pytest.approx(1 / 30)
        assert frame.image.flags.c_contiguous
    assert heard.ends == [3.0]


@pytest.mark.parametrize("step", [Fraction(1, 10), Fraction(1, 3), Fraction(1)])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "mpeg2video"])
def test_skipping_what_is_not_looked_at_changes_no_frame(clips, codec, step):
    """Every frame wanted (nothing skipped) and few wanted: those few are the same pictures."""
    quiet = ("-x265-params", "log-level=none") if codec == "libx265" else ()
    path = clips.clip(f"{codec}.mp4", 3.0, "-c:v", codec, *quiet, "-an", size="160x120")
    every = see(path, video_wants(schedule=FrameSchedule(Fraction(1, 60), (Fraction(0),), 0.5)))
    assert len(every.frames) == 90
    images = {frame.time: frame.image for frame in every.frames}
    few = see(path, video_wants(schedule=FrameSchedule(step, (Fraction(1, 5), Fraction(1, 2)), 0.5)))
    slots = {Fraction(1, 5) + k * step for k in range(60)} | {Fraction(1, 2) + k * step for k in range(60)}
    due = {float(Fraction(min(int(slot * 30), 89), 30)) for slot in slots if slot < 3.4}
    assert {frame.time for frame in few.frames} == due
    for frame in few.frames:
        assert np.array_equal(frame.image, images[frame.time])


def test_a_frame_shown_long_is_given_once_and_a_short_one_only_if_looked_at(clips):
    picked = "select='eq(n,0)+eq(n,1)+eq(n,40)+eq(n,41)+eq(n,80)'"
    path = clips.clip("vfr.mkv", 3.0, "-vf", picked, "-fps_mode", "vfr", "-an")
    heard = see(path, video_wants(schedule=FrameSchedule(Fraction(1), (Fraction(1, 2), Fraction(1)), 9.0)))
    assert [round(frame.time, 2) for frame in heard.frames] == [0.03, 1.37, 2.67]
    assert [round(frame.until, 2) for frame in heard.frames[:2]] == [1.33, 2.67]


def test_a_frame_too_old_for_a_window_is_not_given(clips):
    path = clips.clip("vfr2.mkv", 3.0, "-vf", "select='eq(n,0)+eq(n,80)'", "-fps_mode", "vfr", "-an")
    assert [round(f.time, 2) for f in see(path, video_wants(schedule=FIVE_A_SECOND)).frames] == [0.0, 2.67]
    late = FrameSchedule(Fraction(1), (Fraction(9, 10),), 0.5)
    assert [round(f.time, 2) for f in see(path, video_wants(schedule=late)).frames] == [2.67]


@pytest.mark.parametrize("start", [0.5, 1.7, 2.0])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_part_shows_the_same_frames_as_the_whole(clips, suffix, start):
    path = clips.clip(f"whole.{suffix}", 5.0)
    whole = hear(open_media(path), both_wants())
    part = hear(open_media(path, start_seconds=start, duration_seconds=2), both_wants())
    schedule = FrameSchedule(Fraction(1), FIVE_A_SECOND.offsets_seconds, 0.5)
    every = see(path, video_wants(schedule=FrameSchedule(Fraction(1, 60), (Fraction(0),), 0.5)))

    def since_start(time):
        return float(Fraction(time).limit_denominator(90_000) - Fraction(str(start)))

    due = [f for f in every.frames if schedule.wants(since_start(f.time), since_start(f.until))]
    due = [f for f in due if since_start(f.time) <= 2]
    assert [frame.time for frame in part.frames] == pytest.approx([f.time - start for f in due])
    for ours, theirs in zip(part.frames, due, strict=True):
        assert np.array_equal(ours.image, theirs.image)
    assert part.samples.shape == (1, 48000)
    assert whole.lost == part.lost == []


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("0", [RED, GREEN, BLUE, WHITE]),
        ("90", [GREEN, WHITE, RED, BLUE]),
        ("180", [WHITE, BLUE, GREEN, RED]),
        ("270", [BLUE, RED, WHITE, GREEN]),
    ],
)
def test_a_turned_phone_shows_the_picture_upright(clips, turn, expected):
    still = quadrants(clips.path("still.mp4"), clips, "-c:v", "libx264", "-pix_fmt", "yuv444p")
    turned = clips.make(f"turned{turn}.mp4", "-i", still, "-c", "copy", "-metadata:s:v", f"rotate={turn}")
    frames = see(turned, video_wants(48, 64)).frames
    assert_colours(frames[0].image, expected)
    theirs = clips.make(f"turned{turn}.rgb", "-i", turned, "-vf", "scale=48:64", "-frames:v", "1", "-pix_fmt", "rgb24")
    assert_colours(frames[0].image, corners(np.frombuffer(theirs.read_bytes(), np.uint8).reshape(64, 48, 3)))


def test_crop_keeps_the_middle_and_the_shape(clips):
    # 240 wide, 120 high: left third red, middle green, right blue
    bars = "drawbox=x=60:w=120:color=lime:t=fill,drawbox=x=180:w=60:color=blue:t=fill,format=yuv444p"
    red = "color=red:size=240x120:rate=10:duration=1"
    path = clips.make("bars.mp4", "-f", "lavfi", "-i", f"{red},{bars}", "-c:v", "libx264")
    image = see(path, video_wants(40, 40, "crop")).frames[0].image.astype(int)
    assert np.abs(image[:, 2:-2] - np.array(GREEN)).max() < 30
    squashed = see(path, video_wants(40, 40, "squash")).frames[0].image.astype(int)
    assert np.abs(squashed[:, :8] - np.array(RED)).max() < 30
    assert np.abs(squashed[:, -8:] - np.array(BLUE)).max() < 30


def test_wide_pixels_count_for_the_shape(clips):
    # 60 × 120 pixels, each four times as wide as high: shown as 240 × 120
    bars = "color=red:size=60x120:rate=10:duration=1,drawbox=x=15:w=30:color=lime:t=fill,setsar=4"
    path = clips.make("wide.mp4", "-f", "lavfi", "-i", f"{bars},format=yuv444p", "-c:v", "libx264")
    image = see(path, video_wants(40, 40, "crop")).frames[0].image.astype(int)
    assert np.abs(image[:, 3:-3] - np.array(GREEN)).max() < 30


@pytest.mark.parametrize(
    ("size", "pixels", "codec"),
    [
        ("2x2", "yuv420p", "libx264"),
        ("1x1", "rgb24", "png"),
        ("3840x2160", "yuv420p", "mjpeg"),
        ("321x243", "yuv444p", "ffv1"),
        ("64x48", "yuv420p10le", "ffv1"),
        ("64x48", "yuva420p", "ffv1"),
        ("64x48", "gray", "ffv1"),
        ("64x2", "yuv444p", "ffv1"),
    ],
)
def test_any_size_and_format_gives_the_wanted_picture(clips, size, pixels, codec):
    path = clips.make(
        f"{size}{pixels}.mkv",
        *("-f", "lavfi", "-i", f"color=white:size={size if size != '1x1' else '2x2'}:rate=5:duration=0.6"),
        *("-vf", f"scale={size.replace('x', ':')},format={pixels}", "-c:v", codec, "-strict", "-1"),
    )
    for fit in ("crop", "squash"):
        frames = see(path, video_wants(32, 24, fit)).frames
        assert frames
        assert frames[0].image.min() > 240


def test_a_size_that_changes_midway(clips):
    parts = [clips.clip(f"size{s}.ts", 1.0, "-c:v", "mpeg2video", "-an", size=s) for s in ("160x120", "320x240")]
    path = clips.path("sizes.ts")
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    heard = see(path)
    assert len(heard.frames) == 10
    assert {frame.image.shape for frame in heard.frames} == {(32, 32, 3)}


def test_a_picture_shorter_than_the_sound_says_when_it_ends(clips):
    path = clips.clip("short_picture.mkv", 3.0, "-vf", "trim=end=1")
    heard = hear(open_media(path), both_wants())
    assert heard.ends == [pytest.approx(1.0, abs=0.03)]
    assert heard.samples.shape[1] == pytest.approx(72000, abs=1000)
    assert heard.lost == []
    assert len(heard.frames) == 5


def test_with_the_sound_alone_wanted_the_picture_is_not_decoded(clips):
    """A picture that is garbage from end to end is not even noticed."""
    import av

    clip = clips.clip("clip.mp4")
    path = clips.path("garbage.mp4")
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        for packet in container.demux(video=0):
            if packet.pos is not None:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(bytes(data))
    assert hear(open_media(path), both_wants()).events[0].message == "no frame of the picture could be decoded"
    heard = hear(open_media(path), audio_wants())
    assert heard.events == []
    assert np.array_equal(heard.samples, hear(open_media(clip), audio_wants()).samples)


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    wanted=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    short_side=st.one_of(st.none(), st.integers(1, 400)),
)
def test_a_cut_never_reaches_outside(width, height, wanted, short_side):
    wants = VideoWants(*wanted, "crop", short_side, "bilinear", FIVE_A_SECOND)
    layout = lay_out(Fraction(width), Fraction(height), wants)
    assert layout.left >= 0
    assert layout.top >= 0
    assert layout.left + wants.width <= layout.width
    assert layout.top + wants.height <= layout.height


def test_a_cut_is_torchvisions():
    wants = VideoWants(224, 224, "crop", 256, "bilinear", FIVE_A_SECOND)
    layout = lay_out(Fraction(1280), Fraction(720), wants)
    assert (layout.width, layout.height, layout.left, layout.top) == (455, 256, 116, 16)
