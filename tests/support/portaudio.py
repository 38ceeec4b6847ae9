"""A PortAudio that delivers what a test says: for what no sound server does when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PortAudioError(Exception):
    """As sounddevice raises it: a text, PortAudio's number, what the host API says."""


@dataclass(frozen=True)
class Heard:
    """A call of the callback."""

    samples: NDArray[np.float32]
    """[n_samples, n_channels]."""
    adc: float
    """When PortAudio says the first sample was in the air, on its own clock."""
    now: float
    """What that clock says now."""
    overflow: bool = False
    """Whether PortAudio says that samples before it were lost."""


class ScriptedPortAudio:
    """One device, named "Card: mic (hw:1,0)", that ends after its blocks; stands in for the package sounddevice."""

    PortAudioError = PortAudioError

    def __init__(
        self,
        blocks: Sequence[Heard] = (),
        *,
        n_channels: int = 2,
        rates: Sequence[int] = (48_000,),
        announced_rate: float = 48_000.0,
        numbers: Sequence[int] | None = None,
        refusal: PortAudioError | None = None,
    ) -> None:
        """Say what the device does.

        Args:
            blocks: What it hears.
            n_channels: That it says it has.
            rates: That it can be opened at.
            announced_rate: The one it says is its own.
            numbers: Of channels that it can be opened with; None: any.
            refusal: Why it cannot be opened at all.
        """
        self.default = SimpleNamespace(device={"input": 0})
        self.tried: list[tuple[int, int]] = []
        self._blocks, self._rates, self._numbers, self._refusal = blocks, rates, numbers, refusal
        self._device = {
            "name": "Card: mic (hw:1,0)",
            "hostapi": 0,
            "max_input_channels": n_channels,
            "default_samplerate": announced_rate,
            "default_high_input_latency": 0.035,
        }

    def query_devices(self) -> list[dict[str, Any]]:
        return [self._device]

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA"}]

    def RawInputStream(self, *, samplerate: int, channels: int, **options: Any) -> ScriptedStream:  # noqa: N802
        self.tried.append((samplerate, channels))
        if self._refusal is not None:
            raise self._refusal
        if self._numbers is not None and channels not in self._numbers:
            raise PortAudioError("Error opening RawInputStream: Invalid number of channels", -9998)
        if samplerate not in self._rates:
            raise PortAudioError("Error opening RawInputStream: Invalid sample rate", -9997)
        return ScriptedStream(self._blocks, samplerate, channels, options["callback"], options["finished_callback"])


class ScriptedStream:
    """An open device: delivers all of it when it is started, and ends."""

    latency = 0.06

    def __init__(
        self,
        blocks: Sequence[Heard],
        samplerate: int,
        channels: int,
        callback: Callable[..., None],
        finished: Callable[[], None],
    ) -> None:
        self.samplerate, self.channels = float(samplerate), channels
        self._blocks, self._callback, self._finished = blocks, callback, finished

    def start(self) -> None:
        for block in self._blocks:
            times = SimpleNamespace(inputBufferAdcTime=block.adc, currentTime=block.now)
            status = SimpleNamespace(input_overflow=block.overflow)
            self._callback(np.ascontiguousarray(block.samples).data, len(block.samples), times, status)
        self._finished()
