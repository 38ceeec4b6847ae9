"""Messages of a recording process: what is packed comes out again, and nothing else does."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ascstream.capture.messages import Failed, Message, Note, Opened, Picture, Seen, Sound, pack, read
from ascstream.errors import SourceError

_moments = st.floats(0, 1e9)
_words = st.text(max_size=30)
_sizes = st.none() | st.integers(1, 4096)
_samples = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(0, 50)), elements=st.floats(-1, 1, width=32)
)
_images = arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(3)))
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Opened, _words, _sizes, _sizes, _sizes, _sizes, _sizes, st.none() | st.floats(1, 240), _words),
    st.builds(Sound, _moments, _samples, st.integers(8_000, 192_000), st.booleans()),
    st.builds(Seen, _moments, st.integers(0, 1000)),
    st.builds(Picture, _moments, st.none() | _moments, st.none() | _images),
    st.builds(Note, _words, _words),
    st.builds(Failed, _words, st.booleans()),
)


def values(message: Message) -> dict[str, Any]:
    """A message's fields, arrays as lists with their kind: what can be compared."""
    fields = {name: getattr(message, name) for name in message.__slots__}
    return {
        name: (value.dtype.str, value.shape, value.tolist()) if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }


@pytest.mark.slow
@given(st.lists(_messages, max_size=5))
def test_messages_come_out_as_they_went_in(messages: list[Message]) -> None:
    file = io.BytesIO(b"".join(map(pack, messages)))
    for message in messages:
        came = read(file)
        assert type(came) is type(message)
        assert values(came) == values(message)
    assert read(file) is None


def test_samples_travel_in_any_order_of_memory() -> None:
    samples = np.arange(6, dtype=np.float32).reshape(3, 2)
    came = read(io.BytesIO(pack(Sound(1.0, samples.T, 48_000))))
    assert isinstance(came, Sound)
    assert came.samples.tolist() == [[0, 2, 4], [1, 3, 5]]


@given(_messages, st.data())
def test_a_message_that_breaks_off_is_the_end(message: Message, data: st.DataObject) -> None:
    packed = pack(message)
    cut = data.draw(st.integers(0, len(packed) - 1))
    assert read(io.BytesIO(packed[:cut])) is None


@given(st.binary(min_size=12, max_size=200).filter(lambda data: data[:4] != b"ascs"))
def test_what_is_no_message_is_refused(garbage: bytes) -> None:
    with pytest.raises(SourceError, match="expected a message of a recording process"):
        read(io.BytesIO(garbage))


@given(_messages, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_a_value(message: Message, place: int, change: int) -> None:
    packed = bytearray(pack(message))
    packed[place % len(packed)] ^= change
    try:
        came = read(io.BytesIO(bytes(packed)))
    except SourceError:
        return
    assert came is None or isinstance(came, Opened | Sound | Seen | Picture | Note | Failed)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"7",
        b"[]",
        b"{}",
        b"[" * 60_000,
        b'{"type": "Unheard"}',
        b'{"type": ["Sound"]}',
        b'{"type": "Sound", "stamp": 0, "samples": [3, 7], "sample_rate": 1, "lost": false}',
        b'{"type": "Sound", "stamp": 0, "samples": [1e30], "sample_rate": 1, "lost": false}',
        b'{"type": "Seen", "stamp": 0, "n_frames": 1, "more": 1}',
    ],
)
def test_a_header_that_says_nothing_is_refused(header: bytes) -> None:
    with pytest.raises(SourceError, match="expected a message of a recording process"):
        read(io.BytesIO(b"ascs" + struct.pack("<II", len(header), 4) + header + bytes(4)))


@pytest.mark.parametrize(("n_header", "n_payload"), [(1 << 17, 0), (0, 1 << 29), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_message_that_is_too_large_is_refused_before_it_is_read(n_header: int, n_payload: int) -> None:
    file = io.BytesIO(b"ascs" + struct.pack("<II", n_header, n_payload) + bytes(1000))
    with pytest.raises(SourceError):
        read(file)
    assert file.tell() == 12


def test_a_header_is_json_and_nothing_is_pickled() -> None:
    packed = pack(Seen(2.5, 3))
    n_header, n_payload = struct.unpack("<II", packed[4:12])
    assert json.loads(packed[12 : 12 + n_header]) == {"type": "Seen", "stamp": 2.5, "n_frames": 3}
    assert n_payload == 0
