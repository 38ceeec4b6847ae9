"""Files that grow: continued, completed, rotated, reopened, cut back to whole lines on a full disk."""

import json
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.health import HandClock

from ascstream.errors import OutputError, UsageError
from ascstream.sinks.growing import GrowingFile, Growth

ROOT = Path(__file__).parents[3]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_every_line_is_there_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "a.jsonl"
    file = GrowingFile(path, Growth(HandClock()))
    assert path.read_text() == ""
    assert file.fresh
    file.write("1\n")
    assert path.read_text() == "1\n"
    assert not file.fresh
    file.close()
    file.close()
    assert names(tmp_path) == ["a.jsonl"]


def test_a_file_is_continued_and_its_rights_and_links_stay(tmp_path):
    path, link = tmp_path / "a.jsonl", tmp_path / "link.jsonl"
    path.write_text("old\n")
    path.chmod(0o640)
    link.symlink_to(path)
    file = GrowingFile(link, Growth(HandClock()))
    file.write("new\n")
    file.close()
    assert path.read_text() == "old\nnew\n"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_torn_last_line_is_completed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"end": 1}\n{"en')
    file = GrowingFile(path, Growth(HandClock()))
    file.write('{"end": 3}\n')
    file.close()
    assert path.read_text() == '{"end": 1}\n{"en\n{"end": 3}\n'


def test_a_torn_line_longer_than_what_is_looked_at_is_completed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("x" * 200_000)
    GrowingFile(path, Growth(HandClock())).close()
    assert path.read_text() == "x" * 200_000 + "\n"


def test_a_header_stands_once_and_another_one_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    for line in ("1\n", "2\n"):
        file = GrowingFile(path, Growth(HandClock()))
        file.write(line, header="end\n")
        file.close()
    assert path.read_text() == "end\n1\n2\n"
    file = GrowingFile(path, Growth(HandClock()))
    message = r"a\.csv: expected a file to continue that begins with 'time,end', got 'end'; move it away or choose"
    with pytest.raises(OutputError, match=message):
        file.write("3\n", header="time,end\n")
    file.close()
    assert path.read_text() == "end\n1\n2\n"


def test_at_each_full_hour_a_new_file_begins(tmp_path):
    clock = HandClock()
    file = GrowingFile(tmp_path / "a.csv", Growth(clock, 3600.0))
    for number in range(5):
        file.write(f"{number}\n", header="h\n")
        clock.go_on(1.0)
    clock.go_on(7200.0)
    assert file.fresh
    file.write("last\n", header="h\n")
    file.close()
    assert names(tmp_path) == ["a.2026-11-21T15-00-00Z.csv", "a.2026-11-21T16-00-00Z.csv", "a.csv"]
    assert (tmp_path / "a.2026-11-21T15-00-00Z.csv").read_text() == "h\n0\n1\n"
    assert (tmp_path / "a.2026-11-21T16-00-00Z.csv").read_text() == "h\n2\n3\n4\n"
    assert (tmp_path / "a.csv").read_text() == "h\nlast\n"


def test_rotation_never_overwrites(tmp_path):
    clock = HandClock()
    (tmp_path / "a.2026-11-21T15-00-00Z.jsonl").write_text("theirs\n")
    for number in (2, 3):
        clock.wall = datetime(2026, 11, 21, 15, 59, 59, tzinfo=timezone.utc)  # a wall clock that jumped back
        file = GrowingFile(tmp_path / "a.jsonl", Growth(clock, 3600.0))
        file.write(f"{number}\n")
        clock.go_on(1.0)
        file.write("next\n")
        file.close()
        (tmp_path / "a.jsonl").unlink()
    assert (tmp_path / "a.2026-11-21T15-00-00Z.jsonl").read_text() == "theirs\n"
    assert (tmp_path / "a.2026-11-21T15-00-00Z-2.jsonl").read_text() == "2\n"
    assert (tmp_path / "a.2026-11-21T15-00-00Z-3.jsonl").read_text() == "3\n"


def test_a_wall_clock_that_jumps_back_loses_nothing(tmp_path):
    clock = HandClock()
    file = GrowingFile(tmp_path / "a.jsonl", Growth(clock, 60.0))
    written = []
    for seconds in (0, 30, 60, -3600, 3600, -1, 1, 86400):
        clock.wall += timedelta(seconds=seconds)
        written.append(f"{len(written)}\n")
        file.write(written[-1])
    file.close()
    found = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines(keepends=True)]
    assert sorted(found) == written


def test_a_file_of_an_earlier_period_is_not_continued(tmp_path):
    clock = HandClock()
    path = tmp_path / "a.jsonl"
    path.write_text("of noon\n")
    noon = datetime(2026, 11, 21, 12, 30, 5, tzinfo=timezone.utc).timestamp()
    os.utime(path, (noon, noon))
    file = GrowingFile(path, Growth(clock, 3600.0))
    file.write("of now\n")
    file.close()
    assert (tmp_path / "a.2026-11-21T12-00-00Z.jsonl").read_text() == "of noon\n"
    assert path.read_text() == "of now\n"


def test_what_cannot_be_continued_is_set_aside(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\nold")
    noon = datetime(2026, 11, 21, 12, 30, 5, tzinfo=timezone.utc).timestamp()
    os.utime(path, (noon, noon))
    file = GrowingFile(path, Growth(HandClock(), continued=False))
    file.write("cue\n", header="WEBVTT\n\n")
    file.reopen()  # nobody moved it: it is ours, and goes on
    file.write("cue\n", header="WEBVTT\n\n")
    file.close()
    assert (tmp_path / "a.2026-11-21T12-30-05Z.vtt").read_text() == "WEBVTT\n\nold"
    assert path.read_text() == "WEBVTT\n\ncue\ncue\n"


def test_a_file_that_was_moved_away_is_begun_anew_when_reopened(tmp_path):
    path = tmp_path / "a.csv"
    file = GrowingFile(path, Growth(HandClock()))
    file.write("1\n", header="h\n")
    path.rename(tmp_path / "a.csv.1")
    file.write("2\n", header="h\n")
    file.reopen()
    file.write("3\n", header="h\n")
    file.close()
    assert (tmp_path / "a.csv.1").read_text() == "h\n1\n2\n"
    assert path.read_text() == "h\n3\n"


def test_a_file_that_was_emptied_begins_with_its_header(tmp_path):
    path = tmp_path / "a.csv"
    file = GrowingFile(path, Growth(HandClock()))
    file.write("1\n", header="h\n")
    os.truncate(path, 0)  # logrotate's copytruncate
    file.write("2\n", header="h\n")
    file.close()
    assert path.read_text() == "h\n2\n"


def test_a_full_disk_is_one_error_and_room_later_is_used(tmp_path):
    file = GrowingFile(Path("/dev/full"), Growth(HandClock(), 60.0))
    for _ in range(2):
        with pytest.raises(OutputError, match="/dev/full: No space left on device; what was written before is kept"):
            file.write("x\n")
    file.close()


def test_a_file_that_may_not_grow_ends_with_a_whole_line(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from ascstream.errors import OutputError\n"
        "from ascstream.live.clock import Clock\n"
        "from ascstream.sinks.growing import GrowingFile, Growth\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "file = GrowingFile(Path(sys.argv[1]), Growth(Clock()))\n"
        "try:\n"
        "    while True: file.write('x' * 29 + '\\n')\n"
        "except OutputError as error: print(error)\n"
        "try: file.write('y' * 9 + '\\n')\n"
        "except OutputError as error: print(error)\n"
        "file.close()\n"
    )
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == f"{path}: File too large; what was written before is kept\n"
    assert path.read_text() == ("x" * 29 + "\n") * 33 + "y" * 9 + "\n"


def test_a_named_pipe_is_neither_rotated_nor_read(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    read: list[str] = []
    side = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(side, True)
    with os.fdopen(side) as reading:
        reader = threading.Thread(target=lambda: read.append(reading.read()))
        clock = HandClock()
        file = GrowingFile(pipe, Growth(clock, 1.0))
        reader.start()
        for number in range(3):
            file.write(f"{number}\n", header="h\n")
            clock.go_on(10.0)
            file.reopen()
        file.close()
        reader.join(10)
    assert read == ["h\n0\n1\n2\n"]
    assert names(tmp_path) == ["pipe.csv"]


def test_a_named_pipe_that_nobody_reads_is_an_error_at_once(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match=r"pipe\.jsonl: nobody reads this named pipe; start its reader first: cat /"):
        GrowingFile(pipe, Growth(HandClock()))


@pytest.mark.slow
def test_a_named_pipe_that_is_not_emptied_is_an_error_after_a_while(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    side = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = GrowingFile(pipe, Growth(HandClock()))
    with pytest.raises(OutputError, match=r"pipe\.jsonl: its reader has taken nothing for 5 s; what was written"):
        file.write("x" * 2**20 + "\n")
    file.close()
    os.close(side)


def test_a_folder_that_went_away_is_an_error_that_names_the_path(tmp_path):
    with pytest.raises(OutputError, match=r"gone/a\.jsonl: No such file or directory"):
        GrowingFile(tmp_path / "gone/a.jsonl", Growth(HandClock()))


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.5, float("nan")])
def test_a_period_is_a_second_at_least(seconds):
    with pytest.raises(UsageError, match="rotate: expected a period of 1 s or more, got"):
        Growth(HandClock(), seconds)


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    code = (
        "import json, os, sys; from pathlib import Path\n"
        "from ascstream.live.clock import Clock\n"
        "from ascstream.sinks.growing import GrowingFile, Growth\n"
        "file = GrowingFile(Path(sys.argv[1]), Growth(Clock()))\n"
        "for end in range(50): file.write(json.dumps({'end': end}) + '\\n')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert [json.loads(line)["end"] for line in path.read_text().splitlines()] == list(range(50))
