"""Memory does not grow with the length of a file, nor with the number of files."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys
from support.media import both_wants
from ascstream.sources.media import open_media
peaks = []
for path in sys.argv[1:]:
    with open_media(path) as source:
        for item in source.items(both_wants()):
            pass
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""


def peaks(tests_folder, *paths):
    """Peak memory in KiB after each file."""
    command = [sys.executable, "-c", COUNT, *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": tests_folder})
    return [int(number) for number in done.stdout.split()]


@pytest.fixture
def tests_folder(pytestconfig):
    return f"{pytestconfig.rootpath}:{pytestconfig.rootpath / 'tests'}"


@pytest.mark.slow
def test_an_hour_takes_no_more_than_a_minute(clips, tests_folder):
    minute = clips.clip("minute.mkv", 60, "-r", "5", "-ar", "16000", size="64x64")
    hour = clips.make("hour.mkv", "-stream_loop", "59", "-i", minute, "-c", "copy")
    assert peaks(tests_folder, hour)[0] - peaks(tests_folder, minute)[0] < 5 * 1024


@pytest.mark.slow
def test_many_files_take_no_more_than_a_few(clips, tests_folder):
    clip = clips.clip("clip.mp4")
    grown = peaks(tests_folder, *[clip] * 120)
    assert grown[-1] - grown[20] < 4_000
