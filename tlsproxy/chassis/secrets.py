"""Text that is shown nowhere, and where it comes from: a variable, or a file that is read again on each use."""

import hmac
import os
from collections.abc import Callable
from pathlib import Path

MASK = "***"
_MOST = 64 * 1024  # characters; whatever is longer is no password


class SecretText:
    """A secret; whoever prints it by mistake prints the mask."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for whoever sends or compares it."""
        return self._text

    def __repr__(self) -> str:
        return MASK if self._text else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class SecretFileError(Exception):
    """A secret can't be read; the text says which file and why, and nothing of what it holds."""


def secret_of(text: SecretText | None, file: Path | None) -> Callable[[], str] | None:
    """What gives the secret at each use, of a variable or of the file that another one names; None without both.

    A file is read again each time, since mounted secrets are replaced; blanks at its ends don't count.

    The function that is returned raises:
        SecretFileError: the file can't be read, is empty, or holds no text.
    """
    if file is not None:
        return lambda: read_secret(file)
    if text is not None:
        return text.reveal
    return None


def read_secret(file: Path) -> str:
    """The text of a file without blanks at its ends.

    Raises:
        SecretFileError: it can't be read, is empty, or holds no text.
    """
    try:
        # A pipe that somebody has put there would not open before somebody writes to it.
        with open(file, encoding="utf-8", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
            text = opened.read(_MOST + 1)
    except OSError as error:
        raise SecretFileError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except ValueError:
        text = "\0"
    # Outside of the `except`: what the decoder says quotes the secret, and is not to come along as the context.
    if len(text) > _MOST or "\0" in text:
        raise SecretFileError(f"{file}: this is no text that could be a secret")
    if not text.strip():
        raise SecretFileError(f"{file} is empty")
    return text.strip()
