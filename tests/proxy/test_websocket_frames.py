"""Where frames begin, whatever the pieces in which they come."""

import random

import pytest

from tlsproxy.proxy.websocket_frames import GOING_AWAY, Frames

WHOLE = [
    b"\x81\x00",
    b"\x81\x05hello",
    b"\xc1\x7d" + b"c" * 125,  # compressed
    b"\x02\x7e\x00\x7e" + b"\x88" * 126,  # the first part of a message, full of what looks like a Close frame
    b"\x89\x02hi",  # a ping between the parts of a message
    b"\x80\x7f" + (70_000).to_bytes(8) + b"x" * 70_000,
    b"\x81\x85maskHELLO",
    GOING_AWAY,
]


@pytest.mark.parametrize("frame", WHOLE, ids=lambda frame: frame[:4].hex())
def test_a_frame(frame: bytes) -> None:
    """A boundary stands before a frame and behind it, and nowhere within."""
    for cut in {1, 2, len(frame) // 2, len(frame) - 1} - {0, len(frame)}:
        frames, boundaries = Frames(), []
        for piece, boundary in ((b"", 0), (frame[:cut], 0), (frame[cut:], len(frame) - cut)):
            assert frames.pass_by(piece) == boundary
            boundaries.append(frames.at_boundary)
        assert boundaries == [True, False, True]


def test_any_pieces() -> None:
    """The last boundary of each piece is found, however a stream is cut."""
    rng = random.Random(6455)  # noqa: S311  the same cuts in every run are wanted
    for _ in range(200):
        sent = rng.choices(WHOLE[:5] + WHOLE[6:], k=20)
        ends = {sum(map(len, sent[: count + 1])) for count in range(len(sent))}
        stream, position, frames = b"".join(sent), 0, Frames()
        while position < len(stream):
            piece = stream[position : position + rng.choice((1, 2, 3, 7, 50, 300))]
            within = [end for end in ends if position < end <= position + len(piece)]
            assert frames.pass_by(piece) == (max(within) - position if within else 0)
            position += len(piece)
            assert frames.at_boundary is (position in ends)
