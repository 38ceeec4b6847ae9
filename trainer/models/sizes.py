"""Inputs and input sizes that each network takes; configurations that do not match are rejected before any work.

Does not need torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engines.manifest import InputSpec, input_shape
from trainer.config import Config
from trainer.errors import ConfigError
from trainer.inputs import FEATURES, FRAMES, WAVEFORM

Sizes = tuple[int | tuple[int, ...] | None, ...]
"""Sizes that a network accepts along each axis of an input: one number, a choice of numbers, or any (None)."""

_STEREO, _ANY_CHANNELS = (1, 2), (1, 2, 3)
_CLIP = (None, 3, 224, 224)
TAKES: Mapping[str, Mapping[str, Sizes]] = MappingProxyType(
    {
        "slim_audio": {FEATURES: (_ANY_CHANNELS, None, None)},
        "slim_av": {FEATURES: (_ANY_CHANNELS, None, None), FRAMES: (None, 3, None, None)},
        "slim_visual": {FRAMES: (None, 3, None, None)},
        "se_audio": {FEATURES: (_ANY_CHANNELS, 64, 50)},
        "se_visual": {FRAMES: (None, 3, None, None)},
        "se_crnn_early": {FEATURES: (3, 64, 50), FRAMES: (5, 3, None, None)},
        "se_crnn": {FEATURES: (3, 64, 50), FRAMES: (5, 3, None, None)},
        "wave": {WAVEFORM: (1, 48_000)},
        "spectrogram": {FEATURES: (1, 128, 188)},
        "wave_spec": {WAVEFORM: (1, 48_000), FEATURES: (1, 128, 188)},
        "resnet_audio": {FEATURES: (1, 128, None)},
        "resnet_clip": {FEATURES: (1, 128, None), FRAMES: _CLIP},
        "clip_probe": {FRAMES: _CLIP},
        "clip_zero_shot": {FRAMES: _CLIP},
        "subspectral": {FEATURES: (_STEREO, None, 500)},
        "subspectral_1s": {FEATURES: (_STEREO, None, 50)},
        "cp_mobile": {FEATURES: (1, 256, 65)},
        "cp_mobile_baseline": {FEATURES: (1, 256, 65)},
    }
)
"""Each network's inputs and their sizes: channels, bands, hops · channels, samples · frames, planes, height, width."""
_TABLES = MappingProxyType({FEATURES: "audio", WAVEFORM: "waveform", FRAMES: "video"})
_AXES = MappingProxyType(
    {FEATURES: ("channel", "band", "hop"), WAVEFORM: ("channel", "sample"), FRAMES: ("frame", "plane", "row", "column")}
)
_KEYS = MappingProxyType(
    {
        FEATURES: "audio.channels, audio.feature (n_mels or n_bands, hop_length, center), window.seconds and "
        "audio.context_seconds",
        WAVEFORM: "waveform.channels, waveform.sample_rate and window.seconds",
        FRAMES: "video.width, video.height and video.frame_times_seconds",
    }
)
"""Configuration keys that determine each input's shape."""
_ALIKE: Mapping[str, str] = MappingProxyType({"se_crnn_early": "se_crnn", "cp_mobile_baseline": "cp_mobile"})
"""Networks that use another one's configuration file with a different model.name."""

TRAINABLE = tuple(TAKES)
"""Values that model.name may have."""


def config_of(name: str) -> str | None:
    """Arguments for `trainer fit` that train a network as published; None: it cannot be trained that way."""
    if name not in TAKES:
        return None
    other = f" --set model.name={name}" if name in _ALIKE else ""
    return f"configs/{_ALIKE.get(name, name)}.toml{other}"


def check_sizes(config: Config) -> None:
    """Check that the configured network takes the configured inputs.

    Raises:
        ConfigError: It does not; the message says what it takes and which keys determine it.
    """
    network = config.model.name
    takes, shapes = TAKES[network], window_shapes(config)
    for name in shapes:
        if name not in takes:
            raise ConfigError(
                f"model.name: {network} takes {' and '.join(takes)}, got {name} too; "
                f"leave out the table [{_TABLES[name]}], or choose another model.name"
            )
    for name, sizes in takes.items():
        if name not in shapes or not _fits(shapes[name], sizes):
            got = "none" if name not in shapes else " × ".join(str(n) for n in shapes[name])
            raise ConfigError(
                f"model.name: {network} takes {name} of {_sentence(name, sizes)}, got {got}; set "
                f"{_KEYS[name]} as {str(config_of(network)).split()[0]} has them, or another model.name"
            )


def window_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of one window of each configured input; presence flags are not configured.

    Raises:
        ConfigError: A window is not a whole number of samples.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, audio in ((FEATURES, config.audio), (WAVEFORM, config.waveform)):
        if audio is not None:
            try:
                shapes[name] = input_shape(InputSpec(name, audio=audio), config.window)
            except ValueError as error:
                raise ConfigError(f"window.seconds and {_TABLES[name]}.context_seconds: {error}") from None
    if config.video is not None:
        shapes[FRAMES] = (len(config.video.frame_times_seconds), 3, config.video.height, config.video.width)
    return shapes


def _fits(shape: tuple[int, ...], sizes: Sizes) -> bool:
    """Whether a shape matches the accepted sizes."""
    choices = [(size,) if isinstance(size, int) else size for size in sizes]
    return len(shape) == len(sizes) and all(
        choice is None or size in choice for size, choice in zip(shape, choices, strict=True)
    )


def _sentence(name: str, sizes: Sizes) -> str:
    """Sizes in words, such as "1 or 3 channels × 64 bands × 50 hops"."""
    words = []
    for size, axis in zip(sizes, _AXES[name], strict=True):
        if size is None:
            words.append(f"any number of {axis}s")
        else:
            choices = (size,) if isinstance(size, int) else size
            words.append(f"{' or '.join(str(n) for n in choices)} {axis}{'' if choices == (1,) else 's'}")
    return " × ".join(words)
