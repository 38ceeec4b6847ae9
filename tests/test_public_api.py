"""The public surface: sorted, complete, importable, and documented."""

from __future__ import annotations

import inspect
from pathlib import Path

import ascstream


def test_all_is_sorted_and_every_name_is_there() -> None:
    assert ascstream.__all__ == sorted(ascstream.__all__)
    for name in ascstream.__all__:
        assert getattr(ascstream, name) is not None
    assert dir(ascstream) == ascstream.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(ascstream, "no_such_name")


def test_every_public_class_and_function_says_what_it_is() -> None:
    for name in ascstream.__all__:
        thing = getattr(ascstream, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name


def test_no_module_hides_a_public_name() -> None:
    # importing ascstream.x binds the module to the name x: a function of that name would be lost
    modules = {path.stem for path in Path(ascstream.__file__).parent.iterdir()}
    assert not modules & set(ascstream.__all__)
