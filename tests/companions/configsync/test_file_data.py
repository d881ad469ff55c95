"""How what is wrong with a file is said."""

from tlsproxy.companions.configsync.file_data import MalformedError, shown


def test_place() -> None:
    """Line and column come first where they are known."""
    assert str(MalformedError("is none", 3, 5)) == "line 3, column 5: is none"
    assert str(MalformedError("is none", 3)) == "line 3: is none"
    assert str(MalformedError("is none")) == "is none"


def test_key() -> None:
    """A key is on one line and not too long."""
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 100) == f"'{'x' * 60}...'"
