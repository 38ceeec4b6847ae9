"""Cameras of macOS and Windows, in what FFmpeg logs there."""

from __future__ import annotations

from ascstream.devices import Camera
from ascstream.devices.elsewhere import list_cameras_elsewhere, parse_avfoundation, parse_dshow

MACOS = """
AVFoundation video devices:
[0] FaceTime HD Camera
[1] USB Camera VID:1133 PID:2085
[2] Capture screen 0
AVFoundation audio devices:
[0] MacBook Pro Microphone
"""
WINDOWS = """
"Integrated Webcam" (video)
  Alternative name "@device_pnp_\\\\?\\usb#vid_0c45&pid_6a10#1"
"OBS Virtual Camera" (none)
"Capture Card" (audio, video)
"Microphone (Realtek Audio)" (audio)
  Alternative name "@device_cm_{33D9A762}\\wave_{1}"
"""


def test_cameras_of_macos_without_screens_and_microphones() -> None:
    assert parse_avfoundation(MACOS.splitlines()) == (
        Camera(0, "FaceTime HD Camera:none", "FaceTime HD Camera", "avfoundation", "0", None, "avfoundation"),
        Camera(
            1,
            "USB Camera VID:1133 PID:2085:none",
            "USB Camera VID:1133 PID:2085",
            "avfoundation",
            "1",
            None,
            "avfoundation",
        ),
    )


def test_cameras_of_windows_under_the_names_that_stay() -> None:
    webcam, card = parse_dshow(WINDOWS.splitlines())
    stable = "video=@device_pnp_\\\\?\\usb#vid_0c45&pid_6a10#1"
    assert webcam == Camera(0, "video=Integrated Webcam", "Integrated Webcam", "dshow", "", stable, "dshow")
    assert card == Camera(1, "video=Capture Card", "Capture Card", "dshow", "", None, "dshow")


def test_a_build_of_ffmpeg_without_them_lists_none_and_says_where_to_look() -> None:
    (sentence,) = list_cameras_elsewhere("darwin").advice
    assert sentence == (
        "no camera: FFmpeg lists none; is one plugged in, and allowed under "
        "System Settings > Privacy & Security > Camera, switch on this terminal?"
    )
    assert "Settings > Privacy & security > Camera" in list_cameras_elsewhere("win32").advice[0]
    assert list_cameras_elsewhere("freebsd14").advice == (
        "cameras cannot be listed on freebsd14; give a URL or a file",
    )
