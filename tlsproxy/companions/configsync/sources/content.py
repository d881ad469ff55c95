"""What a source gives and how it fails: the seam between those that fetch and those that write. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

# A release lies in a directory beside the publisher's own entries, which begin with two dots as the kubelet's do.
_SEGMENT = re.compile(r"(?!\.\.|\.$)[^/\\\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_LONGEST_NAME = 1024
_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Content:
    """All of one source at one moment."""

    files: Mapping[str, bytes]
    """By relative name, with `/` between directories; never empty."""
    version: str
    """As the source calls it, for people: an ETag, a revision, a resourceVersion. Not a file name."""


class SourceError(Exception):
    """A source could not be read, or gave what can't be used. The text is for the operator, without credentials.

    Args:
        message: what happened, and the way out where there is one; without the source's name.
        retry_after: seconds that the source asks to be left alone for; None: it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(_PLAIN.sub("?", message))
        self.retry_after = retry_after


class Source(Protocol):
    """One place that configuration is fetched from. One task at a time calls it."""

    @property
    def name(self) -> str:
        """For messages and metrics: without user, password or query."""

    async def fetch(self) -> Content | None:
        """All of it, whole; None: it is what the last fetch gave.

        Raises:
            SourceError: nothing can be had, or nothing that is whole; the next fetch may succeed.
        """

    async def wait(self) -> None:
        """Return when something may have changed since the last fetch; never, where a source can only be polled.

        May be cancelled at any moment; nothing that happens between a fetch and the next wait is missed.

        Raises:
            SourceError: changes can't be waited for at the moment; fetching may work all the same.
        """

    async def aclose(self) -> None:
        """Close what is open; nothing may be called afterwards."""


def file_name(text: str) -> str:
    """The text, if it is a relative name that can't lead out of a directory or into the publisher's own entries.

    Raises:
        ValueError: with a plain reason.
    """
    if len(text) > _LONGEST_NAME:
        raise ValueError(f"the file name {text[:40]!r}... is longer than {_LONGEST_NAME} characters")
    if not all(_SEGMENT.fullmatch(segment) for segment in text.split("/")):
        raise ValueError(
            f"{text!r} is no relative file name (no empty part, no part that starts with .., no backslash)"
        )
    return text


def laid_out(directory: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files under a directory (empty, or with a `/` at its end), names checked: they come from outside.

    Raises:
        SourceError: a name can't be used, or is a file and a directory at once.
    """
    try:
        placed = {file_name(directory + name): content for name, content in files.items()}
    except ValueError as error:
        raise SourceError(f"{error}; rename it at the source") from None
    if clash := file_and_directory(placed):
        raise SourceError(f"{clash!r} would be a file and a directory at once; rename it at the source")
    return placed


def file_and_directory(names: Mapping[str, object]) -> str | None:
    """A name that is also the directory of another one; None: there is none."""
    directories = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    return min(directories & names.keys(), default=None)
