"""`ascstream devices`: what it prints of a real PulseAudio, with and without --probe."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.commands import ascstream
from support.pulse import PulseServer, needs_pulse

TONE = np.sin(np.arange(48_000) * (2 * np.pi * 440 / 48_000)).astype(np.float32) * np.float32(0.5)


def variables(server: PulseServer) -> dict[str, str]:
    return {name: value for name, value in server.environment().items() if name.startswith(("PULSE_", "XDG_"))}


@needs_pulse
@pytest.mark.slow
def test_probing_says_what_a_microphone_delivers() -> None:
    with PulseServer() as server:
        server.play(TONE, loop=True)
        done = ascstream("devices", "--probe", "--json", env=variables(server))
        assert done.returncode == 0
        assert "ALSA lib" not in done.stderr
        report = json.loads(done.stdout)
    mics = {mic["name"]: mic["probe"] for mic in report["microphones"]}
    assert "pulse" in mics
    assert mics["pulse"]["delivers"] is True
    assert mics["pulse"]["problem"] is None
    assert mics["pulse"]["n_channels"] == 2
    assert mics["pulse"]["level_dbfs"] == pytest.approx(-9.0, abs=6.0)  # 0.5 / √2
    assert mics["pulse"]["silent"] is False
    assert 0 < mics["pulse"]["first_seconds"] < 7


@needs_pulse
@pytest.mark.slow
def test_a_microphone_that_hears_nothing_is_called_silent() -> None:
    with PulseServer() as server:
        done = ascstream("devices", "--probe", env=variables(server))
        assert done.returncode == 0
    lines = done.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "  pulse  [ALSA, " in line)
    assert lines[place + 1].startswith(
        "     works: 44100 Hz, 2 channels, silent: muted, or nothing plugged in?, first "
    )


def test_without_devices_probing_lists_none(tmp_path: object) -> None:
    done = ascstream("devices", "--probe", "--json", env={"ALSA_CONFIG_PATH": "/dev/null", "PULSE_SERVER": "none"})
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["microphones"] == []
