"""What users type for devices, against given lists of them."""

from __future__ import annotations

import os
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.devices import Camera, DeviceList, Microphone
from ascstream.devices.cameras import RAW
from ascstream.errors import SourceError, SourceNotFoundError, UsageError
from ascstream.live.addresses import SCHEMES, resolve_camera, resolve_microphone, resolve_source

WEBCAM = Microphone(
    0, 3, "HD Webcam C525: USB Audio (hw:1,0)", "ALSA", 1, 48_000, False, "alsa:usb-046d:0826-8D3E1D60,0"
)
ARRAY = Microphone(1, 5, "ReSpeaker 4 Mic Array: USB Audio (hw:2,0)", "ALSA", 6, 16_000, False)
PULSE = Microphone(2, 9, "pulse", "ALSA", 32, 44_100, False)
DEFAULT = Microphone(3, 12, "default", "ALSA", 32, 44_100, True)
LOGITECH = Camera(0, "/dev/video90", "HD Webcam C525", "uvcvideo", "usb-1", "/dev/v4l/by-id/usb-046d_C525-index0")
CAPTURE = Camera(1, "/dev/video92", "USB3 Capture", "uvcvideo", "usb-2", None)
CSI = Camera(2, "/dev/video94", "vi-output, imx219", "tegra-video", "platform", None, unreadable=RAW)
FOUND = DeviceList((WEBCAM, ARRAY, PULSE, DEFAULT), (LOGITECH, CAPTURE, CSI))
NOTHING = DeviceList(advice=("no microphone: /dev/snd is missing", "no camera: /dev/video* has none"))


def of_webcam(**changes: object) -> MicrophoneRequest:
    return replace(MicrophoneRequest(WEBCAM.name, "ALSA", None, WEBCAM.stable_id), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", of_webcam()),
        (" 1 ", MicrophoneRequest(ARRAY.name, "ALSA")),
        ("pa:3", of_webcam()),
        ("PA:12", MicrophoneRequest("default", "ALSA")),
        ("default", MicrophoneRequest(None)),
        ("none", None),
        ("None", None),
        ("alsa:usb-046d:0826-8D3E1D60,0", of_webcam()),
        ("HD Webcam C525: USB Audio (hw:1,0)", of_webcam()),
        ("webcam", of_webcam()),
        ("respeaker", MicrophoneRequest(ARRAY.name, "ALSA")),
        ("PULSE", MicrophoneRequest("pulse", "ALSA")),
        ("rtsp://user:secret@host/live", MediaRequest("rtsp://user:secret@host/live", sound=True)),
    ],
)
def test_a_microphone_by_number_name_id_or_address(text: str, expected: object) -> None:
    assert resolve_microphone(text, devices=FOUND) == expected


@pytest.mark.parametrize("text", ["0", "pa:3", "webcam", "default"])
def test_chosen_channels_are_asked_for(text: str) -> None:
    request = resolve_microphone(text, (3, 1), devices=FOUND)
    assert isinstance(request, MicrophoneRequest)
    assert request.channels == (3, 1)


@pytest.mark.parametrize("channels", [(0,), (1, 1), (-2,)])
def test_channels_that_cannot_be_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected different numbers, counted from 1"):
        resolve_microphone("0", channels, devices=FOUND)


def test_channels_of_a_stream_cannot_be_chosen() -> None:
    with pytest.raises(UsageError, match="leave them out"):
        resolve_microphone("rtsp://host/live", (1,), devices=FOUND)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", MediaRequest("/dev/v4l/by-id/usb-046d_C525-index0", "v4l2")),
        ("1", MediaRequest("/dev/video92", "v4l2")),
        ("/dev/video90", MediaRequest("/dev/video90", "v4l2")),
        ("/dev/v4l/by-id/usb-046d_C525-index0", MediaRequest("/dev/v4l/by-id/usb-046d_C525-index0", "v4l2")),
        ("c525", MediaRequest("/dev/v4l/by-id/usb-046d_C525-index0", "v4l2")),
        ("usb3 capture", MediaRequest("/dev/video92", "v4l2")),
        ("none", None),
        *((f"{scheme}://host:1/x", MediaRequest(f"{scheme}://host:1/x")) for scheme in SCHEMES),
        ("udp://@:5000", MediaRequest("udp://@:5000")),
    ],
)
def test_a_camera_by_number_node_name_or_address(text: str, expected: object) -> None:
    assert resolve_camera(text, devices=FOUND) == expected


def test_cameras_of_other_systems_are_opened_by_their_own_formats() -> None:
    macos = Camera(0, "FaceTime HD Camera:none", "FaceTime HD Camera", "avfoundation", "0", None, "avfoundation")
    windows = Camera(0, "video=Webcam", "Webcam", "dshow", "", "video=@device_pnp", "dshow")
    for text in ("0", "facetime"):
        expected = MediaRequest("FaceTime HD Camera:none", "avfoundation")
        assert resolve_camera(text, devices=DeviceList(cameras=(macos,))) == expected
    assert resolve_camera("0", devices=DeviceList(cameras=(windows,))) == MediaRequest("video=@device_pnp", "dshow")


def test_a_link_to_a_node_is_followed(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    devices = DeviceList(cameras=(replace(CAPTURE, path=str(node)),))
    assert resolve_camera("0", devices=devices) == MediaRequest(str(node), "v4l2")


def test_a_file_is_taken_by_all_three(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    assert resolve_microphone(str(clip), devices=FOUND) == MediaRequest(str(clip), sound=True)
    assert resolve_camera(str(clip), devices=FOUND) == MediaRequest(str(clip))
    assert resolve_source(str(clip)) == MediaRequest(str(clip), sound=True)


def test_a_source_is_an_address_or_a_file() -> None:
    assert resolve_source("rtsp://host/live") == MediaRequest("rtsp://host/live", sound=True)
    for text in ("0", "default", "/dev/video0", "none"):
        with pytest.raises(SourceError, match="type: --mic NAME --camera NAME"):
            resolve_source(text)


def message(text: str, devices: DeviceList = FOUND, *, camera: bool = False) -> str:
    resolve = resolve_camera if camera else resolve_microphone
    with pytest.raises((SourceError, UsageError)) as caught:
        resolve(text, devices=devices)
    return str(caught.value)


@pytest.mark.parametrize("text", ["4", "pa:0", "999999", "no such thing", "alsa:usb-1234:5678,0"])
def test_a_microphone_that_is_not_there_lists_those_that_are(text: str) -> None:
    with pytest.raises(SourceNotFoundError) as caught:
        resolve_microphone(text, devices=FOUND)
    assert f'got "{text}"' in str(caught.value)
    assert "0 HD Webcam C525: USB Audio (hw:1,0) [alsa:usb-046d:0826-8D3E1D60,0]; 1 ReSpeaker" in str(caught.value)
    assert str(caught.value).endswith("see: ascstream devices")
    assert caught.value.exit_code == 3


def test_a_microphone_that_is_in_use_is_told_beside_those_that_are_not() -> None:
    found = replace(FOUND, advice=("microphone hw:4,0 is in use by arecord (process 7)",))
    assert "; microphone hw:4,0 is in use by arecord (process 7); type one of these" in message("4", found)


@pytest.mark.parametrize("text", ["0", "default", "pa:0", "webcam"])
def test_without_a_microphone_the_message_says_what_is_missing(text: str) -> None:
    assert message(text, NOTHING).startswith(
        f'expected a microphone for "{text}", found none; no microphone: /dev/snd is missing; '
    )
    assert message(text, NOTHING).endswith("type: ascstream doctor")


@pytest.mark.parametrize("text", ["0", "/dev/video0", "webcam"])
def test_without_a_camera_the_message_says_what_is_missing(text: str) -> None:
    assert "found none; " in message(text, NOTHING, camera=True)
    assert "no camera: /dev/video* has none" in message(text, NOTHING, camera=True)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("plse", 'did you mean "pulse"?'),
        ("defualt", 'did you mean "default"?'),
        ("nnone", 'did you mean "none"?'),
        ("rstp://host/live", "did you mean rtsp://?"),
        ("htp://host/live", "did you mean http://?"),
        ("gopher://host/live", "URLs may begin with rtsp, "),
    ],
)
def test_a_typo_gets_a_suggestion(text: str, hint: str) -> None:
    assert hint in message(text)


def test_a_name_of_several_lists_them() -> None:
    assert message("usb audio") == (
        'expected the name of one microphone, got "usb audio", which several have: '
        "0 HD Webcam C525: USB Audio (hw:1,0) [alsa:usb-046d:0826-8D3E1D60,0]; "
        "1 ReSpeaker 4 Mic Array: USB Audio (hw:2,0) [ALSA]; type more of the name, or the number"
    )
    twins = DeviceList(cameras=(LOGITECH, replace(LOGITECH, index=1, path="/dev/video96", stable_path=None)))
    assert "0 HD Webcam C525 [/dev/v4l/by-id/usb-046d_C525-index0]; 1 HD Webcam C525 [/dev/video96]" in message(
        "C525", twins, camera=True
    )


def test_one_microphone_of_several_host_apis_is_taken_from_the_first() -> None:
    mme = Microphone(0, 1, "Microphone (USB)", "MME", 2, 44_100, True)
    wasapi = Microphone(1, 7, "Microphone (USB)", "Windows WASAPI", 2, 48_000, False)
    found = DeviceList((mme, wasapi))
    assert resolve_microphone("microphone", devices=found) == MicrophoneRequest("Microphone (USB)", "MME")
    assert resolve_microphone("1", devices=found) == MicrophoneRequest("Microphone (USB)", "Windows WASAPI")


def test_twins_that_only_their_numbers_tell_apart_are_asked_for_by_them() -> None:
    twins = DeviceList(tuple(Microphone(n, n + 2, "USB Mic", "Core Audio", 1, 48_000, False) for n in range(2)))
    assert resolve_microphone("1", devices=twins) == MicrophoneRequest("USB Mic", "Core Audio", 3)
    assert resolve_microphone("pa:2", devices=twins) == MicrophoneRequest("USB Mic", "Core Audio", 2)
    assert "which several have" in message("usb mic", twins)


def test_a_camera_that_ffmpeg_cannot_read_says_what_to_do() -> None:
    for text in ("2", "imx219", "/dev/video94"):
        assert message(text, camera=True).endswith(RAW)


def test_a_microphone_that_is_not_there_can_be_waited_for() -> None:
    absent = "alsa:usb-1234:5678,0"
    assert resolve_microphone(absent, devices=NOTHING, wait=True) == MicrophoneRequest(absent, stable_id=absent)
    assert resolve_microphone("C525", (1,), devices=NOTHING, wait=True) == MicrophoneRequest("C525", channels=(1,))
    assert resolve_microphone("default", devices=NOTHING, wait=True) == MicrophoneRequest(None)


@pytest.mark.parametrize("text", ["0", "pa:4"])
def test_a_number_cannot_be_waited_for_and_the_message_says_what_can(text: str) -> None:
    with pytest.raises(SourceNotFoundError) as caught:
        resolve_microphone(text, devices=NOTHING, wait=True)
    assert str(caught.value) == (
        f'expected a microphone for "{text}", found none; no microphone: /dev/snd is missing; '
        "no camera: /dev/video* has none; --wait cannot wait for a number: type --mic default, "
        "or --mic and the name or id that ascstream devices shows when it is there"
    )
    with pytest.raises(SourceNotFoundError, match=r"--wait cannot wait for a number: type --mic default, .* type one"):
        resolve_microphone(text, devices=replace(FOUND, microphones=(replace(WEBCAM, index=1),)), wait=True)


def test_words_come_before_files_of_that_name(tmp_path: Path) -> None:
    for name in ("default", "pa:3"):
        (tmp_path / name).touch()
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert resolve_microphone("default", devices=FOUND) == MicrophoneRequest(None)
        assert resolve_microphone("pa:3", devices=FOUND) == of_webcam()
    finally:
        os.chdir(before)


def test_a_camera_that_is_not_there_can_be_waited_for() -> None:
    absent = "/dev/v4l/by-id/usb-absent-index0"
    assert resolve_camera(absent, devices=NOTHING, wait=True) == MediaRequest(absent, "v4l2")
    for text, vain in (("0", "a number"), ("webcam", "the name of a camera")):
        with pytest.raises(SourceNotFoundError, match=rf"--wait cannot wait for {vain}: type --camera .*/v4l/by-id/…$"):
            resolve_camera(text, devices=NOTHING, wait=True)


def test_secrets_are_not_repeated() -> None:
    assert "secret" not in message("rstp://user:secret@host/live")
    with pytest.raises(UsageError) as caught:
        resolve_microphone("rtsp://user:secret@host/live", (1,), devices=FOUND)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["rtsp://", "http:///"])
def test_an_address_without_a_host_is_refused(text: str) -> None:
    assert "names no host" in message(text)


def test_what_is_no_device_is_told_apart(tmp_path: Path) -> None:
    assert "got nothing" in message("  ")
    assert "type: ascstream file -" in message("-")
    assert "the folder" in message(str(tmp_path))
    assert "there is no file" in message("gone.mp4", camera=True)


texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=string.digits + ":/.-", max_size=12),
    st.builds("{}://{}".format, st.sampled_from([*SCHEMES, "file", "rstp"]), st.text(max_size=20)),
    st.builds("/dev/{}".format, st.text(max_size=10)),
    st.builds("pa:{}".format, st.text(max_size=5)),
)


@given(texts, st.booleans(), st.sampled_from([FOUND, NOTHING, DeviceList()]))
def test_any_text_gives_a_request_or_one_paragraph(text: str, wait: bool, devices: DeviceList) -> None:
    for resolve in (
        lambda: resolve_microphone(text, devices=devices, wait=wait),
        lambda: resolve_camera(text, devices=devices, wait=wait),
        lambda: resolve_source(text),
    ):
        problem = "expected …"
        try:
            request = resolve()
        except (SourceError, UsageError) as error:
            problem = str(error)
        else:
            assert request is None or isinstance(request, MicrophoneRequest | MediaRequest)
        assert problem.isprintable()  # one line
        assert problem.startswith(("expected ", "camera "))
