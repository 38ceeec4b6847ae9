"""The sentences CLIP compares pictures with: several wordings of each scene, and places that are not a scene.

The wordings are ours, written before any picture was judged by them; those of the published zero-shot system are
unknown. A file from the user replaces all of them.
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
"""Key in a file for places that are none of its scenes."""
_MAX_BYTES, _MAX_SENTENCES, _LONGEST = 1 << 20, 10_000, 1000
"""Limits: bytes and sentences of a file, and characters of a sentence (CLIP reads some 75 words)."""
TEMPLATES = ("a photo of {}.", "a bad photo of {}.", "a wide photo of {}.", "a frame of a video of {}.")
"""Sentences into which each wording is inserted."""
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
"""Wordings for each scene in addition to the one in `PLACES`."""
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
    """The sentences a picture is compared with."""

    scenes: Mapping[str, tuple[str, ...]]
    """Label to its sentences, in alphabetical order of labels; a scene's embedding is the mean of its sentences'."""
    others: tuple[tuple[str, ...], ...] = ()
    """The sentences of each place that is not a scene."""
    source: SourceFile | None = None
    """The file they were read from; None: the built-in ones."""


def ten_scenes() -> Prompts:
    """The built-in sentences for the ten scenes."""
    scenes = {label: _in_sentences(PLACES[label], *WORDINGS[label]) for label in TEN_SCENES}
    return Prompts(scenes, tuple(_in_sentences(place) for place in OTHERS))


def read_prompts(path: Path) -> Prompts:
    """Read a TOML file of sentences: `label = ["sentence", …]`, optionally `none = [...]`, each a non-scene place.

    Raises:
        DataError: The file is missing or too large.
        ConfigError: The file is not TOML or breaks a rule: two labels or more, valid sentences, none under two labels.
    """
    source = read_file(path, _MAX_BYTES)
    try:
        content = tomllib.loads(source.data.decode())
    except (ValueError, RecursionError) as error:  # not TOML, not text, a number of five thousand digits
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
    """Check that a label's value in the file is a list of sentences, and return it.

    Raises:
        ConfigError: It is something else, or empty, or a sentence is blank or too long.
    """
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
    """Every wording inserted into every template."""
    return tuple(template.format(wording) for wording in wordings for template in TEMPLATES)
