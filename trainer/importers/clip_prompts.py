"""What CLIP is asked of a picture: several wordings of each scene in several sentences, and places that are no scene.

The words are ours, written before any picture was judged by them; the published zero-shot system's are unknown. A file
of the user's replaces all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from engines.errors import ManifestError, one_line
from engines.manifest import check_labels
from trainer.errors import ConfigError
from trainer.importers.files import SourceFile, read_file
from trainer.importers.imported import TEN_SCENES
from trainer.models.clip import PLACES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NONE = "none"
"""What a file calls places that are no scene of it."""
_MAX_BYTES, _MAX_SENTENCES, _LONGEST = 1 << 20, 10_000, 1000
"""Of a file; characters of a sentence, of which CLIP reads some 75 words."""
TEMPLATES = ("a photo of {}.", "a bad photo of {}.", "a wide photo of {}.", "a frame of a video of {}.")
"""Sentences that a wording is put into."""
WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "airport": ("an airport terminal", "travellers with luggage in a departure hall"),
        "bus": ("a city bus seen from a seat in it", "passengers inside a bus"),
        "metro": ("the inside of a metro carriage", "passengers inside a subway train"),
        "metro_station": ("a subway platform", "an underground station with a train at the platform"),
        "park": ("a city park with trees and lawns", "a path in a public garden"),
        "public_square": ("a town square with people", "an open plaza in a city"),
        "shopping_mall": ("the inside of a shopping centre", "shops in a mall"),
        "street_pedestrian": ("people walking in a shopping street", "a pedestrian zone in a city"),
        "street_traffic": ("a road with cars", "a busy street with cars and buses"),
        "tram": ("a tram seen from a seat in it", "passengers inside a streetcar"),
    }
)
"""How a scene may be called besides what `PLACES` calls it."""
OTHERS = (
    *("a kitchen", "a bedroom", "a living room", "a bathroom", "an office", "a classroom", "a hospital room"),
    *(
        "a restaurant",
        "a gym",
        "a factory hall",
        "a concert",
        "a sports field",
        "the inside of a car",
        "a parking garage",
    ),
    *("a forest", "a mountain", "a beach", "the sea", "a field", "the sky", "a face", "an animal", "food on a plate"),
    *("a screen with text", "a page of a book", "an object on a table", "a plain wall"),
)
"""Places and things that are none of the ten."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is asked."""

    scenes: Mapping[str, tuple[str, ...]]
    """Label to its sentences, labels in alphabetical order; an answer is about the mean of them."""
    others: tuple[tuple[str, ...], ...] = ()
    """The sentences of each place that is no scene."""
    source: SourceFile | None = None
    """The file they stand in; None: these are ours."""


def ten_scenes() -> Prompts:
    """Ours."""
    scenes = {label: _in_sentences(PLACES[label], *WORDINGS[label]) for label in TEN_SCENES}
    return Prompts(scenes, tuple(_in_sentences(place) for place in OTHERS))


def read_prompts(path: Path) -> Prompts:
    """Read a file of sentences: `label = ["sentence", …]`, and perhaps `none = [...]`, each a place that is no scene.

    Raises:
        DataError: It is missing or too large.
        ConfigError: It says something else.
    """
    source = read_file(path, _MAX_BYTES)
    try:
        content = tomllib.loads(source.data.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no text, a number of five thousand digits
        raise ConfigError(f"{path}: expected a TOML file of sentences, got: {one_line(str(error))}") from None
    asked: dict[str, str] = {}
    for label, sentences in content.items():
        for sentence in _checked(sentences, f"{path}: {one_line(label)}"):
            other = asked.setdefault(" ".join(sentence.lower().split()), label)
            if other != label:
                raise ConfigError(
                    f"{path}: {one_line(label)}: expected other sentences than those of {one_line(other)}, got "
                    f"{one_line(json.dumps(sentence, ensure_ascii=False), 80)} in both; take it out of one"
                )
    labels = tuple(label for label in sorted(content) if label != NONE)
    if len(labels) < 2:
        raise ConfigError(f"{path}: expected sentences of at least two labels, got {len(labels)}")
    try:
        check_labels(labels, {})
    except ManifestError as error:
        raise ConfigError(f"{path}: {error}") from None
    if sum(len(sentences) for sentences in content.values()) > _MAX_SENTENCES:
        raise ConfigError(f"{path}: expected at most {_MAX_SENTENCES:,} sentences, got more")
    scenes = {label: tuple(content[label]) for label in labels}
    return Prompts(scenes, tuple((sentence,) for sentence in content.get(NONE, ())), source)


def _checked(sentences: object, where: str) -> list[str]:
    """What a label stands for in the file, where it is sentences."""
    if not isinstance(sentences, list) or not sentences:
        raise ConfigError(
            f'{where}: expected a label and sentences, as park = ["a photo of a park."], got '
            f"{'an empty list' if sentences == [] else type(sentences).__name__}"
        )
    for sentence in sentences:
        if not isinstance(sentence, str) or not 0 < len(sentence.strip()) <= _LONGEST:
            raise ConfigError(
                f"{where}: expected sentences of 1 to {_LONGEST:,} characters, got "
                f"{f'one of {len(sentence):,}' if isinstance(sentence, str) else type(sentence).__name__}"
            )
    return sentences


def _in_sentences(*wordings: str) -> tuple[str, ...]:
    """Every wording in every sentence."""
    return tuple(template.format(wording) for wording in wordings for template in TEMPLATES)
