"""A process of its own that starts and stops live streams, and prints its threads, descriptors and memory.

python -m support.live_cycles BUNDLE WARM_UP CYCLES
"""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from itertools import islice
from pathlib import Path

from support.live_streams import FastClock, SyntheticLive

from ascstream.classifier import Classifier
from ascstream.live.loop import stream_live
from ascstream.pipeline import StreamSettings
from ascstream.sources.synthetic import Segment
from ascstream.stats import StreamStats


def once(classifier: Classifier) -> None:
    """Start a stream, take three predictions, stop it."""
    clock = FastClock(20)
    settings = StreamSettings(step_seconds=0.5)
    with SyntheticLive([Segment(1e6)], clock) as source:
        live = stream_live(
            classifier, source, settings, stats=StreamStats("s"), clock=clock, deadline_seconds=60, give_up_seconds=120
        )
        with closing(live):
            list(islice(live, 3))


def state() -> str:
    """Threads, descriptors, bytes of memory."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return f"{threading.active_count()} {len(list(Path('/proc/self/fd').iterdir()))} {n_pages * 4096}"


def main(bundle: str, warm_up: str, cycles: str) -> None:
    """Print the state after the first cycles, and after all."""
    with Classifier.load(bundle) as classifier:
        for n_cycles in (int(warm_up), int(cycles)):
            for _ in range(n_cycles):
                once(classifier)
            print(state())


if __name__ == "__main__":
    main(*sys.argv[1:])
