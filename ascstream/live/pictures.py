"""Pictures for the moments at which windows look: asked for when a moment comes, and not waited for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ascstream.capture.messages import Picture
from ascstream.live.timeline import Timeline
from ascstream.records import VideoFrame, VideoProgress
from ascstream.sources.base import FrameSchedule

ANSWER_SECONDS = 0.05
"""A picture that takes longer is not waited for; it still serves later windows."""
_BACKLOG_SECONDS = 1.0
"""Moments that were missed by more (the process was stopped) are not asked for."""
_AFTER_SECONDS = 2e-6
"""The answer for a moment is known to be the newest just after it: more than the windows' slack for rounding."""
_TICK_SECONDS = 0.05
"""How often windows hear that time passes where no sound tells them."""


@dataclass(frozen=True, slots=True)
class _Question:
    moment: float
    """What the camera was asked for."""
    slot: float
    """Stream second of it."""
    deadline: float
    """Moment at which it is given up."""


class LivePictures:
    """Asks one camera, and gives frames in the order of their times."""

    def __init__(self, schedule: FrameSchedule, timeline: Timeline, delay_seconds: float, *, paces: bool) -> None:
        """Begin at stream second 0.

        Args:
            schedule: The moments at which windows look.
            timeline: Moment ↔ stream second.
            delay_seconds: How much later the camera shows something than the microphone hears it.
            paces: Whether there is no sound, and windows hear of time from the picture alone.
        """
        self._schedule = schedule
        self._timeline = timeline
        self._delay = delay_seconds
        self._paces = paces
        self._slot = schedule.next_slot(0.0)
        self._questions: deque[_Question] = deque()
        self._newest = float("-inf")
        self._told = 0.0
        self._n_frames = 0

    def step(self, now: float, ask: Callable[[float], bool]) -> Iterator[VideoProgress]:
        """Ask for what is due, and give up what was not answered.

        Args:
            now: The moment.
            ask: Asks the camera for a moment; False where it would not answer.
        """
        if self._moment_of(self._slot) < now - _BACKLOG_SECONDS:
            self._slot = self._schedule.next_slot(self._seconds_at(now - _BACKLOG_SECONDS / 2))
            self._questions.clear()
            yield from self._settle(self._seconds_at(now - _BACKLOG_SECONDS / 2))
        while (moment := self._moment_of(self._slot)) <= now:
            if ask(moment):
                self._questions.append(_Question(moment, self._slot, now + ANSWER_SECONDS))
            else:
                self._questions.clear()
                yield from self._settle(self._slot)
            self._slot = self._schedule.next_slot(self._slot + _AFTER_SECONDS)
        while self._questions and self._questions[0].deadline <= now:
            yield from self._settle(self._questions.popleft().slot)
        if self._paces and not self._questions:
            known = min(self._seconds_at(now), self._slot - _AFTER_SECONDS)
            if known >= self._told + _TICK_SECONDS:
                yield from self._settle(known)

    def take(self, picture: Picture) -> Iterator[VideoFrame | VideoProgress]:
        """Take an answer: a frame, or that there is none newer."""
        slot: float | None = None
        while self._questions and self._questions[0].moment <= picture.moment + _AFTER_SECONDS:
            slot = self._questions.popleft().slot
        if picture.image is not None and picture.stamp is not None:
            time = max(self._seconds_at(picture.stamp), self._newest)
            if slot is not None:
                time = min(time, max(slot, self._newest))
            self._newest = time
            until = time if slot is None else max(time, slot + _AFTER_SECONDS)
            self._told = max(self._told, until)
            yield VideoFrame(time, picture.image, until, self._n_frames)
            self._n_frames += 1
        elif slot is not None:
            yield from self._settle(slot)

    def due_moment(self) -> float:
        """When `step` will have something to do."""
        due = self._moment_of(self._slot)
        if self._questions:
            due = min(due, self._questions[0].deadline)
        elif self._paces:
            due = min(due, self._timeline.to_moment(self._told + _TICK_SECONDS) + self._delay + 1e-3)
        return due

    def _settle(self, seconds: float) -> Iterator[VideoProgress]:
        self._told = max(self._told, seconds)
        yield VideoProgress(seconds + _AFTER_SECONDS)

    def _moment_of(self, slot: float) -> float:
        """When to ask for a slot: whole microseconds, as questions travel."""
        return round(self._timeline.to_moment(slot) + self._delay, 6)

    def _seconds_at(self, moment: float) -> float:
        return self._timeline.to_stream(moment - self._delay)
