"""Settings files: what may stand in them, which one counts, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ascstream.cli.options import Number, SettingOption
from ascstream.errors import UsageError
from ascstream.settings import find_settings_file, read_settings_file


def option(name: str, **attributes: object) -> SettingOption:
    return SettingOption([f"--{name}"], **attributes)


STEP = option("step", type=Number("a duration in seconds, above 0", above=0))
BUNDLE = option("bundle")
STRICT = SettingOption(["--strict/--no-strict"])
FORMAT = option("format", type=click.Choice(["csv", "jsonl"]))
THREADS = option("threads", type=Number("a whole number of threads, 1 to 8", minimum=1, maximum=8, whole=True))
TABLES = {"file": (STEP, BUNDLE, STRICT, FORMAT, THREADS), "bench": (BUNDLE, THREADS)}


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_a_table_wins_over_the_top_and_the_top_reaches_every_command(settings_file: Path) -> None:
    settings_file.write_text('bundle = "wide"\nthreads = 2\n[file]\nthreads = 4\nstep = 0.25\nstrict = true\n')
    assert read_settings_file(settings_file, TABLES) == {
        "file": {"bundle": "wide", "threads": 4, "step": 0.25, "strict": True},
        "bench": {"bundle": "wide", "threads": 2},
    }


def test_an_empty_file_and_a_byte_order_mark_are_fine(settings_file: Path) -> None:
    settings_file.write_bytes(b"\xef\xbb\xbf# nothing yet\n")
    assert read_settings_file(settings_file, TABLES) == {"file": {}, "bench": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[file]\nstpe = 1", "[file] stpe: unknown setting; did you mean 'step'?"),
        ("[file]\nout = 'a'", "[file] out: unknown setting; known: bundle, format, step, strict, threads"),
        ("[bench]\nstep = 1", "[bench] step: unknown setting; known: bundle, threads"),
        ("[fil]\nstep = 1", "[fil]: unknown table; did you mean 'file'?"),
        ("bundel = 'x'", "bundel: unknown setting; did you mean 'bundle'?"),
        ("file = 1", "file: expected a table, [file], got 1"),
        ("step = 'fast'", 'step: expected a duration in seconds, above 0, got "fast"'),
        ("step = true", "step: expected a duration in seconds, above 0, got true"),
        ("step = 0", "step: expected a duration in seconds, above 0, got '0'"),
        ("step = nan", "step: expected a duration in seconds, above 0, got 'nan'"),
        ("step = inf", "step: expected a duration in seconds, above 0, got 'inf'"),
        ("step = [1]", "step: expected a duration in seconds, above 0, got [1]"),
        ("threads = 2.5", "threads: expected a whole number of threads, 1 to 8, got '2.5'"),
        ("threads = 9", "threads: expected a whole number of threads, 1 to 8, got '9'"),
        ("bundle = 3", "bundle: expected a string, got 3"),
        ("[file]\nstrict = 'yes'", '[file] strict: expected true or false, got "yes"'),
        ("[file]\nstrict = 1", "[file] strict: expected true or false, got 1"),
        ("format = 'cvs'", 'format: expected one of "csv", "jsonl", got "cvs"'),
    ],
)
def test_what_cannot_be_is_named_with_file_and_key(settings_file: Path, text: str, message: str) -> None:
    settings_file.write_text(text + "\n")
    with pytest.raises(UsageError) as caught:
        read_settings_file(settings_file, TABLES)
    assert str(caught.value) == f"{settings_file}: {message}"


@pytest.mark.parametrize("content", [b"step = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_what_is_not_toml_is_said(settings_file: Path, content: bytes) -> None:
    settings_file.write_bytes(content)
    with pytest.raises(UsageError, match=r"config\.toml: expected TOML, got something else"):
        read_settings_file(settings_file, TABLES)


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_settings_file(tmp_path, TABLES)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"absent\.toml: expected a settings file \(flag --config\), got nothing there"
    ):
        find_settings_file(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 30_000, "expected TOML, got something else: "),
        ("a." * 40_000 + "b = 1", "expected a settings file of at most 65536 bytes, got a larger one"),
    ],
    ids=["brackets", "dots"],
)
def test_a_file_made_to_take_for_ever_is_refused(settings_file: Path, text: str, message: str) -> None:
    settings_file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_settings_file(settings_file, TABLES)
    assert str(caught.value).startswith(f"{settings_file}: {message}")
