"""Value types of the command line: times of a medium, and numbers within bounds."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascstream.cli.options import Number, Period, TimeCode, bundle_settings
from engines.backends import backends


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), (".5", 0.5), ("1:30", 90), ("00:01:02.5", 62.5), ("100:00:00", 360_000), ("0:00", 0)],
)
def test_a_time_is_seconds_or_a_clock(text: str, seconds: float) -> None:
    assert TimeCode().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:75:00", "1h", "nan", "inf", "1e3", "1:2:3:4", ":30", "١"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected seconds or hh:mm:ss, got"):
        TimeCode().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1.5min", 90), ("90s", 90), ("1h", 3600), ("1d", 86_400), ("1:30", 90)]
)
def test_a_period_may_have_a_unit(text: str, seconds: float) -> None:
    assert Period().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["0", "0m", "1y", "m", "-1m", "1 m", "1:30m", "9" * 400 + "m"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected seconds or hh:mm:ss, above 0, got"):
        Period().convert(text, None, None)


@given(st.integers(0, 10**6))
def test_every_clock_time_means_its_milliseconds(ms: int) -> None:
    seconds, rest = divmod(ms, 1000)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
    assert TimeCode().convert(text, None, None) == pytest.approx(ms / 1000, abs=1e-9)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_taken_exactly_within_its_bounds(value: float) -> None:
    kind = Number("a number above 0, at most 60", above=0, maximum=60)
    if 0 < value <= 60:
        assert kind.convert(repr(value), None, None) == value
    else:
        with pytest.raises(click.BadParameter, match="expected a number above 0, at most 60, got"):
            kind.convert(repr(value), None, None)


def test_the_backends_of_the_help_are_those_of_the_engines() -> None:
    @bundle_settings
    @click.command()
    def probe() -> None:
        """Nothing."""

    choice = next(param.type for param in probe.params if param.name == "backend")
    assert isinstance(choice, click.Choice)
    assert tuple(choice.choices) == backends()
