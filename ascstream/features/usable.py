"""Detects unusable input: digital silence, a covered lens."""

from __future__ import annotations

import numpy as np

from ascstream.records import Image, Samples

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue: ITU-R BT.601."""
_COVERED_CONTRAST = 4.0
"""Standard deviation of luma below which there is no contrast. Sensor noise and coding give a black picture 1 to 3; a
single white lamp that fills a thousandth of a night picture gives 8."""


def is_silent(samples: Samples, silence_dbfs: float) -> bool:
    """Whether the RMS level of `samples` is below `silence_dbfs`.

    Args:
        samples: [n_channels, n_samples]; measured over all channels: one dead microphone of two is not silence.
        silence_dbfs: Threshold in dBFS, where a full-scale square wave is 0.
    """
    flat = samples.reshape(-1)
    if flat.size == 0:
        return True
    return float(np.dot(flat, flat)) / flat.size < 10 ** (silence_dbfs / 10)


def is_dark(image: Image, dark_luma: float) -> bool:
    """Whether a picture shows a covered lens: mean luma (0…255) below `dark_luma` and hardly any contrast.

    Args:
        image: [height, width, 3] uint8, RGB.
        dark_luma: Threshold from the manifest. A street at night may be as dark on average, but its lamps add contrast.
    """
    luma = image.reshape(-1, 3) @ _LUMA
    return float(luma.mean()) < dark_luma and float(luma.std()) < _COVERED_CONTRAST
