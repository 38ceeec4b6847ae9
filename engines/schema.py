"""Convert frozen dataclasses to JSON and back, strictly: the codec behind `manifest.py`.

A field's type is its main rule; `rule(...)` adds bounds and a description for error messages. Unknown keys, missing
keys, wrong types, NaN and out-of-range values are rejected with the path of the key:
    inputs[0].audio.sample_rate: expected an integer in Hz, got "32k"
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from engines.errors import ManifestError

T = TypeVar("T")
_MISSING = dataclasses.MISSING


def rule(
    expects: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
) -> Any:
    """Declare a field with the description used in its error message and, for numbers, its bounds.

    Args:
        expects: What the field holds, as it reads after "expected": "an integer in Hz".
        minimum: Smallest value allowed.
        above: Exclusive lower bound.
        maximum: Largest value allowed.
        default: Value if the key is absent; without a default the key is required.
        default_factory: Makes a new default each time.
    """
    metadata = {"expects": expects, "minimum": minimum, "above": above, "maximum": maximum}
    if default_factory is not _MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not _MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def decode(cls: type[T], data: object, path: str = "") -> T:
    """Build `cls` from parsed JSON.

    Args:
        cls: A dataclass whose fields are declared with `rule`.
        data: Result of `json.loads`.
        path: Where `data` is located, for messages: "inputs[0].audio".

    Raises:
        ManifestError: A key is unknown or missing, or a value is not what its field expects.
    """
    if not isinstance(data, Mapping):
        raise ManifestError(f"{path or 'manifest'}: expected an object, got {_show(data)}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            _check_text(str(key), _join(path, "key"))
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(sorted(fields))}"
            raise ManifestError(f"{_join(path, str(key))}: unknown key{hint}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        where = _join(path, name)
        if name in data:
            values[name] = _value(hints[name], data[name], where, field.metadata)
        elif field.default is _MISSING and field.default_factory is _MISSING:
            expects = field.metadata.get("expects", "a value")
            raise ManifestError(f"{where}: expected {expects}, got nothing; the key is required")
    try:
        return cls(**values)
    except ManifestError as error:
        raise ManifestError(_place(path, str(error))) from None


def encode(value: Any) -> Any:
    """Convert nested records to what `json.dumps` takes; fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: encode(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def _value(hint: Any, data: object, where: str, metadata: Mapping[str, Any]) -> Any:
    """Check one value against its type and convert it."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if data is None:
            if len(options) < len(typing.get_args(hint)):
                return None
            raise _wrong(where, metadata, data, options[0])
        return _value(_by_kind(options, data, where), data, where, metadata)
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if not isinstance(data, (str, int)) or isinstance(data, bool) or data not in choices:
            close = difflib.get_close_matches(str(data), [str(choice) for choice in choices], n=1)
            hint_text = f"; did you mean {close[0]!r}?" if close else ""
            expected = "one of " + ", ".join(json.dumps(choice) for choice in choices)
            raise ManifestError(f"{where}: expected {expected}, got {_show(data)}{hint_text}")
        return data
    if origin is tuple:
        if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
            raise _wrong(where, metadata, data, hint)
        item = typing.get_args(hint)[0]
        return tuple(_value(item, entry, f"{where}[{index}]", metadata) for index, entry in enumerate(data))
    if origin in (dict, Mapping) or origin is typing.get_origin(Mapping[str, int]):
        if not isinstance(data, Mapping):
            raise _wrong(where, metadata, data, hint)
        item = typing.get_args(hint)[1]
        for key in data:
            _check_text(str(key), f"{where}: key")
        return {str(key): _value(item, entry, _join(where, str(key)), metadata) for key, entry in data.items()}
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), data, where)
    return _scalar(hint, data, where, metadata)


def _by_kind(options: list[Any], data: object, where: str) -> Any:
    """Choose the record whose literal `kind` the data names or, among plain types, the data's own type."""
    if len(options) == 1:
        return options[0]
    if not any(dataclasses.is_dataclass(option) for option in options):
        return type(data) if type(data) in options else options[0]
    kinds = {typing.get_args(typing.get_type_hints(option)["kind"])[0]: option for option in options}
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        names = ", ".join(json.dumps(name) for name in kinds)
        raise ManifestError(f"{_join(where, 'kind')}: expected one of {names}, got {_show(kind)}")
    return kinds[kind]


def _scalar(hint: Any, data: object, where: str, metadata: Mapping[str, Any]) -> Any:
    """Check the type and the bounds of a string, boolean or number."""
    if hint is float and type(data) is int and abs(data) <= sys.float_info.max:
        data = float(data)
    if type(data) is not hint or (isinstance(data, float) and not math.isfinite(data)):
        raise _wrong(where, metadata, data, hint)
    if isinstance(data, str):
        _check_text(data, where)
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        broken = _broken_bound(data, metadata)
        if broken is not None:
            raise ManifestError(f"{where}: expected {metadata.get('expects', 'a number')}, {broken}, got {_show(data)}")
    return data


def _broken_bound(value: float, metadata: Mapping[str, Any]) -> str | None:
    """Describe the bound that a number violates."""
    minimum, above, maximum = (metadata.get(name) for name in ("minimum", "above", "maximum"))
    if minimum is not None and value < minimum:
        return f"at least {minimum:g}"
    if above is not None and value <= above:
        return f"above {above:g}"
    if maximum is not None and value > maximum:
        return f"at most {maximum:g}"
    return None


def _check_text(text: str, where: str) -> None:
    """Text ends up in terminals, captions and file names: reject control, bidirectional and unpaired characters."""
    if not text.isprintable():
        raise ManifestError(f"{where}: expected one line of printable text, got {json.dumps(text[:60])}")


def _wrong(where: str, metadata: Mapping[str, Any], data: object, hint: Any) -> ManifestError:
    """The error for a value of the wrong type."""
    expects = metadata.get("expects") or {str: "a string", bool: "true or false"}.get(hint, "another type")
    return ManifestError(f"{where}: expected {expects}, got {_show(data)}")


def _place(path: str, message: str) -> str:
    """Prefix a message about a field, or about the record itself ("expected …"), with the record's path."""
    if not path:
        return message
    return f"{path}: {message}" if message.startswith("expected ") else f"{path}.{message}"


def _join(path: str, name: str) -> str:
    """Join path components: `inputs[0]` and `audio` give `inputs[0].audio`."""
    return f"{path}.{name}" if path else name


def _show(data: object) -> str:
    """Format a value as JSON, short enough for one line and safe on a terminal."""
    try:
        text = json.dumps(data, ensure_ascii=False)
        text = text if text.isprintable() else json.dumps(data)
    except RecursionError:
        return "something nested too deeply"
    except TypeError:  # for example a date from a TOML file
        text = json.dumps(str(data))
    return text if len(text) <= 60 else text[:57] + "…"
