"""What `ascstream doctor` says of a machine: trees of files as machines have them, and real sockets."""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ascstream.cli import machine as checks
from ascstream.cli.findings import Check, Machine
from ascstream.cli.machine import look_around
from ascstream.cli.sound_server import sound_server
from ascstream.cli.wall_clock import clock, judge_clock


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="m-") as folder:  # short: a socket's path has 107 characters
        yield Path(folder)


def write(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def names(machine: Machine) -> list[str]:
    return [check.name for check in look_around(machine)]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "freebsd14"])
def test_nothing_that_is_looked_at_is_needed_for_files(platform: str, root: Path) -> None:
    found = list(look_around(Machine(platform, root, {})))
    assert len(found) >= 2
    assert not any(check.needed for check in found)


def test_each_system_is_looked_at_in_its_own_way(root: Path) -> None:
    assert names(Machine("darwin", root, {})) == names(Machine("win32", root, {})) == ["access", "disk space"]
    here = names(Machine("linux", root, {}))
    assert [name for name in here if name != "clock"] == [
        "sound devices",
        "sound server",
        "video devices",
        "disk space",
    ]


def test_macos_and_windows_say_where_access_is_granted() -> None:
    assert "System Settings > Privacy & Security > Microphone" in (checks.access(Machine("darwin")).advice or "")
    assert "let desktop apps use them" in (checks.access(Machine("win32")).advice or "")


def test_a_machine_without_devices_is_told_to_plug_one_in_and_a_container_to_be_given_one(root: Path) -> None:
    bare = Machine("linux", root, {})
    assert checks.sound_devices(bare).advice == "plug one in; to see what the system knows, type: arecord -l"
    assert "lsusb" in (checks.cameras(bare).advice or "")
    for contained in (Machine("linux", root, {"container": "podman"}), bare):
        if contained is bare:
            write(root, ".dockerenv")
        assert "docker run --device /dev/snd --group-add audio" in (checks.sound_devices(contained).advice or "")
        assert "docker run --device /dev/video0 --group-add video" in (checks.cameras(contained).advice or "")


def test_devices_that_may_be_opened_are_listed(root: Path) -> None:
    for name in ("snd/pcmC0D0p", "snd/pcmC0D0c", "snd/pcmC1D0c", "video0", "video1"):
        write(root, f"dev/{name}")
    machine = Machine("linux", root, {})
    assert checks.sound_devices(machine) == Check("sound devices", "ok", "pcmC0D0c, pcmC1D0c", needed=False)
    assert checks.cameras(machine) == Check("video devices", "ok", "video0, video1", needed=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_devices_that_may_not_be_opened_name_the_command(root: Path) -> None:
    write(root, "dev/video0").chmod(0)
    found = checks.cameras(Machine("linux", root, {}))
    assert (found.status, found.value) == ("failed", "no permission to open /dev/video0")


def test_the_command_that_gives_permission_names_group_and_user() -> None:
    assert checks.advise_permission("audio", "ada", enrolled=False, contained=False) == (
        "type: sudo usermod -aG audio ada, then log in again"
    )
    assert "log in again" in checks.advise_permission("audio", "ada", enrolled=True, contained=False)
    assert "usermod" not in checks.advise_permission("audio", "ada", enrolled=True, contained=False)
    assert "docker run --group-add video" in checks.advise_permission("video", "ada", enrolled=False, contained=True)


def test_who_uses_a_camera_is_named(root: Path) -> None:
    for process, name, target in ((41, "motion", "/dev/video0"), (7, "zsh", "/dev/pts/0"), (42, "zoom", "/dev/video0")):
        write(root, f"proc/{process}/comm", f"{name}\n")
        folder = root / f"proc/{process}/fd"
        folder.mkdir()
        (folder / "3").symlink_to(target)
    found = checks.busy_cameras(Machine("linux", root, {}))
    assert found is not None
    assert found.value == "in use: /dev/video0 by motion (process 41), zoom (process 42)"
    (root / "proc/41/fd/3").unlink()
    (root / "proc/42/fd/3").unlink()
    assert checks.busy_cameras(Machine("linux", root, {})) is None


def test_a_look_that_goes_wrong_hides_no_other(root: Path) -> None:
    usual = names(Machine("linux", root, {}))
    broken = list(look_around(Machine("linux", root, {}, Path("\0"))))
    assert [check.name for check in broken[:-1]] == usual[:-1]
    assert (broken[-1].name, broken[-1].status, broken[-1].needed) == ("disk", "failed", False)
    assert broken[-1].value.startswith("ValueError: ")


@pytest.fixture
def server(root: Path) -> Iterator[socket.socket]:
    (root / "run/user/1000/pulse").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "run/user/1000/pulse/native"))
        listening.listen()
        yield listening


@pytest.mark.parametrize(
    "variables",
    [
        {"XDG_RUNTIME_DIR": "/run/user/1000"},
        {"PULSE_RUNTIME_PATH": "/run/user/1000/pulse"},
        {"PULSE_SERVER": "unix:/run/user/1000/pulse/native"},
        {"PULSE_SERVER": "{0123456789abcdef}unix:/run/user/1000/pulse/native tcp:elsewhere:4713"},
    ],
)
def test_a_sound_server_is_found_as_its_clients_find_it(
    root: Path, server: socket.socket, variables: dict[str, str]
) -> None:
    found = sound_server(Machine("linux", root, variables))
    assert (found.status, found.value) == (
        "ok",
        "PulseAudio or PipeWire answers at unix:/run/user/1000/pulse/native",
    )


def test_a_service_that_cannot_find_the_user_s_sound_server_is_told_the_variable(
    root: Path, server: socket.socket
) -> None:
    found = sound_server(Machine("linux", root, {}))
    assert found.status == "missing"
    assert "type: export XDG_RUNTIME_DIR=/run/user/1000 (in a service: Environment=" in (found.advice or "")


def test_a_sound_server_that_is_gone_is_a_failure(root: Path, server: socket.socket) -> None:
    server.close()
    found = sound_server(Machine("linux", root, {"XDG_RUNTIME_DIR": "/run/user/1000"}))
    assert found.status == "failed"
    assert found.value == "unix:/run/user/1000/pulse/native does not answer: Connection refused"
    assert "systemctl --user restart pipewire-pulse" in (found.advice or "")


def test_a_sound_server_of_another_machine_is_asked(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        variables = {"PULSE_SERVER": f"tcp:127.0.0.1:{port}"}
        assert sound_server(Machine("linux", root, variables)).status == "ok"
    assert sound_server(Machine("linux", root, variables)).status == "failed"
    assert sound_server(Machine("linux", root, {"PULSE_SERVER": "tcp:127.0.0.1:loud"})).status == "failed"


def test_without_a_sound_server_cards_are_opened_directly(root: Path) -> None:
    found = sound_server(Machine("linux", root, {}))
    assert (found.status, found.advice) == ("missing", None)
    missing = sound_server(Machine("linux", root, {"PULSE_SERVER": "unix:/nowhere"}))
    assert (missing.status, missing.value) == ("failed", "nothing is at PULSE_SERVER=unix:/nowhere")
    contained = sound_server(Machine("linux", root, {"container": "docker"}))
    assert "-e PULSE_SERVER=unix:/run/pulse" in (contained.advice or "")


@pytest.mark.parametrize(
    ("release", "status", "value"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "ok", "Jetson Linux 36.4.3 (JetPack 6)"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "ok", "Jetson Linux 38.2.0 (JetPack 7)"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "failed", "Jetson Linux 35.4.1 (JetPack 5) is too old"),
        ("# R32 (release), REVISION: 7.1, GCID: 1", "failed", "Jetson Linux 32.7.1 (JetPack 4) is too old"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "ok", "Jetson Linux 99.1.0, not known to this version"),
    ],
)
def test_a_jetson_says_its_jetpack(root: Path, release: str, status: str, value: str) -> None:
    write(root, "etc/nv_tegra_release", release + "\n")
    found = checks.jetpack(Machine("linux", root, {}))
    assert found is not None
    assert (found.status, found.value) == (status, value)
    assert ("JetPack 6" in (found.advice or "")) == (status == "failed")


def test_another_machine_has_no_jetpack(root: Path) -> None:
    assert checks.jetpack(Machine("linux", root, {})) is None
    write(root, "etc/nv_tegra_release", "garbage")
    assert checks.jetpack(Machine("linux", root, {})) is None


@pytest.mark.parametrize(
    ("governor", "driver", "slow"),
    [("powersave", "acpi-cpufreq", True), ("powersave", "intel_pstate", False), ("schedutil", "cpufreq-dt", False)],
)
def test_a_processor_that_is_told_to_be_slow_is_noticed(root: Path, governor: str, driver: str, slow: bool) -> None:
    for core in (0, 1):
        write(root, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", f"{governor}\n")
        write(root, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_driver", f"{driver}\n")
    found = checks.processor(Machine("linux", root, {}))
    assert found is not None
    assert found.value == f"governor {governor}"
    assert ("cpupower" in (found.advice or "")) == slow


def test_a_jetson_says_its_power_mode(root: Path) -> None:
    write(root, "var/lib/nvpmodel/status", "pmode:0002 fmode:quiet\n")
    found = checks.processor(Machine("linux", root, {}))
    assert found is not None
    assert found.value == "power mode 2 of nvpmodel"
    assert "sudo jetson_clocks" in (found.advice or "")


def test_a_clock_that_nothing_sets_is_noticed() -> None:
    assert judge_clock(16_000_000).status == "missing"
    assert "timedatectl set-ntp true" in (judge_clock(16_000_000).advice or "")
    assert judge_clock(1_500).value == "synchronised, within 2 ms"


def test_the_kernel_is_asked_for_its_clock() -> None:
    found = clock(Machine())
    assert found is None or found.name == "clock"


def test_room_in_the_working_folder_is_said(root: Path) -> None:
    found = checks.disk(Machine("linux", root, {}, root))
    assert re.fullmatch(rf"\d+\.\d GiB free in {root}", found.value)
    assert checks.disk(Machine("linux", root, {}, root / "gone")).status == "failed"
