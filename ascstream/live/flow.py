"""The main loop of a live stream: turns messages from devices into blocks and pictures, always in real time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ascstream.capture.messages import Picture, Seen, Sound
from ascstream.errors import DecodeError, SourceError, SourceNotFoundError
from ascstream.live.clock import Clock
from ascstream.live.health import Health
from ascstream.live.inbox import MOST_SOUND_SECONDS, Inbox, Letter
from ascstream.live.measures import Measures
from ascstream.live.pictures import LivePictures
from ascstream.live.sound import LATE_SECONDS, LiveSound
from ascstream.live.supervisor import OPENING_SECONDS, Happened, Supervisor
from ascstream.live.timeline import Timeline
from ascstream.records import EndOfVideo, StreamEvent, StreamItem
from ascstream.sources.base import Wants

STEP_SECONDS = 0.1
"""Longest time between two checks of the devices."""
SUSPENDED_SECONDS = 5.0
"""A process that did not run for longer than this was suspended, not slow."""
_ABSENT_SECONDS = 0.1
"""How far lost blocks lag behind real time while no sound can come: as late as a device's first sound arrives."""
_LATEST_START_SECONDS = 0.3
"""The stream begins at most this long before the moment at which all devices deliver."""
_HELD_SECONDS = 0.0015
"""How much a resampler holds back: 16 samples of the lower rate, here 16 kHz, plus rounding."""
_LONGEST_CHUNK_SECONDS = 0.1
"""Longest delay of the stream's start for the sake of alignment: longer chunks are not aligned to."""
_FOLD_SECONDS = 10.0
"""Events of one kind that recur within this time are reported together."""
_FOLDED = frozenset({"overflow", "gap"})


@dataclass(slots=True)
class Member:
    """One device of the stream."""

    supervisor: Supervisor
    """Keeps the device recording."""
    hears: bool
    """Whether sound is wanted from it."""
    sees: bool
    """Whether pictures are wanted from it."""
    measures: Measures = field(default_factory=Measures)
    """Measurements of it."""
    form: tuple[str, int | None] | None = None
    """Name and sample rate of the sound device last heard; if the same one returns, the same drift is expected."""

    def notice_form(self) -> bool:
        """Remember which sound device is heard now; return whether it is the same as before."""
        opened, before = self.supervisor.opened, self.form
        self.form = None if opened is None else (opened.name, opened.sample_rate)
        return self.form == before


class Flow:
    """One stream, from the start of its devices to its end, in one thread."""

    def __init__(
        self,
        members: Sequence[Member],
        wants: Wants,
        inbox: Inbox,
        clock: Clock,
        pause: Callable[[float], None],
        *,
        camera_delay_seconds: float,
        wait: bool,
    ) -> None:
        """Combine devices into a stream; `run` starts it."""
        self._members = {member.supervisor.device: member for member in members}
        self._ear = next((member for member in members if member.hears), None)
        self._eye = next((member for member in members if member.sees), None)
        self._wants = wants
        self._inbox = inbox
        self._clock = clock
        self._pause = pause
        self._camera_delay = camera_delay_seconds
        self._wait = wait
        self._begun = 0.0
        self._early: deque[tuple[int, Sound, float]] = deque()
        self._sound: LiveSound | None = None
        self._pictures: LivePictures | None = None
        self._folded: dict[str, tuple[float, float]] = {}
        self._previous = 0.0
        self._published = float("-inf")
        self.timeline: Timeline | None = None
        """None until the stream has begun."""
        self.health = Health(())
        """The devices' health at the last step; immutable."""

    def run(self) -> Iterator[StreamItem]:
        """Yield the stream's items until the inbox asks to stop.

        Raises:
            DecodeError: The first sound is not what the bundle accepts, and `wait` is off.
            SourceError: A device did not deliver within 5 s of the start, and `wait` is off.
        """
        self._begun = self._previous = self._clock.monotonic()
        for member in self._members.values():
            member.supervisor.open(self._begun)
        while not self._inbox.stopping:
            now = self._clock.monotonic()
            yield from self._notice_suspension(now)
            for letter in self._inbox.take():
                yield from self._receive(letter, now)
            yield from self._look_after(now)
            if self.timeline is None:
                yield from self._try_to_begin(now)
            yield from self._advance(now)
            self._publish(now)
            if not self._inbox.stopping:
                self._pause(self._due_moment(now) - self._clock.monotonic())

    def _seconds(self) -> float:
        """How far the stream has come, in stream seconds."""
        if self._sound is not None:
            return self._sound.seconds
        return 0.0 if self.timeline is None else max(0.0, self.timeline.to_stream(self._previous))

    def _tell(self, happened: Happened) -> StreamEvent:
        return StreamEvent(self._seconds(), happened.kind, happened.message, happened.seconds)

    def _notice_suspension(self, now: float) -> Iterator[StreamItem]:
        away, self._previous = now - self._previous, now
        if away > SUSPENDED_SECONDS and self.timeline is not None:
            yield self._tell(Happened("suspended", f"the program did not run for {away:.1f} s", away))

    def _receive(self, letter: Letter, now: float) -> Iterator[StreamItem]:
        """Process one letter."""
        member = self._members[letter.device]
        supervisor, message = member.supervisor, letter.message
        if not supervisor.is_current(letter.attempt):
            return
        if isinstance(message, Sound):
            if not member.hears:
                return
            member.measures.hear(message, now)
            if self._sound is None:
                self._keep_early(letter.attempt, message, now)
                yield from map(self._tell, supervisor.heard(message, now))
            else:
                yield from self._hear(member, self._sound, message, now)
        elif isinstance(message, Seen):
            member.measures.see(message, now)
            yield from map(self._tell, supervisor.heard(message, now))
        elif isinstance(message, Picture):
            if self._pictures is not None:
                yield from self._pictures.take(message)
        else:
            yield from map(self._tell, supervisor.take(letter.attempt, message, now))
            yield from self._after_loss(member)

    def _hear(
        self, member: Member, sound: LiveSound, message: Sound, now: float, *, begins: bool = False
    ) -> Iterator[StreamItem]:
        """Process sound: only sound that arrives in time shows that the microphone works.

        Raises:
            DecodeError: The stream `begins` with sound that the bundle refuses, and `wait` is off.
        """
        supervisor = member.supervisor
        if supervisor.state == "opening":
            sound.timeline.restart(same_clock=member.notice_form())
        try:
            for item in sound.add(message, now):
                if isinstance(item, StreamEvent) and item.kind in _FOLDED:
                    yield from self._fold(item, now)
                else:
                    yield item
        except DecodeError as error:
            if begins and not self._wait:
                raise
            yield from map(self._tell, supervisor.fail(str(error), now))
            yield from self._after_loss(member)
            return
        if sound.in_time():
            yield from map(self._tell, supervisor.heard(message, now))

    def _fold(self, event: StreamEvent, now: float) -> Iterator[StreamEvent]:
        """Report a frequent event at once, then at most every ten seconds with its durations summed."""
        told, seconds = self._folded.get(event.kind, (float("-inf"), 0.0))
        seconds += event.seconds
        if now - told < _FOLD_SECONDS:
            self._folded[event.kind] = (told, seconds)
            return
        self._folded[event.kind] = (now, 0.0)
        yield StreamEvent(event.time, event.kind, f"{event.message} ({seconds * 1e3:.0f} ms)", seconds)

    def _look_after(self, now: float) -> Iterator[StreamItem]:
        reopening, self._inbox.reopening = self._inbox.reopening, False
        for member in self._members.values():
            if reopening:
                member.supervisor.reopen(now)
            yield from map(self._tell, member.supervisor.step(now))
            yield from self._after_loss(member)

    def _after_loss(self, member: Member) -> Iterator[StreamItem]:
        """If the device does not deliver, complete the sound that came before the loss."""
        if member.supervisor.state == "running":
            return
        member.measures.clear()
        if member.hears and self._sound is not None:
            yield from self._sound.end_stretch()

    def _keep_early(self, attempt: int, sound: Sound, now: float) -> None:
        """Keep sound that arrives before the stream begins, except what is too old to become part of it."""
        self._early.append((attempt, sound, now))
        while self._early[0][2] < now - MOST_SOUND_SECONDS:
            self._early.popleft()

    def _try_to_begin(self, now: float) -> Iterator[StreamItem]:
        """Begin the stream once all devices have delivered, or five seconds after the start without the others.

        Stream second 0 is about the moment from which all devices deliver.
        """
        supervisors = [member.supervisor for member in self._members.values()]
        if not all(supervisor.ready for supervisor in supervisors):
            if now - self._begun <= OPENING_SECONDS:
                for supervisor in supervisors:
                    if supervisor.missing and not self._wait:
                        raise _explain(supervisor)
                return
            for supervisor in supervisors:
                if supervisor.state != "running" and not self._wait:
                    raise _explain(supervisor)
        stamps = [stamp for supervisor in supervisors if (stamp := supervisor.first_stamp) is not None]
        begin = max([*stamps, now - _LATEST_START_SECONDS]) if len(stamps) == len(supervisors) else now
        self.timeline = Timeline(self._align(min(begin, now)))
        if self._wants.audio is not None:
            self._sound = LiveSound(self._wants.audio, self.timeline)
        if self._wants.video is not None and self._eye is None:
            yield EndOfVideo(0.0)
        elif self._wants.video is not None:
            paces = self._wants.audio is None
            self._pictures = LivePictures(self._wants.video.schedule, self.timeline, self._camera_delay, paces=paces)
        for member in self._members.values():
            if member.supervisor.state == "running":
                member.notice_form()
            else:
                yield from map(self._tell, member.supervisor.tell_lost())
        early, self._early = self._early, deque()
        for attempt, sound, came in early:
            if self._sound is not None and self._ear is not None and self._ear.supervisor.is_current(attempt):
                yield from self._hear(self._ear, self._sound, sound, came, begins=True)

    def _align(self, begin: float) -> float:
        """Move the start slightly later, so that sound chunks end just after windows do, and rarely just before.

        A window whose last samples are still in the resampler has to wait for another whole chunk. Since steps are
        usually a multiple of the chunk length, or nearly so, what holds at second 0 then holds for many windows.
        """
        chunk = self._early[-1][1] if self._early else None
        length = 0.0 if chunk is None else chunk.samples.shape[1] / chunk.sample_rate
        if chunk is None or not 0 < length <= _LONGEST_CHUNK_SECONDS:
            return begin
        edge = chunk.stamp + length - _HELD_SECONDS
        return edge + length * math.ceil((begin - edge) / length)

    def _advance(self, now: float) -> Iterator[StreamItem]:
        """Do what is due by now: ask for pictures, and emit lost blocks for sound that did not arrive."""
        if self._pictures is not None and self._eye is not None:
            yield from self._pictures.step(now, self._eye.supervisor.ask)
        if self._sound is not None:
            yield from self._sound.keep_pace(now, self._lateness())

    def _lateness(self) -> float:
        """How far lost blocks lag behind real time, in seconds."""
        if self._ear is None:
            return 0.0
        return LATE_SECONDS if self._ear.supervisor.state == "running" else _ABSENT_SECONDS

    def _due_moment(self, now: float) -> float:
        due = now + STEP_SECONDS
        if self._pictures is not None:
            due = min(due, self._pictures.due_moment())
        if self._sound is not None:
            due = min(due, self._sound.pace_moment(self._lateness()))
        return due

    def _publish(self, now: float) -> None:
        """Publish the devices' health for other threads."""
        if now - self._published < STEP_SECONDS:
            return
        self._published = now
        drift = None if self.timeline is None else self.timeline.drift_ppm
        devices = tuple(
            member.measures.health(member.supervisor, drift if member.hears else None)
            for member in self._members.values()
        )
        both = self._ear is not None and self._ear is self._eye
        offset = self._ear.measures.offset_seconds if both and self._ear is not None else None
        self.health = Health(devices, offset_seconds=offset)


def _explain(supervisor: Supervisor) -> SourceError:
    """The error that says why the stream cannot begin."""
    problem = supervisor.problem or f"{supervisor.name} gave nothing within {OPENING_SECONDS:g} s"
    return SourceNotFoundError(problem) if supervisor.missing else SourceError(problem)
