"""Pictures for the moments at which windows need one: requested when the moment comes, and not waited for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ascstream.capture.messages import Picture
from ascstream.live.timeline import Timeline
from ascstream.records import VideoFrame, VideoProgress
from ascstream.sources.base import FrameSchedule

ANSWER_SECONDS = 0.05
"""Longest wait for a picture; one that arrives later still serves later windows."""
_BACKLOG_SECONDS = 1.0
"""Moments missed by more than this (because the process was stopped) are skipped."""
_AFTER_SECONDS = 2e-6
"""An answer for a moment counts as the newest picture until this long after it: more than windows' rounding slack."""
_TICK_SECONDS = 0.05
"""Interval at which windows are told how far time has come if there is no sound to tell them."""


@dataclass(frozen=True, slots=True)
class _Question:
    moment: float
    """The moment requested from the camera."""
    slot: float
    """The same in stream seconds."""
    deadline: float
    """Moment at which the request is given up."""


class LivePictures:
    """Requests pictures from one camera and yields frames in the order of their times."""

    def __init__(self, schedule: FrameSchedule, timeline: Timeline, delay_seconds: float, *, paces: bool) -> None:
        """Begin at stream second 0.

        Args:
            schedule: The times at which windows need a frame.
            timeline: Converts between moments and stream seconds.
            delay_seconds: How much later the camera shows something than the microphone hears it.
            paces: Whether there is no sound, so that windows learn of the passing of time from pictures alone.
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
        """Request the pictures that are due, and give up requests that were not answered in time.

        Args:
            now: The current moment.
            ask: Asks the camera for the picture at a moment; False if it would not answer.
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
        """Process an answer: a frame, or the news that there is no newer one."""
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
        """Moment at which `step` has something to do next."""
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
        """Moment at which to ask for a slot, in whole microseconds, the precision in which requests are sent."""
        return round(self._timeline.to_moment(slot) + self._delay, 6)

    def _seconds_at(self, moment: float) -> float:
        return self._timeline.to_stream(moment - self._delay)
