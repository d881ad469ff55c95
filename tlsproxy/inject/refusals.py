"""What can't be done to a manifest, in words that an operator can act on."""

from collections.abc import Iterable


class Refusal(Exception):  # noqa: N818  -- it is no failure of ours
    """One thing that can't be done, and the way out."""

    def __init__(self, place: str, what: str, way_out: str) -> None:
        """`place` is the object with its document and line."""
        super().__init__(f"{place}: {what}; {way_out}")


class Refused(Exception):  # noqa: N818  -- a list of the above
    """Everything that can't be done, each once and in the manifest's order."""

    def __init__(self, refusals: Iterable[Refusal | str]) -> None:
        self.messages = tuple(dict.fromkeys(map(str, refusals)))
        super().__init__("\n".join(self.messages))
