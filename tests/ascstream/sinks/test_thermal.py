"""Temperatures and clocks from a tree like that of a Jetson."""

from pathlib import Path

import pytest

from ascstream.sinks.gauges import machine_row
from ascstream.sinks.thermal import Readings, Thermometer


@pytest.fixture
def jetson(tmp_path) -> Path:
    """What the kernel of an Orin tells, as far as it matters."""
    for path, text in {
        "class/thermal/thermal_zone0/type": "cpu-thermal",
        "class/thermal/thermal_zone0/temp": "58500",
        "class/thermal/thermal_zone1/type": "gpu-thermal",
        "class/thermal/thermal_zone1/temp": "61250",
        "class/thermal/thermal_zone2/type": "PMIC-Die",
        "class/thermal/thermal_zone2/temp": "100000",
        "class/thermal/thermal_zone3/type": "cv0-thermal",
        "class/thermal/thermal_zone3/temp": "-256000",
        "class/thermal/thermal_zone4/type": "soc",
        "class/thermal/thermal_zone4/temp": "",
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400",
        "class/devfreq/17000000.gpu/cur_freq": "624750000",
        "class/devfreq/154c0000.nvenc/cur_freq": "1",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return tmp_path


def test_the_hottest_zone_and_the_clocks(jetson):
    assert Thermometer(jetson).read(0.0) == Readings(61.25, 1510400000.0, 624750000.0)


def test_it_is_read_every_five_seconds_at_most(jetson):
    thermometer = Thermometer(jetson)
    thermometer.read(10.0)
    (jetson / "class/thermal/thermal_zone1/temp").write_text("70000\n")
    assert thermometer.read(14.9).celsius == 61.25
    assert thermometer.read(15.0).celsius == 70.0


def test_where_nothing_can_be_read_nothing_is_told(tmp_path):
    assert Thermometer(tmp_path).read(0.0) == Readings()
    assert machine_row("", Readings(), 80, ascii_only=False).plain == ""


@pytest.mark.parametrize(
    ("width", "ascii_only", "text"),
    [
        (80, False, "slim-av 1.0, float32   61 °C   CPU 1.51 GHz   GPU 0.62 GHz"),
        (80, True, "slim-av 1.0, float32   61 C   CPU 1.51 GHz   GPU 0.62 GHz"),
        (45, False, "slim-av 1.0, float32   61 °C   CPU 1.51 GHz"),
        (12, False, "slim-av 1.0…"),
    ],
)
def test_what_has_room_is_told(width, ascii_only, text):
    readings = Readings(61.25, 1510400000.0, 624750000.0)
    assert machine_row("slim-av 1.0, float32", readings, width, ascii_only=ascii_only).plain == text
