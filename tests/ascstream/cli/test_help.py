"""What needs no work: help, version, suggestions, completion, and how little is loaded for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ascstream

from ascstream import __version__
from ascstream.cli.app import SUBCOMMANDS
from ascstream.cli.file import FORMATS
from ascstream.sinks import formats


def test_version_is_one_line() -> None:
    done = ascstream("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ascstream {__version__}\n", "")


def test_help_shows_every_command_examples_and_exit_codes() -> None:
    done = ascstream("--help")
    assert done.returncode == 0
    for command in SUBCOMMANDS:
        assert f"\n  {command} " in done.stdout
    assert "Examples:" in done.stdout
    assert "129, 130, 143" in done.stdout


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_has_help_on_both_spellings(command: str) -> None:
    long, short = ascstream(command, "--help"), ascstream(command, "-h")
    assert long.returncode == short.returncode == 0
    assert long.stdout == short.stdout
    assert long.stdout.startswith(f"Usage: ascstream {command} ")


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["file", "--help"], ["config", "path"], ["bench", "--help"]]
)
def test_nothing_heavy_is_loaded_for_it(words: list[str]) -> None:
    probe = (
        "import sys\nfrom ascstream.cli import main\n"
        f"code = main({words!r})\n"
        "heavy = {'numpy', 'av', 'onnxruntime', 'rich', 'sounddevice', 'torch'} & set(sys.modules)\n"
        "sys.stderr.write(f'{code} {sorted(heavy)}')"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr == "0 []"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fil"], "ascstream: No such command 'fil': did you mean 'file'?\nTry 'ascstream --help'.\n"),
        (["devcies"], "ascstream: No such command 'devcies': did you mean 'devices'?\nTry 'ascstream --help'.\n"),
        (
            ["pyproject.toml"],
            "ascstream: No such command 'pyproject.toml': to classify it, type: ascstream file pyproject.toml\n"
            "Try 'ascstream --help'.\n",
        ),
        (
            ["xyzzy"],
            "ascstream: No such command 'xyzzy': "
            "expected one of live, file, devices, doctor, bench, engine, bundle, config, completion.\n"
            "Try 'ascstream --help'.\n",
        ),
        (
            ["config", "shwo"],
            "ascstream: No such command 'shwo': did you mean 'show'?\nTry 'ascstream config --help'.\n",
        ),
    ],
)
def test_a_slip_gets_a_suggestion(words: list[str], message: str) -> None:
    done = ascstream(*words, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == message


def test_a_slip_in_an_option_gets_a_suggestion() -> None:
    done = ascstream("file", "x", "--stepp", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ascstream: No such option")
    assert "--step" in done.stderr.replace("--stepp", "")


def test_without_a_command_the_help_goes_to_stderr() -> None:
    done = ascstream()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ascstream [OPTIONS] COMMAND")


def test_the_formats_of_the_help_are_those_of_the_sinks() -> None:
    assert formats() == FORMATS


def test_the_bash_script_is_valid_and_completes_commands_and_options() -> None:
    done = ascstream("completion", "bash")
    assert done.returncode == 0
    assert done.stdout.startswith("# for good: echo")
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0

    def completes(words: str, position: int) -> list[str]:
        env = {"_ASCSTREAM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        return [line.partition(",")[2] for line in ascstream(env=env).stdout.splitlines()]

    assert completes("ascstream ", 1) == list(SUBCOMMANDS)
    assert completes("ascstream f", 1) == ["file"]
    assert "--step" in completes("ascstream file --s", 2)
    assert completes("ascstream file --precision fl", 3) == ["float32", "float16"]
    assert completes("ascstream file --bundle slim", 3) == [
        "slim",
        "slim-audio",
        "slim-av",
    ]  # a folder, then what ships
    assert "slim-audio" in completes("ascstream bench --bundle ", 3)


def test_a_clip_completes_as_a_path() -> None:
    for words in ("ascstream bench cl", "ascstream file cl"):
        env = {"_ASCSTREAM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
        assert ascstream(env=env).stdout == "file,cl\n"


def test_the_help_cuts_no_description_at_80_columns() -> None:
    done = ascstream("--help", env={"COLUMNS": "80"})
    commands = done.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert len(commands.splitlines()) == len(SUBCOMMANDS)
    assert "..." not in commands
    assert "[default: what `ascstream config path` prints]" in " ".join(done.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["file", "--help"]])
def test_the_examples_run_ffmpeg_without_its_progress(words: list[str]) -> None:
    example = "  ffmpeg -v error -nostdin -i URL -c copy -f matroska - | ascstream file -\n"
    assert example in ascstream(*words, env={"COLUMNS": "80"}).stdout


def test_the_bash_script_offers_file_in_a_real_shell() -> None:
    from support.commands import COMMAND, environment

    script = (
        f'PATH="{COMMAND.parent}:$PATH"; eval "$(ascstream completion bash)"; '
        'COMP_WORDS=(ascstream fi); COMP_CWORD=1; _ascstream_completion ascstream; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=environment(), timeout=60
    )
    assert done.stdout == "file\n", done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_too(shell: str) -> None:
    done = ascstream("completion", shell)
    assert done.returncode == 0
    assert f"_ASCSTREAM_COMPLETE={shell}_complete" in done.stdout
