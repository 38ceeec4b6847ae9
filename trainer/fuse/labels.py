"""Merges two manifests: groups, licence, thresholds, window and inputs; errors name what cannot be merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from engines.bundle import Bundle
from engines.manifest import InputSpec, Manifest, Thresholds, VideoInput, WindowSpec
from trainer.errors import ConfigError


def check_halves(audio: Bundle, video: Bundle) -> None:
    """Check that one bundle takes only audio and the other only video.

    Raises:
        ConfigError: They do not, or one has presence flags; the message says what it takes.
    """
    for bundle, wanted, verb in ((audio, "audio", "hears"), (video, "video", "sees")):
        manifest = bundle.manifest
        if manifest.modalities != (wanted,):
            got = " and ".join(manifest.modalities)
            raise ConfigError(
                f"{bundle.path}: expected a bundle that only {verb}, got one of {got}; "
                "type: trainer fuse AUDIO_BUNDLE VIDEO_BUNDLE --out BUNDLE"
            )
        if manifest.presence_input is not None:
            raise ConfigError(
                f"{bundle.path}: expected a bundle without presence flags, which mean nothing where there is "
                f"{wanted} alone, got the input {manifest.presence_input[0]!r}; export it without"
            )


def merge_groups(audio: Manifest, video: Manifest) -> dict[str, tuple[str, ...]]:
    """Merge the groups of both: each has the labels that either manifest puts into it.

    Raises:
        ConfigError: A label is in different groups, or a group of one is a label of the other.
    """
    group_of: dict[str, tuple[str, Manifest]] = {}
    for manifest in (audio, video):
        for group, members in manifest.groups.items():
            for label in members:
                other, source = group_of.setdefault(label, (group, manifest))
                if other != group:
                    raise ConfigError(
                        f"groups: expected {label!r} in one group, got {other!r} in {source.name} and {group!r} in "
                        f"{manifest.name}; export one of them with the other's groups"
                    )
    labels = {*audio.labels, *video.labels}
    groups = sorted({group for group, _ in group_of.values()})
    for group in groups:
        if group in labels:
            raise ConfigError(f"groups: expected groups that are no labels, got {group!r} as both; rename one of them")
    return {group: tuple(sorted(label for label, (of, _) in group_of.items() if of == group)) for group in groups}


def merge_licences(audio: str, video: str) -> str:
    """Return an SPDX expression that covers both: the common one if they are equal, otherwise both joined by AND."""
    if audio == video:
        return audio
    return " AND ".join(f"({entry})" if " OR " in entry.upper() else entry for entry in (audio, video))


def merge_thresholds(audio: Thresholds, video: Thresholds) -> Thresholds:
    """Return the audio bundle's thresholds, but the video bundle's luma below which the lens counts as covered."""
    return replace(audio, dark_luma=video.dark_luma)


def fit_window(video: Manifest, window: WindowSpec) -> tuple[InputSpec, ...]:
    """Return a video bundle's inputs with frame times within the audio bundle's window.

    If the windows differ, a single frame keeps its relative position in the window; several frames are not moved, as
    their distance may matter to the network.

    Raises:
        ConfigError: The windows differ and there are several frames.
    """
    own = Fraction(str(video.window.seconds))
    wanted = Fraction(str(window.seconds))
    if own == wanted:
        return video.inputs
    spec = video.video_input
    if spec is None or len(spec[1].frame_times_seconds) > 1:
        raise ConfigError(
            f"{video.name}: expected windows of {window.seconds:g} s as the audio bundle's, or a single frame, "
            f"got {video.window.seconds:g} s with several; export one of the bundles with the other's window"
        )
    return tuple(
        entry if entry.video is None else replace(entry, video=_moved(entry.video, wanted / own))
        for entry in video.inputs
    )


def _moved(video: VideoInput, factor: Fraction) -> VideoInput:
    """Move the frame to the same relative position in a window scaled by `factor`; the age limit only ever grows."""
    times = tuple(float(Fraction(str(time)) * factor) for time in video.frame_times_seconds)
    age = float(Fraction(str(video.max_age_seconds)) * max(factor, Fraction(1)))
    return replace(video, frame_times_seconds=times, max_age_seconds=age)


def parse_odds(words: Iterable[str]) -> dict[str, float]:
    """Parse prior odds as typed by the user, each LABEL=ODDS.

    Raises:
        ConfigError: One has another form.
    """
    odds: dict[str, float] = {}
    for word in words:
        label, _, value = word.rpartition("=")
        try:
            odds[label] = float(value if label else "")
        except ValueError:
            raise ConfigError(f"--prior: expected LABEL=ODDS, as in park=2, got {word!r}") from None
    return odds
