"""Lists the microphones that PortAudio can record from."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ascstream.devices.alsa import busy, card_ids, is_device, stable_id
from ascstream.devices.records import DeviceList, Microphone
from engines.child_process import command_of

_LOG = logging.getLogger(__name__)
_END_SECONDS = 0.5


def list_microphones(timeout_seconds: float = 10.0) -> DeviceList:
    """List the microphones that PortAudio can record from.

    PortAudio is queried in a separate process: output of ALSA and JACK stays off the screen, the list is never stale,
    and a sound system that hangs or makes PortAudio abort results in advice, not in a crash.

    Args:
        timeout_seconds: Time limit for the query.
    """
    answer = _ask(timeout_seconds)
    if answer.get("error"):
        return DeviceList(advice=(f"no microphones: {answer['error']}",))
    found = tuple(Microphone(index, **entry) for index, entry in enumerate(answer["microphones"]))
    advice = tell_busy(found)
    return DeviceList(found, (), advice if found or advice else (no_microphone(),), answer["portaudio"])


def tell_busy(found: Sequence[Microphone], root: Path = Path("/")) -> tuple[str, ...]:
    """One sentence for each device that PortAudio omits because another program is recording from it.

    Args:
        found: The microphones that PortAudio lists.
        root: Folder that contains proc.
    """
    return tuple(
        f"microphone hw:{card},{device} is in use by {owner}, and so not listed: end that, or record through its server"
        for (card, device), owner in busy(root).items()
        if not any(is_device(mic.name, card, device) for mic in found)
    )


def ask_here() -> dict[str, Any]:
    """Query PortAudio in this process; if that fails, "error" in the answer says why."""
    try:
        import sounddevice

        devices, apis = sounddevice.query_devices(), sounddevice.query_hostapis()
        default = int(sounddevice.default.device["input"])
    except ImportError as error:
        return {"error": f"{error}; type: pip install sounddevice"}
    except Exception as error:  # noqa: BLE001  OSError if the library is missing, PortAudioError if it does not start
        if "PortAudio library not found" in str(error):
            return {"error": f"PortAudio is missing; type: {install_portaudio(sys.platform)}"}
        return {"error": f"PortAudio did not start ({error}); is the sound system running?"}
    ids = card_ids() if sys.platform.startswith("linux") else {}
    microphones = []
    for number, device in enumerate(devices):
        if device["max_input_channels"] > 0:
            api = str(apis[device["hostapi"]]["name"])
            microphones.append(
                {
                    "portaudio_index": number,
                    "name": str(device["name"]),
                    "host_api": api,
                    "n_channels": int(device["max_input_channels"]),
                    "sample_rate": round(device["default_samplerate"]),
                    "default": number == default,
                    "stable_id": stable_id(str(device["name"]), ids) if api == "ALSA" else None,
                }
            )
    return {"portaudio": sounddevice.get_portaudio_version()[1].split(",")[0], "microphones": microphones}


def install_portaudio(platform: str) -> str:
    """What to type if PortAudio is missing.

    Args:
        platform: As `sys.platform`.
    """
    if platform.startswith("linux"):
        return "sudo apt-get install libportaudio2"
    return "pip install --force-reinstall sounddevice"  # its wheels include PortAudio for macOS and Windows


def no_microphone(platform: str = sys.platform, root: Path = Path("/")) -> str:
    """What to check if PortAudio works but lists no microphone.

    Args:
        platform: As `sys.platform`.
        root: Folder that contains dev.
    """
    if platform == "darwin":
        return (
            "no microphone: macOS gives this terminal none; plug one in, or switch it on under "
            "System Settings > Privacy & Security > Microphone"
        )
    if platform == "win32":
        return (
            "no microphone: Windows gives desktop programs none; plug one in, or switch it on under "
            "Settings > Privacy & security > Microphone"
        )
    if not (root / "dev/snd").exists():
        return (
            "no microphone: the system has no sound device (/dev/snd is missing); is one plugged in (arecord -l), "
            "and passed into the container (--device /dev/snd)?"
        )
    return (
        "no microphone: PortAudio lists no device that records; see arecord -l, and type: "
        "sudo usermod -aG audio $USER, then log in again, if it lists one"
    )


def _ask(timeout_seconds: float) -> dict[str, Any]:
    """Call `ask_here` in another process; if that fails, "error" in the answer says why."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command_of("ascstream.devices.__main__"), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        return {"error": f"no process can be started to ask PortAudio ({error.strerror or error}); what uses them all?"}
    try:
        output, log = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"PortAudio did not answer within {timeout_seconds:g} s; does the sound system hang?"}
    finally:
        _end(process)
    lines = log.decode("utf-8", "replace").strip().splitlines()
    for line in lines:
        _LOG.debug("%s", line)
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": f"PortAudio broke off ({[process.returncode, *lines][-1]}); is the sound system configured?"}
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and release its pipes, without waiting long if it is stuck in a driver."""
    process.kill()
    for file in (process.stdout, process.stderr):
        if file is not None:
            file.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
