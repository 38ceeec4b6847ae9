"""Render the terminal view of `ascstream file examples/clip.mp4` as docs/images/view.svg, from the real program."""

import io
import itertools
import os
import sys
from pathlib import Path

from rich.console import Console

from ascstream import Classifier, StreamStats, open_media, stream
from ascstream.sinks.view import ViewSink

ROOT = Path(__file__).parent.parent.parent
CLIP = "examples/clip.mp4"


def main() -> None:
    """Classify the clip up to a moment after its change of scene, and draw what a terminal would show then."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 16.0
    os.chdir(ROOT)  # the clip is named as a user would name it
    ticks = itertools.count(0.0, 10.0)  # time enough between two calls for everything to be drawn anew
    view = ViewSink(Console(file=io.StringIO()), clock=ticks.__next__)
    with Classifier.load() as classifier, open_media(CLIP) as source:
        stats = StreamStats(CLIP)
        view.begin(source.info, stats)
        predictions = stream(classifier, source, stats=stats, on_event=view.event)
        for prediction in itertools.takewhile(lambda one: one.end <= seconds, predictions):
            view.emit(prediction)
        picture = view.svg(width=96, height=28, title=f"ascstream file {CLIP}")
        view.close()
    Path(__file__).with_name("view.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
