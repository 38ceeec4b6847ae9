"""Feed your own samples (a robot's bus, a radio, an array): any object with `info`, `items` and `close` is a source."""

from collections.abc import Iterator

import numpy as np

from ascstream import AudioBlock, Classifier, stream
from ascstream.sources.base import SourceInfo, Wants


class NoiseSource:
    """Three seconds of white noise in blocks of 20 ms."""

    info = SourceInfo(name="noise", has_audio=True, has_video=False, duration_seconds=3.0)

    def items(self, wants: Wants) -> Iterator[AudioBlock]:
        """Yield gapless blocks at the sample rate the bundle asks for."""
        assert wants.audio is not None
        rate, n = wants.audio.sample_rate, wants.audio.sample_rate // 50
        rng = np.random.default_rng(0)
        for k in range(150):
            samples = 0.05 * rng.standard_normal((wants.audio.n_channels, n), dtype=np.float32)
            yield AudioBlock(start=k * n / rate, samples=samples, sample_rate=rate)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def __enter__(self) -> "NoiseSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


with Classifier.load() as classifier, NoiseSource() as source:
    for prediction in stream(classifier, source):
        print(f"{prediction.end:6.1f} s  {prediction.label}  {prediction.reason or ''}")
