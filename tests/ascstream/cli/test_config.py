"""`ascstream config`: values, origins, and who wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import ascstream


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('threads = 2\n[file]\nstep = 0.2\nsmoothing = 3\nformat = "csv"\n[bench]\nstep = 0.5\n')
    return path


def shown(*words: object, env: dict[str, str] | None = None) -> dict[tuple[str, str], tuple[object, str]]:
    done = ascstream("config", "show", "--json", *words, env=env)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    return {(entry["command"], entry["name"]): (entry["value"], entry["origin"]) for entry in report["settings"]}


def test_flag_beats_environment_beats_file_beats_default(settings_file: Path) -> None:
    env = {"ASCSTREAM_FILE_SMOOTHING": "5", "ASCSTREAM_FILE_STEP": "0.3"}
    settings = shown("--config", settings_file, "file", "--step", "0.4", env=env)
    assert settings["file", "step"] == (0.4, "flag --step")
    assert settings["file", "smoothing"] == (5.0, "environment ASCSTREAM_FILE_SMOOTHING")
    assert settings["file", "format"] == ("csv", f"file {settings_file}")
    assert settings["file", "threads"] == (2, f"file {settings_file}")
    assert settings["file", "backend"] == ("auto", "default")
    assert settings["file", "bundle"] == (None, "default")
    assert {command for command, _ in settings} == {"file"}


def test_every_command_with_settings_is_shown_with_its_own(settings_file: Path) -> None:
    settings = shown(
        env={"ASCSTREAM_CONFIG": str(settings_file), "ASCSTREAM_THREADS": "3", "ASCSTREAM_BENCH_STEP": "1"}
    )
    assert settings["file", "step"] == (0.2, f"file {settings_file}")
    assert settings["bench", "step"] == (1.0, "environment ASCSTREAM_BENCH_STEP")
    assert settings["file", "threads"] == (3, "environment ASCSTREAM_THREADS")
    assert settings["bench", "threads"] == (3, "environment ASCSTREAM_THREADS")
    assert ("bench", "strict") not in settings


def test_the_variable_of_one_command_beats_the_shared_one() -> None:
    settings = shown("file", env={"ASCSTREAM_STEP": "0.7", "ASCSTREAM_FILE_STEP": "0.6"})
    assert settings["file", "step"] == (0.6, "environment ASCSTREAM_FILE_STEP")


def test_a_switch_in_the_file_can_be_turned_off_again(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("strict = true\n")
    assert shown("--config", tmp_path / "c.toml", "file")["file", "strict"][0] is True
    assert shown("--config", tmp_path / "c.toml", "file", "--no-strict")["file", "strict"] == (False, "flag --strict")


def test_the_table_for_people_names_file_value_and_origin(settings_file: Path) -> None:
    done = ascstream("--config", settings_file, "config", "show")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"settings file: {settings_file} (flag --config)"
    assert f"step 0.2 file {settings_file}" in lines
    assert "bundle the one that ships with ascstream default" in lines


def test_path_is_the_users_own_unless_told_otherwise(tmp_path: Path, settings_file: Path) -> None:
    assert (
        ascstream("config", "path", env={"XDG_CONFIG_HOME": str(tmp_path)}).stdout
        == f"{tmp_path}/ascstream/config.toml\n"
    )
    assert ascstream("config", "path", env={"ASCSTREAM_CONFIG": str(settings_file)}).stdout == f"{settings_file}\n"


@pytest.mark.parametrize("words", [["config", "show"], ["file", "x.wav"], ["bench"]])
def test_a_wrong_file_is_refused_by_every_command_that_reads_it(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "c.toml").write_text("[bench]\nthread = 1\n")
    done = ascstream("--config", tmp_path / "c.toml", *words)
    assert done.returncode == 2
    assert done.stderr == f"ascstream: {tmp_path}/c.toml: [bench] thread: unknown setting; did you mean 'threads'?\n"


def test_a_wrong_variable_is_named() -> None:
    done = ascstream("file", "x.wav", env={"ASCSTREAM_STEP": "often"})
    assert done.returncode == 2
    assert done.stderr == (
        "ascstream: Invalid value for environment variable ASCSTREAM_STEP: "
        "expected a duration in seconds, above 0, got 'often'\nTry 'ascstream file --help'.\n"
    )


def test_a_settings_file_that_is_not_there_is_refused_only_if_asked_for(tmp_path: Path) -> None:
    done = ascstream("config", "show", "--config", tmp_path / "absent.toml")
    assert (done.returncode, done.stderr) == (
        2,
        f"ascstream: {tmp_path}/absent.toml: expected a settings file (flag --config), got nothing there\n",
    )
    assert ascstream("config", "show").returncode == 0


def test_a_default_that_depends_is_said_in_words() -> None:
    line = next(line for line in ascstream("config", "show").stdout.splitlines() if line.startswith("format "))
    assert line.split(maxsplit=1)[1].startswith("view, or lines on a pipe ")


def test_a_mistyped_variable_is_named_and_ignored() -> None:
    env = {"ASCSTREAM_STPE": "0.5", "ASCSTREAM_XYZZY": "1", "ASCSTREAM_BENCH_STEP": "1", "ASCSTREAM_TEST_DATA": "x"}
    done = ascstream("config", "path", env=env)
    assert done.returncode == 0
    assert done.stderr == (
        "ascstream: environment: ASCSTREAM_STPE is no setting and is ignored; did you mean ASCSTREAM_STEP?\n"
        "ascstream: environment: ASCSTREAM_XYZZY is no setting and is ignored; see: ascstream config show\n"
    )


def test_passwords_are_not_shown() -> None:
    env = {"ASCSTREAM_SOURCE": "rtsp://me:hunter2@host/live?token=hunter3"}
    assert shown("live", env=env)["live", "source"][0] == "rtsp://***@host/live?token=***"
    text = ascstream("config", "show", env=env).stdout
    assert "rtsp://***@host/live?token=***" in text
    assert "hunter" not in text
