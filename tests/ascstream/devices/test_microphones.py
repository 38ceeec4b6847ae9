"""Listing microphones: a real PortAudio on a made-up ALSA."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ascstream

from ascstream.devices.microphones import install_portaudio, list_microphones, no_microphone

ALSA = Path("/usr/share/alsa/alsa.conf")


def has_portaudio() -> bool:
    probe = [sys.executable, "-c", "import sounddevice"]
    return ALSA.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_portaudio = pytest.mark.skipif(not has_portaudio(), reason="needs PortAudio and ALSA's configuration")


@pytest.mark.slow
@needs_portaudio
def test_a_microphone_is_listed_as_portaudio_knows_it(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text(
        f'<{ALSA}>\npcm.deskmic {{ type file slave.pcm {{ type null }} file "/dev/null" infile "/dev/zero" }}\n'
    )
    done = ascstream("devices", "--json", env={"ALSA_CONFIG_PATH": str(config)})
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    mics = [mic for mic in report["microphones"] if mic["name"] == "deskmic"]
    assert len(mics) == 1
    assert mics[0]["host_api"] == "ALSA"
    assert mics[0]["n_channels"] >= 1
    assert mics[0]["sample_rate"] >= 8000
    assert [mic["index"] for mic in report["microphones"]] == list(range(len(report["microphones"])))
    printed = ascstream("devices", env={"ALSA_CONFIG_PATH": str(config)})
    assert f"  {mics[0]['index']}  deskmic  [ALSA, " in printed.stdout
    assert "ALSA lib" not in printed.stderr


@needs_portaudio
def test_a_sound_system_that_kills_portaudio_costs_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("pcm.broken { type null }\n")
    done = ascstream("devices", env={"ALSA_CONFIG_PATH": str(config)})
    assert done.returncode == 0
    assert done.stdout.startswith("Microphones\n  none\n")
    assert "no microphone" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_in_the_current_folder_is_not_loaded(tmp_path: Path) -> None:
    for name in ("json.py", "sounddevice.py", "av.py"):
        (tmp_path / name).write_text('from pathlib import Path\nPath("loaded").touch()\nraise SystemExit(3)\n')
    done = ascstream("devices", cwd=tmp_path)
    assert done.returncode == 0
    assert "broke off" not in done.stderr
    assert not (tmp_path / "loaded").exists()


def test_what_a_library_prints_does_not_spoil_the_list(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(
        'import os\nos.write(1, b"a server is missing")\n'
        "def query_devices(): return ()\n"
        "query_hostapis = query_devices\n"
        'class default: device = {"input": -1}\n'
        'def get_portaudio_version(): return 0, "PortAudio V0, of a test"\n'
    )
    done = ascstream("devices", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert json.loads(done.stdout)["portaudio"] == "PortAudio V0"


def test_a_sound_system_that_does_not_answer_costs_a_sentence() -> None:
    found = list_microphones(timeout_seconds=0.001)
    assert found.microphones == ()
    assert found.advice == ("no microphones: PortAudio did not answer within 0.001 s; does the sound system hang?",)


def test_each_system_is_told_what_to_type(tmp_path: Path) -> None:
    assert install_portaudio("linux") == "sudo apt-get install libportaudio2"
    assert install_portaudio("darwin") == install_portaudio("win32") == "pip install --force-reinstall sounddevice"
    assert "Privacy & Security > Microphone" in no_microphone("darwin")
    assert "Privacy & security > Microphone" in no_microphone("win32")
    assert "--device /dev/snd" in no_microphone("linux", tmp_path)
    (tmp_path / "dev/snd").mkdir(parents=True)
    assert "usermod -aG audio $USER" in no_microphone("linux", tmp_path)
