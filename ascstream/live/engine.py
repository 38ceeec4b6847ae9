"""A thread that scores one window at a time, so that a hanging call costs the stream nothing but its answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ascstream.classifier import Classifier
from ascstream.live import ENGINE_THREAD
from ascstream.records import Window, WindowScores


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one inference call."""

    window: Window
    """The window that was scored."""
    scores: WindowScores | None
    """The networks' scores; None if the call failed."""
    error: Exception | None = None
    """The exception, if the call failed."""


class EngineThread:
    """Scores windows in a daemon thread; call `start`, then `take` until there is an answer.

    A call that hangs can be abandoned but not ended: `stop` then leaves the thread behind, and the process can still
    exit.
    """

    def __init__(self, classifier: Classifier, changed: threading.Condition) -> None:
        """Start the thread.

        Args:
            classifier: Scores the windows; must not be used elsewhere meanwhile.
            changed: Notified when there is an answer; guards the shared state.
        """
        self._classifier = classifier
        self._changed = changed
        self._asked: Window | None = None
        self._answer: Answer | None = None
        self._busy = False
        self._stopped = False
        self._work = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._run, name=ENGINE_THREAD, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a window was started and its answer not taken yet."""
        return self._busy

    @property
    def answered(self) -> bool:
        """Whether there is an answer to take."""
        return self._answer is not None

    def start(self, window: Window) -> None:
        """Start scoring a window. Raises RuntimeError while another one is being scored."""
        if self._busy:
            raise RuntimeError("start while a window is being scored")
        self._busy = True
        with self._work:
            self._asked = window
            self._work.notify()

    def take(self) -> Answer | None:
        """Take the answer, once; None until there is one."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._busy = False
        return answer

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread; return whether it ended in time, rather than being left behind in a hanging call."""
        with self._work:
            self._stopped = True
            self._work.notify()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._stopped or self._asked is not None)
                window, self._asked = self._asked, None
                if self._stopped or window is None:
                    return
            answer = self._ask(window)
            with self._changed:
                self._answer = answer
                self._changed.notify_all()
            del window, answer

    def _ask(self, window: Window) -> Answer:
        try:
            return Answer(window, self._classifier.score(window))
        except Exception as error:  # noqa: BLE001 - the caller decides about whatever an engine raises
            self._classifier.reset()  # clears the state the failed call left behind
            return Answer(window, None, error)
