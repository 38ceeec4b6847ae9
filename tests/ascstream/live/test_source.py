"""A live stream in a test's own time: devices that drift, freeze, fail and return; nothing sleeps."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from support.fake_devices import FakeCamera, FakeMicrophone, World, shown_moment

from ascstream.capture.messages import Failed, Opened, Seen, Sound
from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.errors import DecodeError, SourceError, SourceNotFoundError, UsageError
from ascstream.live.source import open_live
from ascstream.records import AudioBlock, EndOfVideo, StreamEvent, VideoFrame, VideoProgress
from ascstream.sources.base import AudioWants, FrameSchedule, VideoWants, Wants

SCHEDULE = FrameSchedule(Fraction(1, 5), (Fraction(1, 10), Fraction(1, 2)), 1.0)
AUDIO = AudioWants(24000, 1)
VIDEO = VideoWants(4, 4, "crop", None, "bilinear", SCHEDULE)
BOTH = Wants(AUDIO, VIDEO)
MICROPHONE, CAMERA = MicrophoneRequest("card"), MediaRequest("camera")


class Stream:
    """Runs a source and notes what it gives."""

    def __init__(self, world, microphone=MICROPHONE, camera=CAMERA, *, wants=BOTH, **options):
        self.world = world
        self.source = open_live(
            microphone,
            camera,
            start=world.start,
            pause=world.pause,
            clock=world,
            find=lambda _: None,
            random=lambda: 1.0,
            **options,
        )
        self.items = self.source.items(wants)
        self.end = 0.0
        self.lost_seconds = 0.0
        self.latest = 0.0
        """Most that a block came after its end."""
        self.frames, self.events, self.settled = [], [], []
        self.block_moments = []

    def until(self, moment):
        """Go on to a moment of the world."""
        while self.world.now < moment:
            item = next(self.items)
            if isinstance(item, AudioBlock):
                assert item.start == pytest.approx(self.end, abs=1e-6)
                self.end = item.end
                self.lost_seconds += item.lost * item.n_samples / item.sample_rate
                self.latest = max(self.latest, self.world.now - self.source.to_monotonic(item.end))
                self.block_moments.append(self.world.now)
            elif isinstance(item, VideoFrame):
                assert not self.frames or item.time >= self.frames[-1].time
                assert item.index == len(self.frames)
                self.frames.append(item)
                self.settled.append((self.world.now, item.until))
            elif isinstance(item, VideoProgress):
                self.settled.append((self.world.now, item.time))
            elif isinstance(item, StreamEvent):
                self.events.append((round(self.world.now, 1), item.kind, item))
        return self

    def kinds(self):
        return [kind for _, kind, _ in self.events]

    def device(self, kind):
        return next(device for device in self.source.health().devices if device.device == kind)

    def picture_waits(self):
        """Longest time in which nothing was said of the picture."""
        return max(b - a for a, b in itertools.pairwise(moment for moment, _ in self.settled))


@pytest.fixture
def world():
    return World()


@pytest.mark.slow
def test_sound_and_picture_of_one_moment_have_one_time(world):
    rng = np.random.default_rng(1)
    FakeMicrophone(world, drift_ppm=250, jitter=lambda: 0.04 * rng.random() ** 3, sample_rate=44100)
    FakeCamera(world)
    stream = Stream(world).until(5200)
    assert stream.lost_seconds == 0
    assert stream.kinds() == []
    assert stream.end == pytest.approx((world.now - 5000.3) * (1 + 250e-6), abs=0.1)
    assert len(stream.frames) == pytest.approx(stream.end * 5, abs=5)  # five steps a second, whose slots fall together
    for frame in stream.frames[100:]:
        begun = stream.source.to_monotonic(0)
        true_seconds = (shown_moment(frame.image) - begun) * (1 + 250e-6)
        assert frame.time == pytest.approx(true_seconds, abs=0.005)
        assert frame.until - frame.time <= 0.041
    microphone, camera = stream.device("microphone"), stream.device("camera")
    assert microphone.drift_ppm == pytest.approx(250, abs=5)
    assert microphone.delay_seconds == pytest.approx(0.03, abs=0.01)
    assert (microphone.state, camera.state) == ("running", "running")
    assert (microphone.details, camera.details) == ("44100 Hz, 1 channel", "640×480")
    assert stream.latest < 0.1


@pytest.mark.parametrize("with_camera", [False, True])
def test_a_window_does_not_wait_for_the_chunk_after_its_own(world, with_camera):
    FakeMicrophone(world, sample_rate=44100, delay=lambda: 0.01)
    camera = None
    if with_camera:
        FakeCamera(world).opening_seconds = 0.777
        camera = CAMERA
    stream = Stream(world, camera=camera, wants=BOTH if with_camera else Wants(AUDIO, None)).until(5020)
    moments = {}  # at which each step of 0.2 s was complete
    for item in itertools.islice(stream.items, 500):
        if isinstance(item, AudioBlock):
            moments.setdefault(int(item.end / 0.2 + 1e-6), world.now)
    waits = [moment - stream.source.to_monotonic(0.2 * step) for step, moment in list(moments.items())[1:]]
    assert len(waits) > 20
    assert max(waits) < 0.01 + 0.002  # the microphone's delay, and what the resampler holds; no chunk of 20 ms


def test_each_moment_at_which_windows_look_is_settled_within_60_ms(world):
    FakeMicrophone(world)
    FakeCamera(world)
    stream = Stream(world).until(5030)
    times = [seconds for _, seconds in stream.settled]
    assert times == sorted(times)
    expected = [round(0.1 + 0.2 * k, 1) for k in range(140)]
    settled = {round(seconds, 4): moment for moment, seconds in stream.settled}
    for slot in expected:
        assert settled[slot] - stream.source.to_monotonic(slot) < 0.06


def test_the_camera_is_later_by_what_the_user_says(world):
    FakeMicrophone(world)
    FakeCamera(world)
    stream = Stream(world, camera_delay_seconds=0.2).until(5030)
    begun = stream.source.to_monotonic(0)
    for frame in stream.frames:
        assert shown_moment(frame.image) - begun - frame.time == pytest.approx(0.2, abs=1e-3)


def test_a_microphone_that_freezes_is_replaced_at_true_rate_and_returns(world):
    microphone = FakeMicrophone(world)
    FakeCamera(world)
    stream = Stream(world).until(5020)
    microphone.frozen = True
    stream.until(5030)
    lost = stream.device("microphone")
    assert (lost.state, lost.n_losses) == ("opening", 1)
    assert lost.lost_since == pytest.approx(5020, abs=0.1)
    assert stream.end == pytest.approx(5030 - stream.source.to_monotonic(0), abs=0.2)
    assert [stream.device("camera").state, len(stream.frames) > 140] == ["running", True]
    microphone.frozen = False
    stream.until(5040)
    assert stream.kinds() == ["device_lost", "device_back"]
    noticed, back = (moment for moment, _, _ in stream.events)
    assert noticed - 5020 <= 2.0
    assert back - 5030 <= 4.0
    assert stream.events[1][2].seconds == pytest.approx(back - 5020, abs=0.2)
    assert stream.lost_seconds == pytest.approx(back - 5020, abs=0.2)
    assert stream.latest <= 0.56
    assert max(np.diff(stream.block_moments)) < 0.6
    assert stream.end == pytest.approx(world.now - stream.source.to_monotonic(0), abs=0.1)


def test_a_camera_that_goes_leaves_the_sound_alone_and_windows_wait_for_nothing(world):
    FakeMicrophone(world)
    camera = FakeCamera(world)
    stream = Stream(world).until(5010)
    camera.plugged = False
    stream.until(5030)
    n_frames = len(stream.frames)
    assert stream.picture_waits() < 0.25
    assert stream.lost_seconds == 0
    camera.plugged = True
    stream.until(5065)
    assert stream.kinds() == ["device_lost", "device_back"]
    assert len(stream.frames) > n_frames + 50
    assert stream.lost_seconds == 0


def test_with_both_gone_the_stream_still_ticks(world):
    devices = FakeMicrophone(world), FakeCamera(world)
    stream = Stream(world).until(5010)
    for device in devices:
        device.plugged = False
    stream.until(5100)
    assert stream.end == pytest.approx(5100 - stream.source.to_monotonic(0), abs=0.2)
    assert max(np.diff(stream.block_moments)) < 0.6
    assert stream.picture_waits() < 0.25
    assert sorted(stream.kinds()) == ["device_lost", "device_lost"]
    assert len(stream.source.health().lost) == 2


def test_a_device_that_comes_back_with_another_rate_is_told(world):
    microphone = FakeMicrophone(world)
    stream = Stream(world, camera=None, wants=Wants(AUDIO, None)).until(5010)
    microphone.fail("unplugged")
    microphone.sample_rate, microphone.n_channels = 44100, 2
    stream.until(5020)
    assert stream.kinds() == ["device_lost", "device_changed", "device_back"]
    assert stream.events[1][2].message == "microphone changed: 1 × 48000 Hz before, 2 × 44100 Hz now"
    assert stream.lost_seconds < 1.5


def test_overflows_are_lost_blocks_and_told_together(world):
    microphone = FakeMicrophone(world)
    stream = Stream(world, camera=None, wants=Wants(AUDIO, None)).until(5005)
    for second in range(20):
        microphone.n_dropped = 5
        stream.until(5006 + second)
    assert stream.lost_seconds == pytest.approx(20 * 0.1, abs=0.01)
    assert stream.kinds() == ["overflow", "overflow"]
    assert stream.events[0][2].seconds == pytest.approx(0.1, abs=1e-3)
    assert stream.events[1][2].seconds == pytest.approx(1.0, abs=1e-2)


@pytest.mark.slow
def test_an_hour_of_drift_and_faults_loses_only_what_was_lost(world):
    rng = np.random.default_rng(5)
    microphone = FakeMicrophone(
        world, drift_ppm=-120, chunk_seconds=0.1, jitter=lambda: 0.05 * rng.random() ** 3, sample_rate=24000
    )
    stream = Stream(world, camera=None, wants=Wants(AUDIO, None))
    absent = 0.0
    for minute in range(60):
        stream.until(5000 + 60 * minute + 50)
        if minute % 10 == 5:
            microphone.fail("unplugged")
            stream.until(world.now + 2)
            absent += 1
    stream.until(8600)
    assert stream.kinds() == ["device_lost", "device_back"] * 6
    assert stream.lost_seconds < absent * 1.5
    assert stream.end == pytest.approx((8600 - 5000.3) * (1 - 120e-6), abs=0.5)
    begun = stream.source.to_monotonic(0)
    assert stream.source.to_monotonic(stream.end) - begun == pytest.approx(stream.end / (1 - 120e-6), abs=0.25)
    assert stream.device("microphone").drift_ppm == pytest.approx(-120, abs=10)


def test_a_program_that_was_stopped_catches_up_at_once(world):
    FakeMicrophone(world)
    FakeCamera(world)
    stream = Stream(world).until(5010)
    world.now += 60  # nobody ran
    stream.until(world.now + 5)
    assert stream.kinds()[0] == "suspended"
    assert stream.events[0][2].seconds == pytest.approx(60, abs=1)
    assert stream.end == pytest.approx(world.now - stream.source.to_monotonic(0), abs=0.6)


def test_without_a_microphone_the_clock_paces(world):
    FakeCamera(world)
    stream = Stream(world, microphone=None).until(5020)
    assert stream.lost_seconds == pytest.approx(stream.end)
    assert stream.end == pytest.approx(5020 - stream.source.to_monotonic(0), abs=0.1)
    assert stream.source.info.has_audio is False


def test_without_a_camera_the_picture_has_ended(world):
    FakeMicrophone(world)
    stream = Stream(world, camera=None)
    first = next(item for item in stream.items if not isinstance(item, StreamEvent))
    assert first == EndOfVideo(0.0)


def test_a_bundle_that_only_sees_hears_of_time_by_the_picture(world):
    camera = FakeCamera(world)
    FakeMicrophone(world)
    stream = Stream(world, wants=Wants(None, VIDEO)).until(5020)
    assert stream.picture_waits() < 0.15
    assert stream.settled[-1][1] == pytest.approx(5020 - stream.source.to_monotonic(0), abs=0.15)
    camera.plugged = False
    stream.until(5040)
    assert stream.picture_waits() < 0.15
    assert [device.device for device in stream.source.health().devices] == ["camera"]


def test_a_device_that_is_not_there_ends_the_start(world):
    FakeMicrophone(world).plugged = False
    FakeCamera(world)
    with pytest.raises(SourceNotFoundError, match="there is no such device; plug it in"):
        Stream(world).until(5010)
    assert world.now < 5001


def test_a_device_that_gives_nothing_ends_the_start_after_five_seconds(world):
    FakeMicrophone(world)
    FakeCamera(world).frozen = True
    with pytest.raises(SourceError, match="camera gave nothing within 5 s"):
        Stream(world).until(5010)
    assert 5005 <= world.now < 5005.5


def test_with_wait_the_stream_begins_without_a_device_and_takes_it_when_it_comes(world):
    microphone, _ = FakeMicrophone(world), FakeCamera(world)
    microphone.plugged = False
    stream = Stream(world, wait=True).until(5012)
    assert [(kind, moment) for moment, kind, _ in stream.events] == [("device_lost", pytest.approx(5005.1, abs=0.2))]
    assert stream.end == pytest.approx(7, abs=0.5)
    assert stream.lost_seconds == stream.end
    microphone.plugged = True
    stream.until(5030)
    assert stream.kinds() == ["device_lost", "device_back"]
    assert stream.end - stream.lost_seconds > 8


def test_reopening_opens_every_device_anew(world):
    devices = FakeMicrophone(world), FakeCamera(world)
    stream = Stream(world).until(5010)
    stream.source.reopen()
    stream.until(5020)
    assert [len(device.recorders) for device in devices] == [2, 2]
    assert stream.lost_seconds < 0.6
    assert stream.kinds() == []


def test_stopping_ends_it_and_closing_leaves_nothing(world):
    devices = FakeMicrophone(world), FakeCamera(world)
    stream = Stream(world).until(5010)
    stream.source.stop()
    before = world.now
    list(stream.items)
    assert world.now - before <= 0.1
    assert not any(device.recorders[0].running for device in devices)
    stream.source.close()
    stream.source.close()
    assert all(device.recorders[0].closed for device in devices)
    with pytest.raises(RuntimeError, match="gives its items once"):
        stream.source.items(BOTH)


def test_closing_in_the_middle_of_it_leaves_nothing(world):
    microphone = FakeMicrophone(world)
    with open_live(MICROPHONE, None, start=world.start, pause=world.pause, clock=world, find=lambda _: None) as source:
        next(source.items(Wants(AUDIO, None)))
    assert microphone.recorders[0].closed


def test_a_mono_microphone_is_refused_at_the_start_where_the_bundle_does(world):
    FakeMicrophone(world)
    with pytest.raises(DecodeError, match="the sound is mono"):
        Stream(world, camera=None, wants=Wants(AudioWants(24000, 2, refuse_mono=True), None)).until(5002)


def test_one_that_is_refused_at_the_start_is_lost_where_devices_are_waited_for(world):
    microphone, _ = FakeMicrophone(world), FakeCamera(world)
    wants = Wants(AudioWants(24000, 2, refuse_mono=True), VIDEO)
    stream = Stream(world, wants=wants, wait=True).until(5010)
    assert stream.kinds() == ["device_lost"]
    assert stream.events[0][2].message.startswith("microphone lost: the sound is mono")
    assert stream.lost_seconds == pytest.approx(stream.end)
    assert stream.frames[-1].time == pytest.approx(stream.end, abs=0.5)
    microphone.n_channels = 2
    stream.until(5015)
    assert stream.kinds() == ["device_lost", "device_changed", "device_back"]


def test_overflows_before_the_start_are_reported_together_too(world):
    microphone, camera = FakeMicrophone(world), FakeCamera(world)
    camera.opening_seconds = 2.0
    for moment in (5000.8, 5001.2, 5001.6):
        world.at(moment, lambda: setattr(microphone, "n_dropped", 2))
    stream = Stream(world).until(5005)
    assert stream.kinds() == ["overflow"]
    assert stream.events[0][2].message == "the machine was too slow for the sound (40 ms)"


def test_one_source_gives_both_and_its_offset(world):
    said = []

    class Both:
        running, log = True, ()

        def __init__(self, request, deliver):
            said.append(request)
            self.deliver = deliver
            deliver(Opened("stream", 48000, 2, 2, 640, 480))
            self.tick(world.now)

        def tick(self, begun):
            if self.running:
                self.deliver(Sound(world.now - 0.02, np.zeros((2, 960), np.float32), 48000))
                self.deliver(Seen(world.now - 0.05, 1))
                world.at(world.now + 0.02, lambda: self.tick(begun))

        def ask(self, moment):
            """Nothing to show."""

        def kill(self):
            self.running = False

        def close(self, timeout_seconds=0.5):
            self.kill()

    with open_live(
        None,
        None,
        source=MediaRequest("rtsp://user:secret@camera/"),
        start=Both,
        pause=world.pause,
        clock=world,
        find=lambda _: None,
    ) as source:
        items = source.items(BOTH)
        while world.now < 5005:
            next(items)
        health = source.health()
    assert source.info.name == "rtsp://***@camera/"
    assert (said[0].sound, said[0].picture.width) == (True, 4)
    assert health.offset_seconds == pytest.approx(0.03, abs=1e-6)
    assert [device.device for device in health.devices] == ["source"]
    assert health.devices[0].frame_rate == pytest.approx(50, abs=1)


def test_names_and_what_cannot_be_asked_for():
    source = open_live(MicrophoneRequest(None), MediaRequest("/dev/video0"))
    assert source.info.name == "default microphone + /dev/video0"
    assert source.info.live
    assert source.health().devices == ()
    source.close()
    with pytest.raises(UsageError, match="expected a microphone, a camera, or a source of both, got none"):
        open_live(None, None)
    with pytest.raises(UsageError, match="leave out microphone and camera"):
        open_live(MICROPHONE, None, source=CAMERA)
    with pytest.raises(UsageError, match=r"camera delay: expected -2 to 0\.4 s, got 1"):
        open_live(MICROPHONE, None, camera_delay_seconds=1.0)
    with pytest.raises(DecodeError, match="nothing that the bundle perceives"):
        next(open_live(None, CAMERA).items(Wants(AUDIO, None)))


def test_a_child_that_fails_while_it_runs_is_told_in_its_own_words(world):
    microphone = FakeMicrophone(world)
    stream = Stream(world, camera=None, wants=Wants(AUDIO, None)).until(5005)
    microphone.recorders[0].say(Failed("card: the server has gone"))
    stream.until(5006)
    assert stream.events[0][2].message == "microphone lost: card: the server has gone"
