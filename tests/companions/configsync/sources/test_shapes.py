"""JSON from outside: what has the form that was asked for, and a plain word for what has not."""

import pytest

from tlsproxy.companions.configsync.sources.content import SourceError
from tlsproxy.companions.configsync.sources.shapes import Shape

SHAPE = Shape.of(b'{"t":"x","n":7,"s":"8","b":"eA==","o":{"a":1},"l":[{"i":"1"}],"z":null}')


def test_parts() -> None:
    """Numbers may be text, and what is absent or null is empty."""
    assert SHAPE.text("t") == "x"
    assert (SHAPE.number("n"), SHAPE.number("s"), SHAPE.number("none")) == (7, 8, 0)
    assert SHAPE.decoded("b") == b"x"
    assert SHAPE.shape("o").number("a") == 1
    assert [item.text("i") for item in SHAPE.shapes("l")] == ["1"]
    assert list(SHAPE.shape("z").names()) == []
    assert "z" not in SHAPE


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"[" * 100_000, b"\xff"])
def test_no_object(body: bytes) -> None:
    """A login page or anything else in place of an answer."""
    with pytest.raises(SourceError, match="is this the right address"):
        Shape.of(body)


def test_wrong_kinds() -> None:
    """Nothing of another kind is passed on."""
    for take, name in (
        (SHAPE.text, "o"), (SHAPE.number, "t"), (SHAPE.shape, "t"), (SHAPE.shapes, "o"), (SHAPE.shapes, "s"),
        (SHAPE.decoded, "t"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match="form"):
            take(name)
