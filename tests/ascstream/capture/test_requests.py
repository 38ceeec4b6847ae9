"""Requests travel as a line of text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ascstream.capture.requests import MediaRequest, MicrophoneRequest, PictureRequest, Request, from_json, to_json

_words = st.none() | st.text(max_size=20)
_numbers = st.integers(1, 4096)
_pictures = st.builds(
    PictureRequest,
    _numbers,
    _numbers,
    st.sampled_from(["crop", "squash"]),
    st.none() | _numbers,
    st.sampled_from(["bilinear", "bicubic", "area", "lanczos"]),
)
_requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(
        MicrophoneRequest,
        name=_words,
        host_api=_words,
        portaudio_index=st.none() | st.integers(0, 99),
        stable_id=_words,
        channels=st.lists(st.integers(1, 16), max_size=4).map(tuple),
    ),
    st.builds(
        MediaRequest,
        where=st.text(max_size=30),
        format=_words,
        sound=st.booleans(),
        picture=st.none() | _pictures,
        open_seconds=st.floats(0, 60),
        read_seconds=st.floats(0, 60),
    ),
)


@given(_requests)
def test_a_request_comes_out_as_it_went_in(request: Request) -> None:
    text = to_json(request)
    assert from_json(text) == request
    assert text.isascii()
    assert len(text.splitlines()) == 1
