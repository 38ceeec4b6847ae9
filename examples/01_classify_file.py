"""Print rolling predictions for a media file: python examples/01_classify_file.py [CLIP]."""

import sys
from pathlib import Path

from ascstream import Classifier, open_media, stream

clip = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4")

with Classifier.load() as classifier, open_media(clip) as source:
    for prediction in stream(classifier, source):
        print(f"{prediction.end:6.1f} s  {prediction.label}  {prediction.score:.0%}")
