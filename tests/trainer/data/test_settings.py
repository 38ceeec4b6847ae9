"""What is decoded for which inputs, and whether what was decoded serves others."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from support.clips import BOTH, RATE, SMALL, STEREO

from engines.manifest import AudioInput, VideoInput
from engines.manifest import WaveformFeature as Waveform
from trainer.data.settings import PictureSettings, Settings, SoundSettings, check_settings, settings_for
from trainer.errors import ConfigError, DataError
from trainer.inputs import Inputs

AUDIO = AudioInput(RATE, "left,right,difference", Waveform("waveform"))
MONO = replace(AUDIO, channels="mono")
VIDEO = VideoInput(32, 24, "squash", (0.1, 0.5), 0.5)


def test_settings_follow_the_inputs() -> None:
    assert settings_for(Inputs(AUDIO, None, VIDEO)) == BOTH
    assert settings_for(Inputs(MONO, None, None)) == Settings(SoundSettings(RATE, 1))
    assert settings_for(Inputs(MONO, AUDIO, None)) == Settings(STEREO)
    refusing = replace(AUDIO, mono_source="refuse")
    assert settings_for(Inputs(refusing, None, None)) == Settings(SoundSettings(RATE, 2, refuse_mono=True))
    crop = replace(VIDEO, fit="crop", short_side=40, interpolation="area")
    assert settings_for(Inputs(None, None, crop), 10) == Settings(
        None, PictureSettings(32, 24, "crop", "area", 40, 10)
    )  # fmt: skip


def test_the_decoder_is_asked_for_a_grid_from_zero() -> None:
    wants = replace(SMALL, frame_rate=12.5).wants
    assert wants.schedule.step_seconds == Fraction(2, 25)
    assert [wants.schedule.next_slot(time) for time in (0.0, 0.01, 0.08, 0.09)] == [0.0, 0.08, 0.08, 0.16]


@pytest.mark.parametrize("rate", [0.0, -1.0, 241.0, float("nan")])
def test_a_frame_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="--frame-rate: expected a number above 0 and at most 240, got"):
        settings_for(Inputs(None, None, VIDEO), rate)


def test_a_frame_rate_too_low_for_the_inputs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--frame-rate: expected at least 2 frames a second, .* got 1$"):
        settings_for(Inputs(None, None, VIDEO), 1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (Inputs(replace(AUDIO, sample_rate=22_050), None, None), "sound at 22050 Hz, got one prepared at 16000 Hz"),
        (Inputs(None, None, replace(VIDEO, width=64)), "pictures of 64×24, got them prepared at 32×24"),
        (Inputs(None, None, replace(VIDEO, fit="crop")), "pictures of fit crop, got them prepared with squash"),
        (Inputs(None, None, replace(VIDEO, interpolation="area")), "of interpolation area, got them prepared with bil"),
        (Inputs(None, None, replace(VIDEO, max_age_seconds=0.1)), "a picture every 0.1 s (video.max_age_seconds), got"),
    ],
)
def test_inputs_that_were_not_prepared_are_refused(inputs: Inputs, message: str) -> None:
    with pytest.raises(DataError) as error:
        check_settings("corpus", BOTH, inputs)
    assert str(error.value).startswith("corpus: expected ")
    assert message in str(error.value)
    assert "trainer prepare CORPUS OUT --config CONFIG" in str(error.value)


def test_a_part_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(DataError, match="expected sound, got a corpus that was prepared without"):
        check_settings("corpus", Settings(None, SMALL), Inputs(MONO, None, None))
    with pytest.raises(DataError, match="expected pictures, got a corpus that was prepared without"):
        check_settings("corpus", Settings(STEREO), Inputs(MONO, None, VIDEO))
    with pytest.raises(DataError, match="expected sound on left and right, got one prepared in mono"):
        check_settings("corpus", Settings(SoundSettings(RATE, 1)), Inputs(AUDIO, None, None))


def test_stereo_serves_mono_and_pictures_may_stay_unused() -> None:
    check_settings("corpus", BOTH, Inputs(MONO, None, None))
    check_settings("corpus", BOTH, Inputs(None, None, replace(VIDEO, scale=1.0)))


def test_differences_are_named() -> None:
    other = Settings(replace(STEREO, sample_rate=8000), replace(SMALL, short_side=40))
    assert BOTH.differences(other) == ["sound.sample_rate: 16000 and 8000", "picture.short_side: None and 40"]
    assert BOTH.differences(Settings(STEREO)) == ["picture: some and none"]
    assert BOTH.differences(BOTH) == []
