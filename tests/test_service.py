"""The systemd unit in examples/ is one, and names options that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.commands import COMMAND, ascstream

UNIT = Path(__file__).parent.parent / "examples" / "ascstream.service"
INSTALLED = "/opt/ascstream/bin/ascstream"


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd; type: apt-get install systemd")
def test_systemd_takes_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(COMMAND)), encoding="utf-8")
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    mine = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, mine) == (0, [])


def test_it_waits_for_devices_and_is_watched() -> None:
    assert values("Type") == ["notify"]
    assert values("WatchdogSec") == ["30"]
    assert values("Restart") == ["on-failure"]
    assert values("SupplementaryGroups") == ["audio video"]
    assert values("ProtectSystem") == ["strict"]


def test_the_journal_has_what_happens_and_a_stop_is_no_failure() -> None:
    assert values("StandardOutput") == ["null"]
    assert values("StandardError") == []
    assert "--quiet" not in values("ExecStart")[0]
    assert values("SuccessExitStatus") == ["143"]


def test_its_command_has_options_that_exist() -> None:
    (command,) = values("ExecStart")
    program, subcommand, *words = command.split()
    assert (program, subcommand) == (INSTALLED, "live")
    shown = ascstream("live", "--help")
    assert shown.returncode == 0
    options = [word for word in words if word.startswith("--")]
    assert options == ["--wait", "--out", "--rotate"]
    for option in options:
        assert option in shown.stdout


def test_its_variables_are_settings() -> None:
    known = ascstream("config", "show", "live").stdout
    for variable in (entry.partition("=")[0] for entry in values("Environment")):
        if variable.startswith("ASCSTREAM_"):
            assert variable.removeprefix("ASCSTREAM_").lower() in known
