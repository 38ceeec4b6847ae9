"""Where was I, and for how long? Predictions merged into intervals: python examples/02_timeline.py [CLIP]."""

import sys
from pathlib import Path

from ascstream import Classifier, StreamSettings, StreamStats, open_media, stream

clip = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4")
settings = StreamSettings(step_seconds=0.2)  # smoothing and thresholds come from the bundle

with Classifier.load() as classifier, open_media(clip) as source:
    stats = StreamStats(source.info.name)
    for _ in stream(classifier, source, settings, stats=stats):
        pass

summary = stats.summary()
for interval in summary.intervals:
    print(f"{interval.start:6.1f} to {interval.end:6.1f} s  {interval.label}")
print(f"{summary.n_windows} windows, {1 / summary.realtime_factor:.0f} times faster than real time")
