"""Files that appear whole: renames, rights, full disks, pipes, devices, interrupts."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import FrameType

import pytest
from support.predictions import feed, make_info, make_prediction

from ascstream.errors import OutputError
from ascstream.sinks import Sink, SinkGroup, open_sink
from ascstream.sinks.output import FileOutput, StandardOutput
from ascstream.stats import StreamStats


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def descriptor_of(draft: Path) -> int:
    """The descriptor under which this process has a file open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.readlink() == draft]
    return int(links[0].name)


def close_interrupted(output: FileOutput, line: int) -> bool:
    """Close, with Ctrl-C before this line of those that are run; False if there are not so many."""
    left = count(line, -1)

    def trace(frame: FrameType, event: str, _argument: object) -> object:
        if frame.f_code.co_filename != sys.modules[FileOutput.__module__].__file__:
            return None
        if event == "line" and next(left) == 0:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        output.close()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def emit_for_ever(sink: Sink, emitted: list[float] | None = None) -> None:
    for end in count(1.0):
        if emitted is not None:
            emitted.append(end)
        sink.emit(make_prediction(end))


def test_a_file_appears_only_when_it_is_closed_and_then_replaces_the_old(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    output = FileOutput(path)
    output.keep()
    output.write("new\n")
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    output.close()
    output.close()
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["a.txt"]


def test_a_new_file_gets_the_usual_rights(tmp_path):
    (tmp_path / "usual").touch()
    output = FileOutput(tmp_path / "a.txt")
    output.keep()
    output.write("x")
    output.close()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_not_worth_keeping_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    output = FileOutput(path)
    output.write("header only\n")
    output.close()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    output = FileOutput(link)
    output.keep()
    output.write("new")
    output.close()
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_file_that_may_not_be_whole_is_not_put_in_place(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    output = FileOutput(path)
    output.keep()
    output.write("new\n")
    (draft,) = tmp_path.glob(".*")
    read, write = os.pipe()
    os.dup2(write, descriptor_of(draft))  # as on a file system that fails: it can be neither cut nor flushed
    os.close(write)
    with pytest.raises(OutputError) as caught:
        output.close()
    os.close(read)
    output.close()
    assert str(caught.value) == f"{path}: Invalid argument; what was written is in {draft}"
    assert (path.read_text(), draft.read_text()) == ("old", "new\n")


def test_an_interrupt_at_any_line_leaves_whole_records_in_place(tmp_path):
    path = tmp_path / "a.jsonl"
    found = []
    for line in count():
        path.write_text("old")
        output = FileOutput(path)
        output.keep()
        output.write('{"whole":1}\n')
        (draft,) = tmp_path.glob(".*")
        os.write(descriptor_of(draft), b'{"sec')  # of a record that a signal cut short
        interrupted = close_interrupted(output, line)
        found.append(path.read_text())
        draft.unlink(missing_ok=True)
        if not interrupted:
            break
    assert set(found) == {"old", '{"whole":1}\n'}
    assert found[-1] != "old"


def test_a_file_system_that_cannot_flush_is_no_error(tmp_path):
    path = tmp_path / "a.txt"
    output = FileOutput(path)
    output.keep()
    output.write("new\n")
    (draft,) = tmp_path.glob(".*")
    with Path("/proc/self/comm").open("wb") as cannot:  # it can be cut, and has no way to be flushed
        os.dup2(cannot.fileno(), descriptor_of(draft))
    output.close()
    assert path.read_text() == "new\n"
    assert names(tmp_path) == ["a.txt"]


def test_what_is_not_wanted_goes_even_if_it_cannot_be_closed(tmp_path):
    output = FileOutput(tmp_path / "a.txt")
    output.write("header only\n")
    (draft,) = tmp_path.glob(".*")
    os.close(descriptor_of(draft))
    with pytest.raises(OutputError, match=r"a\.txt: Bad file descriptor$"):
        output.close()
    assert names(tmp_path) == []


def test_a_file_that_cannot_be_renamed_is_named(tmp_path):
    path = tmp_path / "a.txt"
    output = FileOutput(path)
    output.keep()
    output.write("new\n")
    (draft,) = tmp_path.glob(".*")
    path.mkdir()
    with pytest.raises(OutputError) as caught:
        output.close()
    assert str(caught.value) == f"{path}: Is a directory; what was written is in {draft}"
    assert draft.read_text() == "new\n"


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    output = FileOutput(Path("/dev/null"))
    output.keep()
    output.write("gone\n")
    output.close()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_named_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    sink = open_sink(str(pipe))
    feed(sink, [make_prediction(1.0)])
    sink.close()
    reader.join(10)
    assert [json.loads(line)["type"] for line in read[0].splitlines()] == ["prediction", "summary"]


def test_a_full_disk_names_the_path_and_keeps_whole_lines(small_disk):
    path = small_disk / "results.jsonl"
    sink = open_sink(str(path))
    stats = StreamStats("clip.mp4")
    sink.begin(make_info(), stats)
    with pytest.raises(OutputError, match=r"results\.jsonl: No space left on device; what was written before is kept"):
        emit_for_ever(sink)
    with pytest.raises(OutputError, match="No space left on device"):
        sink.emit(make_prediction(0.0))
    sink.close()
    assert names(small_disk) == ["results.jsonl"]
    lines = path.read_text().splitlines()
    assert len(lines) > 50
    assert [json.loads(line)["end"] for line in lines] == [index + 1.0 for index in range(len(lines))]


def test_a_disk_that_is_full_from_the_start_leaves_the_old_file_alone(small_disk):
    path = small_disk / "results.csv"
    path.write_text("old")
    (small_disk / "ballast").write_bytes(b"x" * 60 * 1024)
    sink = open_sink(str(path))
    with pytest.raises(OutputError, match=r"results\.csv: No space left on device$"):
        feed(sink, [make_prediction(1.0)])
    sink.close()
    assert path.read_text() == "old"
    assert names(small_disk) == ["ballast", "results.csv"]


def test_a_full_disk_costs_the_other_sinks_nothing(small_disk, tmp_path):
    group = SinkGroup([open_sink(str(small_disk / "a.jsonl")), open_sink(str(tmp_path / "b.csv"))])
    stats = StreamStats("clip.mp4")
    group.begin(make_info(), stats)
    emitted: list[float] = []
    with pytest.raises(OutputError, match="No space left on device"):
        emit_for_ever(group, emitted)
    group.end(stats.summary(), "stopped")
    group.close()
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 1 + len(emitted)
    assert len((small_disk / "a.jsonl").read_text().splitlines()) == len(emitted) - 1


def test_standard_output_is_flushed_line_by_line():
    code = (
        "import sys, time; sys.path.insert(0, 'tests')\n"
        "from support.predictions import make_info, make_prediction\n"
        "from ascstream.sinks import open_sink; from ascstream.stats import StreamStats\n"
        "sink = open_sink('-', 'jsonl'); sink.begin(make_info(), StreamStats('clip.mp4'))\n"
        "sink.emit(make_prediction(1.0)); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["end"] == 1.0
        assert process.poll() is None


def test_a_reader_that_went_away_is_a_broken_pipe():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        output = StandardOutput(stream)
        with pytest.raises(BrokenPipeError):
            output.write("x\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # as the command line does, for the flush at exit


def test_standard_output_on_a_full_disk_is_an_error():
    with open("/dev/full", "w") as stream:  # noqa: PTH123 - a device
        output = StandardOutput(stream)
        with pytest.raises(OutputError, match="standard output: No space left on device"):
            output.write("x\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_standard_output_is_utf8_whatever_the_locale():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from support.predictions import feed, make_info, make_prediction\n"
        "from ascstream.sinks import open_sink\n"
        "sink = open_sink('-', 'jsonl'); feed(sink, [make_prediction(1.0, source='Straße.wav')])\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=root, check=True)
    assert json.loads(done.stdout.splitlines()[0])["source"] == "Straße.wav"
