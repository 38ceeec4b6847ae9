"""The codec under the manifest: what it refuses, and the words it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from engines.errors import ManifestError
from engines.schema import decode, encode, rule


@dataclass(frozen=True)
class Leaf:
    """One number."""

    kind: Literal["leaf"] = rule("a kind")
    size: int = rule("an integer in cm", minimum=1, maximum=10)


@dataclass(frozen=True)
class Twig:
    """One other number; refuses 13 of itself, 14 of its field."""

    kind: Literal["twig"] = rule("a kind")
    length: float = rule("a length in m", above=0)

    def __post_init__(self) -> None:
        if self.length == 13:
            raise ManifestError("expected luck, got none")
        if self.length == 14:
            raise ManifestError("length: expected another, got this")


@dataclass(frozen=True)
class Tree:
    """Every kind of field."""

    name: str = rule("a name")
    parts: tuple[Leaf | Twig, ...] = rule("a list of parts", default=())
    alive: bool = rule("true or false", default=True)
    exponent: Literal[1, 2] = rule("1 or 2", default=2)
    note: str | None = rule("a note, or null", default=None)
    counts: Mapping[str, int] = rule("a number a key", default_factory=dict)


FULL = {
    "name": "oak",
    "parts": [{"kind": "leaf", "size": 3}, {"kind": "twig", "length": 0.5}],
    "alive": False,
    "exponent": 1,
    "note": "öäü 木",
    "counts": {"a": 1},
}


def test_a_record_goes_out_and_comes_back() -> None:
    tree = decode(Tree, FULL)
    assert tree == Tree("oak", (Leaf("leaf", 3), Twig("twig", 0.5)), False, 1, "öäü 木", {"a": 1})
    assert encode(tree) == FULL


def test_defaults_stand_in_and_null_is_left_out() -> None:
    tree = decode(Tree, {"name": "oak", "note": None})
    assert tree == Tree("oak")
    assert encode(tree) == {"name": "oak", "parts": [], "alive": True, "exponent": 2, "counts": {}}


def test_an_integer_is_a_number_too() -> None:
    part = decode(Tree, {"name": "oak", "parts": [{"kind": "twig", "length": 2}]}).parts[0]
    assert isinstance(part, Twig)
    assert (type(part.length), part.length) == (float, 2.0)


REFUSED = {
    "not an object": ([], "manifest: expected an object, got []"),
    "required key": ({}, "name: expected a name, got nothing; the key is required"),
    "wrong type": ({"name": 3}, "name: expected a name, got 3"),
    "null where it may not be": ({"name": None}, "name: expected a name, got null"),
    "misspelt key": ({"name": "oak", "prats": []}, "prats: unknown key; did you mean 'parts'?"),
    "unknown key": (
        {"name": "oak", "zzz": 1},
        "zzz: unknown key; known keys: alive, counts, exponent, name, note, parts",
    ),
    "control character": ({"name": "a\x1b[31m"}, 'name: expected one line of printable text, got "a\\u001b[31m"'),
    "line break": ({"name": "a\nb"}, 'name: expected one line of printable text, got "a\\nb"'),
    "text that runs backwards": ({"name": "a\u202eb"}, 'name: expected one line of printable text, got "a\\u202eb"'),
    "half a character": ({"name": "\ud800"}, 'name: expected one line of printable text, got "\\ud800"'),
    "control character in a key": (
        {"name": "oak", "counts": {"\x07": 1}},
        'counts: key: expected one line of printable text, got "\\u0007"',
    ),
    "control character in an unknown key": (
        {"name": "oak", "\x07": 1},
        'key: expected one line of printable text, got "\\u0007"',
    ),
    "not a list": ({"name": "oak", "parts": "leaf"}, 'parts: expected a list of parts, got "leaf"'),
    "unknown kind": (
        {"name": "oak", "parts": [{"kind": "root"}]},
        'parts[0].kind: expected one of "leaf", "twig", got "root"',
    ),
    "no kind": ({"name": "oak", "parts": [3]}, 'parts[0].kind: expected one of "leaf", "twig", got null'),
    "below": (
        {"name": "oak", "parts": [{"kind": "leaf", "size": 0}]},
        "parts[0].size: expected an integer in cm, at least 1, got 0",
    ),
    "beyond": (
        {"name": "oak", "parts": [{"kind": "leaf", "size": 11}]},
        "parts[0].size: expected an integer in cm, at most 10, got 11",
    ),
    "not above": (
        {"name": "oak", "parts": [{"kind": "twig", "length": 0}]},
        "parts[0].length: expected a length in m, above 0, got 0.0",
    ),
    "text for a number": (
        {"name": "oak", "parts": [{"kind": "leaf", "size": "3k"}]},
        'parts[0].size: expected an integer in cm, got "3k"',
    ),
    "fraction for an integer": (
        {"name": "oak", "parts": [{"kind": "leaf", "size": 3.0}]},
        "parts[0].size: expected an integer in cm, got 3.0",
    ),
    "true for an integer": (
        {"name": "oak", "parts": [{"kind": "leaf", "size": True}]},
        "parts[0].size: expected an integer in cm, got true",
    ),
    "not a number": (
        {"name": "oak", "parts": [{"kind": "twig", "length": float("nan")}]},
        "parts[0].length: expected a length in m, got NaN",
    ),
    "infinity": (
        {"name": "oak", "parts": [{"kind": "twig", "length": float("inf")}]},
        "parts[0].length: expected a length in m, got Infinity",
    ),
    "an integer no float holds": (
        {"name": "oak", "parts": [{"kind": "twig", "length": 10**400}]},
        f"parts[0].length: expected a length in m, got 1{'0' * 56}…",
    ),
    "number for true": ({"name": "oak", "alive": 1}, "alive: expected true or false, got 1"),
    "true for a choice": ({"name": "oak", "exponent": True}, "exponent: expected one of 1, 2, got true"),
    "another choice": ({"name": "oak", "exponent": 3}, "exponent: expected one of 1, 2, got 3"),
    "a list for a choice": ({"name": "oak", "exponent": [1]}, "exponent: expected one of 1, 2, got [1]"),
    "not a mapping": ({"name": "oak", "counts": []}, "counts: expected a number a key, got []"),
    "inside a mapping": ({"name": "oak", "counts": {"a": "b"}}, 'counts.a: expected a number a key, got "b"'),
    "a record refuses itself": (
        {"name": "oak", "parts": [{"kind": "twig", "length": 13}]},
        "parts[0]: expected luck, got none",
    ),
    "a record refuses a field": (
        {"name": "oak", "parts": [{"kind": "twig", "length": 14}]},
        "parts[0].length: expected another, got this",
    ),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_is_refused_by_the_path_of_its_key(data: object, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode(Tree, data)
    assert str(caught.value) == message


def test_a_misspelt_choice_is_guessed() -> None:
    with pytest.raises(ManifestError) as caught:
        decode(Leaf, {"kind": "laef", "size": 3})
    assert str(caught.value) == 'kind: expected one of "leaf", got "laef"; did you mean \'leaf\'?'


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ManifestError) as caught:
        decode(Tree, {"name": ["x" * 1000]})
    assert str(caught.value) == f'name: expected a name, got ["{"x" * 55}…'


def test_a_value_nested_too_deeply_to_show_is_refused_all_the_same() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ManifestError) as caught:
        decode(Tree, {"name": deep})
    assert str(caught.value) == "name: expected a name, got something nested too deeply"
    while deep:
        deep = deep.pop()  # type: ignore[assignment]
