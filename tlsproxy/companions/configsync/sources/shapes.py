"""JSON from outside, taken apart with its types checked. Pure."""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping

from tlsproxy.companions.configsync.sources.content import SourceError


class Shape:
    """A JSON object. What is absent or null is empty, as both APIs that are read with it leave out what is empty."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    @classmethod
    def of(cls, body: bytes) -> "Shape":
        """The object that a text is.

        Raises:
            SourceError: it is none.
        """
        try:
            value: object = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        return cls(_checked(value, "its answer"))

    def __contains__(self, name: str) -> bool:
        return self._members.get(name) is not None

    def shape(self, name: str) -> "Shape":
        """An object in it."""
        return Shape(_checked(self._members.get(name) or {}, name))

    def shapes(self, name: str) -> "list[Shape]":
        """The objects of a list in it."""
        values = self._members.get(name) or []
        if not isinstance(values, list):
            raise _unexpected(name)
        return [Shape(_checked(value, name)) for value in values]

    def text(self, name: str) -> str:
        """A text in it, or a number as text: gateways write long ones as text, others do not."""
        value = self._members.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _unexpected(name)
        return str(value)

    def number(self, name: str) -> int:
        """A number in it, as such or as text; 0 where it is absent."""
        text = self.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise _unexpected(name)
        return int(text or 0)

    def decoded(self, name: str) -> bytes:
        """Bytes in it, as base64."""
        try:
            return b64decode(self.text(name), validate=True)
        except (Base64Error, ValueError):
            raise _unexpected(name) from None

    def names(self) -> Iterator[str]:
        """Of its members."""
        return iter(self._members)


def _checked(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _unexpected(name)
    return value


def _unexpected(name: str) -> SourceError:
    return SourceError(f"it answers in a form that is not its API's ({name}): is this the right address?")
