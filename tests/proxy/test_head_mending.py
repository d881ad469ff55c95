"""What is put right in the heads of old apps before the parser reads them again, and what is left alone."""

import pytest

from tlsproxy.proxy.head_mending import mended
from tlsproxy.proxy.refusals import AppInvalid

OK = b"HTTP/1.1 200 OK\r\n"
END = b"\r\nbody: X : y\r\n\r\n"

# what it is, the head, what becomes of it
MENDED: list[tuple[str, bytes, bytes]] = [
    ("blanks before a colon", OK + b"X \t: a : b\r\nY: c\r\n", OK + b"X: a : b\r\nY: c\r\n"),
    ("the same, by bare LF", b"HTTP/1.1 200 OK\nX : a\n", b"HTTP/1.1 200 OK\nX: a\n"),
    ("blanks before the status", b"HTTP/1.0   200 OK\r\n", b"HTTP/1.0 200 OK\r\n"),
    (
        "a length twice",
        OK + b"Content-Length: 3\r\nX: y\r\ncontent-length:03 \r\n",
        OK + b"Content-Length: 3\r\nX: y\r\n",
    ),
    ("a length in a list", OK + b"X: y\r\nContent-Length: 3 ,3\r\n", OK + b"X: y\r\nContent-Length: 3\r\n"),
    ("nothing, twice", OK + b"Content-Length: 0\r\nContent-Length: 00\r\n", OK + b"Content-Length: 0\r\n"),
    ("both", OK + b"Content-Length : 3\r\nContent-Length: 3\r\n", OK + b"Content-Length: 3\r\n"),
    ("blanks at the end", OK + b"X: a \t\r\nY: b\t\n", OK + b"X: a\r\nY: b\n"),
    ("folds of nothing", OK + b"X: a\r\n \r\n\t \nY: b\r\n \r\n", OK + b"X: a\nY: b\r\n"),
    ("a fold of nothing and one of something", OK + b"X: a\r\n \r\n b\r\n", OK + b"X: a\r\n b\r\n"),
    (
        "behind an interim",
        b"HTTP/1.1 103 x\r\nA : b\r\n\r\n" + OK + b"C : d\r\n",
        b"HTTP/1.1 103 x\r\nA: b\r\n\r\n" + OK + b"C: d\r\n",
    ),
]
LEFT_ALONE: list[tuple[str, bytes]] = [
    ("a sound head", OK + b"X: a b : c\r\nContent-Length: 3\r\n"),
    ("lengths that differ", OK + b"Content-Length: 3\r\nContent-Length: 4\r\n"),
    ("a list that differs", OK + b"Content-Length: 3, 4\r\n"),
    ("a length that is none", OK + b"Content-Length: 3\r\nContent-Length: 3x\r\n"),
    ("a name that is no token", OK + b"X Y : a\r\n"),
    ("a fold", OK + b"X: a\r\n b : c\r\n"),
    ("101", b"HTTP/1.1 101 x\r\nUpgrade: x\r\n"),
]


@pytest.mark.parametrize(("head", "expected"), [row[1:] for row in MENDED], ids=[row[0] for row in MENDED])
def test_what_is_put_right(head: bytes, expected: bytes) -> None:
    """The head is put right, and what lies behind it is not touched."""
    assert mended(head + END) == expected + END


@pytest.mark.parametrize("head", [row[1] for row in LEFT_ALONE], ids=[row[0] for row in LEFT_ALONE])
def test_what_is_left_alone(head: bytes) -> None:
    """What is sound, and what has more than one meaning, is the parser's affair."""
    assert mended(head + END) == head + END


def test_what_is_no_head_yet() -> None:
    """Without an empty line nothing is known."""
    assert mended(OK + b"X : y\r\n") == OK + b"X : y\r\n"


@pytest.mark.parametrize("head", [OK + b" X: y\r\n", b"HTTP/1.1 103 x\r\n\r\n" + OK + b"\tX: y\r\n"])
def test_a_blank_behind_the_status_line(head: bytes) -> None:
    """A line that some read as a field, and some as a part of the status line, is refused."""
    with pytest.raises(AppInvalid):
        mended(head + END)
