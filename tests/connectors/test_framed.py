"""Output between two marks, however it is cut into pieces."""

from __future__ import annotations

import anyio
import pytest
from anyio import EndOfStream
from hypothesis import given
from hypothesis import strategies as st

from anydeploy.connectors._framed import FramedStream

pytestmark = pytest.mark.anyio

MARK = b"\033\001mark\002\n"
#: Texts that are full of beginnings of the mark.
pieces = st.sampled_from([b"\033", b"\033\001", b"mark", MARK[:-1], b"\002", b"\n", b"x", b"\0"])
near = st.lists(pieces, max_size=6).map(b"".join).filter(lambda data: MARK not in data)


class Pieces:
    """A stream that gives some pieces, and then ends, or waits for ever."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.pieces = list(pieces)
        self.ends = ends

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.pieces:
            return self.pieces.pop(0)
        if self.ends:
            raise EndOfStream
        await anyio.sleep_forever()
        raise AssertionError


async def read(stream: FramedStream, max_bytes: int = 65536) -> bytes:
    data = b""
    while True:
        try:
            piece = await stream.receive(max_bytes)
        except EndOfStream:
            return data
        assert 0 < len(piece) <= max_bytes
        data += piece


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(before=near, data=near, after=near, size=st.integers(1, 9), most=st.integers(1, 9), whole=st.booleans())
def test_what_is_between_the_marks(before: bytes, data: bytes, after: bytes, size: int, most: int, whole: bool) -> None:
    raw = before + MARK + data + (MARK + after if whole else b"")

    async def check() -> None:
        stream = FramedStream(Pieces(*cut(raw, size)), MARK, anyio.Event())
        assert await read(stream, most) == data
        assert stream.noise == before

    anyio.run(check)


async def test_the_second_mark_is_an_end_though_the_stream_goes_on():
    stream = FramedStream(Pieces(b"noise" + MARK + b"da", b"ta" + MARK[:3], MARK[3:], ends=False), MARK, anyio.Event())
    with anyio.fail_after(20):
        assert await read(stream) == b"data"


async def test_the_beginning_of_a_mark_is_not_kept_back_for_ever():
    """A command may have written it itself, and wait for an answer."""
    stream = FramedStream(Pieces(MARK + b"question\033", ends=False), MARK, anyio.Event())
    with anyio.fail_after(20):
        assert await stream.receive() == b"question"
        assert await stream.receive() == b"\033"


async def test_without_a_mark_all_is_noise():
    stream = FramedStream(Pieces(b"no such ", b"host"), MARK, anyio.Event())
    assert await read(stream) == b""
    assert stream.noise == b"no such host"
