"""Keeps one device recording: notices when it falls silent, ends it, and reopens it, for ever.

Pure logic on times passed in: `step` is called at least ten times a second and never waits.
"""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ascstream.capture.messages import Failed, Message, Note, Opened, Seen, Sound
from ascstream.live.health import Device, State
from ascstream.live.supervised import RecorderLike, WatchLike

Kind: TypeAlias = Literal["sound", "picture"]
"""The kinds of data a device delivers."""

OPENING_SECONDS = 5.0
"""Deadline from the start of an attempt to the first sound or picture."""
STALL_SECONDS = 1.8
"""A device silent for this long is lost; this way it is noticed within 2 s, whatever the step interval."""
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
BLIND_RETRY_SECONDS = 2.0
"""Longest time between attempts if only an attempt can tell whether the device delivers again."""
_SETTLED_SECONDS = 10.0
"""A device that ran for this long before it was lost is retried without backoff."""
_CHANGE_SECONDS = 10.0
"""Least time between reports that the device's format changed: some cameras never settle."""
_AWAY_SECONDS = 1.0
"""After a step this late, the silence before it says nothing about the device."""
_JOIN_SECONDS = 0.3
"""Time the presence check gets to end; then its thread, perhaps blocked in a name lookup, is left behind."""
_MOST_GRAVES = 3
"""Ended processes that a driver may keep alive; beyond this many, no new one is started."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something a user should know about a device."""

    kind: str
    """"device_lost", "device_back", "device_changed", or the kind of a recording process's note."""
    message: str
    """A sentence for the user."""
    seconds: float = 0.0
    """How much time it concerns."""


class Supervisor:
    """Supervises one device: opening → running → waiting → opening, and so on."""

    def __init__(
        self,
        device: Device,
        name: str,
        kinds: Collection[Kind],
        start: Callable[[Callable[[Message], None]], RecorderLike],
        post: Callable[[int, Message], None],
        *,
        watch: WatchLike | None = None,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        """Prepare the supervision; `open` begins it.

        Args:
            device: The device's role.
            name: Name for display.
            kinds: The kinds of data wanted from it.
            start: Starts a recorder, which passes its messages to the given function.
            post: Receives the messages, with the number of the attempt they belong to; called from any thread.
            watch: Notices that the device is back; None: only the attempts themselves do, at most 2 s apart.
            random: Random numbers from 0 to 1, for the jitter.
        """
        self.device: Device = device
        self.name = name
        self.state: State = "opening"
        self.since = 0.0
        """Moment at which it entered this state."""
        self.lost_since: float | None = None
        """Moment of the last sound or picture; None while it runs."""
        self.problem: str | None = None
        self.missing = False
        """Whether the last attempt found no such device."""
        self.n_losses = 0
        self.opened: Opened | None = None
        """What the device last reported about itself."""
        self.attempt = 0
        """Number of the newest attempt; messages from others are outdated."""
        self._kinds = frozenset(kinds)
        self._start = start
        self._post = post
        self._watch = watch
        self._random = random
        self._recorder: RecorderLike | None = None
        self._graves: list[RecorderLike] = []
        self._heard: dict[Kind, tuple[float, float]] = {}
        """Newest timestamp of each kind in this attempt, and the moment at which it arrived."""
        self._first: dict[Kind, float] = {}
        """First timestamp of each kind in this attempt."""
        self._last_heard: float | None = None
        self._stepped = 0.0
        self._n_failures = 0
        self._retry_seconds = 0.0
        self._told_lost = False
        self._ran = False
        """Whether it ran until it was reopened, and has not delivered since."""
        self._told_change = -_CHANGE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether everything expected of it has arrived at least once."""
        return self.state == "running" and self._expected() <= set(self._heard)

    @property
    def first_stamp(self) -> float | None:
        """Timestamp from which on it delivered everything it has, in this attempt; None before the first."""
        return max(self._first.values(), default=None)

    def open(self, now: float) -> None:
        """Start an attempt."""
        self.attempt += 1
        attempt = self.attempt
        self._heard.clear()
        self._first.clear()
        self._enter("opening", now)
        self._stepped = now
        if self.lost_since is None:
            self.lost_since = now
        if self._watch is not None:
            self._watch.stop()
        self._recorder = self._start(lambda message: self._post(attempt, message))

    def step(self, now: float) -> list[Happened]:
        """Do what is due; return what happened."""
        self._excuse(now)
        self._bury()
        if self.state == "waiting":
            if self._watch is not None and self._watch.changed():
                self._n_failures = 0
                self._retry_seconds = 0.0
            longest = BLIND_RETRY_SECONDS if self._watch is None else self._watch.longest_seconds
            if now >= self.since + min(self._retry_seconds, longest) and len(self._graves) <= _MOST_GRAVES:
                self.open(now)
            return []
        if self.state == "opening":
            if now - self.since > OPENING_SECONDS:
                return self.fail(f"{self.name} gave nothing within {OPENING_SECONDS:g} s{self._hint()}", now)
            return []
        for kind, (_, moment) in self._heard.items():
            if now - moment > STALL_SECONDS:
                return self.fail(f"{self.name} has given no {kind} for {now - moment:.1f} s", now)
        return []

    def take(self, attempt: int, message: Message, now: float) -> list[Happened]:
        """Process a message of the recording process, except sound and pictures: those that count go to `heard`."""
        if not self.is_current(attempt):
            return []
        if isinstance(message, Opened):
            before, self.opened = self.opened, message
            changed = None if before is None else _difference(before, message)
            if changed is None or now - self._told_change < _CHANGE_SECONDS:
                return []
            self._told_change = now
            return [Happened("device_changed", f"{self.device} changed: {changed}")]
        if isinstance(message, Failed):
            self.missing = message.missing
            return self.fail(message.message, now)
        if isinstance(message, Note):
            return [Happened(message.kind, message.message)]
        return []

    def is_current(self, attempt: int) -> bool:
        """Whether a message belongs to the running attempt."""
        return attempt == self.attempt and self._recorder is not None

    def heard(self, message: Sound | Seen, now: float) -> list[Happened]:
        """Note that sound or pictures arrived in time; a timestamp that does not advance counts as silence."""
        kind: Kind = "sound" if isinstance(message, Sound) else "picture"
        if kind in self._heard and message.stamp <= self._heard[kind][0]:
            return []
        returns = self._told_lost and kind == "picture" and kind not in self._heard
        self._heard[kind] = (message.stamp, now)
        self._first.setdefault(kind, message.stamp)
        if returns and isinstance(message, Seen) and message.n_frames < 2:
            return []  # many a server has one old picture ready, and nothing after it
        self._last_heard = now
        if self.state == "running":
            return []
        lost_since, self.lost_since = self.lost_since, None
        self._ran = False
        self._enter("running", now)
        self.problem = None
        self.missing = False
        if self._watch is not None:
            self._watch.forget()
        if not self._told_lost:
            return []
        self._told_lost = False
        away = now - (now if lost_since is None else lost_since)
        return [Happened("device_back", f"{self.device} back after {away:.1f} s: {self.name}", away)]

    def fail(self, problem: str, now: float) -> list[Happened]:
        """Treat the device as lost: end its recorder, and try again later."""
        runs = self.state == "running"
        lost, self._ran = runs or self._ran, False
        if lost:
            self.n_losses += 1
            self.lost_since = self._last_heard
        if runs and now - self.since >= _SETTLED_SECONDS:
            self._n_failures = 0
        self._end_recorder()
        self.problem = problem
        backoff = min(FIRST_RETRY_SECONDS * 2 ** min(self._n_failures, 16), LONGEST_RETRY_SECONDS)
        self._retry_seconds = backoff * (0.75 + 0.25 * self._random())
        self._n_failures += 1
        self._enter("waiting", now)
        if self._watch is not None:
            self._watch.start()
        return self.tell_lost() if lost else []

    def tell_lost(self) -> list[Happened]:
        """Report that the device does not deliver, unless that was already reported."""
        if self._told_lost:
            return []
        self._told_lost = True
        return [Happened("device_lost", f"{self.device} lost: {self.problem or f'{self.name} does not answer yet'}")]

    def ask(self, moment: float) -> bool:
        """Ask for the newest picture at a moment; False if nobody would answer."""
        if self.state != "running" or self._recorder is None:
            return False
        self._recorder.ask(moment)
        return True

    def reopen(self, now: float) -> None:
        """Close the device and reopen it at once."""
        self._end_recorder()
        self._n_failures = 0
        if self.state == "running":
            self.lost_since = self._last_heard
            self._ran = True
        self.open(now)

    def kill(self) -> None:
        """End everything; never waits."""
        self._end_recorder()
        if self._watch is not None:
            self._watch.stop()

    def close(self) -> None:
        """Release everything; nothing of the device is left."""
        self.kill()
        while self._graves:
            self._graves.pop().close()
        if self._watch is not None:
            self._watch.join(_JOIN_SECONDS)

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self.since = now

    def _end_recorder(self) -> None:
        if self._recorder is not None:
            self._recorder.kill()
            self._graves.append(self._recorder)
            self._recorder = None

    def _bury(self) -> None:
        """Close recorders that have ended; one that a driver keeps alive is left for later."""
        if self._graves:
            ended = [recorder for recorder in self._graves if not recorder.running]
            self._graves = [recorder for recorder in self._graves if recorder not in ended]
            for recorder in ended:
                recorder.close()

    def _excuse(self, now: float) -> None:
        """Discount a time without steps (a stopped process): what the device did meanwhile is unknown."""
        away = now - self._stepped
        self._stepped = now
        if away > _AWAY_SECONDS:
            self._heard = {kind: (stamp, moment + away) for kind, (stamp, moment) in self._heard.items()}
            if self.state == "opening":
                self.since += away

    def _expected(self) -> set[Kind]:
        """The kinds that are wanted and that the device has."""
        opened = self.opened
        if opened is None:
            return set(self._kinds)
        lacking: dict[Kind, bool] = {"sound": opened.sample_rate is None, "picture": opened.width is None}
        return {kind for kind in self._kinds if not lacking[kind]} or set(self._kinds)

    def _hint(self) -> str:
        """The last line its process logged."""
        lines = self._recorder.log if self._recorder is not None else ()
        return f" (it said: {lines[-1]})" if lines else ""


def _difference(before: Opened, now: Opened) -> str | None:
    """How the format differs from before; None if it does not."""
    if (before.sample_rate, before.n_channels) != (now.sample_rate, now.n_channels):
        return f"{_sound(before)} before, {_sound(now)} now"
    if (before.width, before.height) != (now.width, now.height):
        return f"{before.width}×{before.height} pixels before, {now.width}×{now.height} now"
    return None


def _sound(opened: Opened) -> str:
    return "no sound" if opened.sample_rate is None else f"{opened.n_channels} × {opened.sample_rate} Hz"
