"""Which device a request means, on lists as PortAudio gives them."""

from __future__ import annotations

from typing import Any

import pytest

from ascstream.capture.finding import NoMicrophoneError, find
from ascstream.capture.requests import MicrophoneRequest

APIS = [{"name": "ALSA"}, {"name": "JACK Audio Connection Kit"}]


def device(name: str, n_inputs: int, api: int = 0, rate: float = 48_000.0) -> dict[str, Any]:
    return {
        "name": name,
        "max_input_channels": n_inputs,
        "hostapi": api,
        "default_samplerate": rate,
        "default_high_input_latency": 0.035,
    }


JETSON = [
    device("HDMI: 0 (hw:0,3)", 0),
    device("USB Audio: - (hw:1,0)", 1),
    device("Array: 4 mics (hw:2,0)", 6, rate=16_000.0),
    device("USB Audio: - (hw:1,0)", 1, api=1),
    device("Camera mic: - (hw:3,0)", 0),
    device("default", 32, rate=44_100.0),
]
IDS = {"USB Audio: - (hw:1,0)": "alsa:usb-1:1-B,0", "Array: 4 mics (hw:2,0)": "alsa:usb-2:2-C,0"}


def found(request: MicrophoneRequest, devices: list[dict[str, Any]] = JETSON, default: int = 5) -> tuple[int, str, str]:
    it = find(devices, APIS, default, request, IDS.get)
    return it.index, it.name, it.host_api


@pytest.mark.parametrize(
    ("request_", "index"),
    [
        (MicrophoneRequest(None), 5),
        (MicrophoneRequest("Array: 4 mics (hw:2,0)"), 2),
        (MicrophoneRequest("USB Audio: - (hw:1,0)"), 1),
        (MicrophoneRequest("USB Audio: - (hw:1,0)", "JACK Audio Connection Kit"), 3),
        (MicrophoneRequest("array"), 2),
        (MicrophoneRequest("usb audio"), 1),
        (MicrophoneRequest("an old name (hw:7,0)", stable_id="alsa:usb-2:2-C,0"), 2),
        (MicrophoneRequest("an old name (hw:7,0)", stable_id="ALSA:USB-2:2-c,0"), 2),
        (MicrophoneRequest("Array: 4 mics (hw:2,0)", portaudio_index=2, stable_id="alsa:usb-1:1-B,0"), 2),
        (MicrophoneRequest("USB Audio: - (hw:1,0)", "ALSA", portaudio_index=3), 3),
        (MicrophoneRequest(None, portaudio_index=2), 2),
    ],
)
def test_number_before_id_before_name(request_: MicrophoneRequest, index: int) -> None:
    assert found(request_)[0] == index


def test_a_device_says_what_it_has() -> None:
    it = find(JETSON, APIS, 5, MicrophoneRequest("array"), IDS.get)
    assert (it.name, it.host_api, it.n_channels, it.sample_rate) == ("Array: 4 mics (hw:2,0)", "ALSA", 6, 16_000.0)
    assert it.latency_seconds == 0.035


def test_without_a_default_the_first_that_records_is_taken() -> None:
    assert found(MicrophoneRequest(None), default=-1)[0] == 1


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (MicrophoneRequest("Violin"), "'Violin'"),
        (MicrophoneRequest("USB Audio: - (hw:1,0)", "Core Audio"), "'USB Audio: - (hw:1,0)' of Core Audio"),
        (MicrophoneRequest("mic"), None),
        (MicrophoneRequest("Array", "ALSA"), "'Array' of ALSA"),
        (MicrophoneRequest("(hw:"), "'(hw:'"),
        (MicrophoneRequest("USB Audio: - (hw:1,0)", stable_id="alsa:usb-9:9-Z,0"), "alsa:usb-9:9-Z,0"),
        (MicrophoneRequest(None, portaudio_index=0), "pa:0"),
        (MicrophoneRequest(None, portaudio_index=99), "pa:99"),
    ],
)
def test_what_is_not_there_is_missing_and_never_replaced(request_: MicrophoneRequest, wanted: str | None) -> None:
    if wanted is None:  # only one that records has it as a part
        assert found(request_)[0] == 2
        return
    with pytest.raises(NoMicrophoneError) as caught:
        found(request_)
    assert caught.value.missing
    assert str(caught.value) == (
        f"there is no microphone {wanted}; found: pa:1 'USB Audio: - (hw:1,0)', pa:2 'Array: 4 mics (hw:2,0)', "
        "pa:3 'USB Audio: - (hw:1,0)', pa:5 'default'; type: ascstream devices"
    )


@pytest.mark.parametrize(
    ("request_", "index"),
    [
        (MicrophoneRequest("USB Audio: - (hw:1,0)", "ALSA", portaudio_index=2), 1),
        (MicrophoneRequest("USB Audio: - (hw:1,0)", portaudio_index=2, stable_id="alsa:usb-2:2-C,0"), 2),
    ],
)
def test_a_number_that_another_device_has_now_counts_no_more(request_: MicrophoneRequest, index: int) -> None:
    assert found(request_)[0] == index
    with pytest.raises(NoMicrophoneError, match="there is no microphone 'Violin' of ALSA; found"):
        found(MicrophoneRequest("Violin", "ALSA", portaudio_index=2))


def test_a_device_that_another_program_uses_is_said_to_be_busy() -> None:
    with pytest.raises(NoMicrophoneError, match=r"another program uses it \(fuser -v /dev/snd/\* names it\)"):
        found(MicrophoneRequest("Camera mic: - (hw:3,0)"))


def test_nothing_at_all() -> None:
    with pytest.raises(NoMicrophoneError, match=r"^there is no microphone default, nor any other$"):
        found(MicrophoneRequest(None), [device("HDMI", 0)], default=-1)
