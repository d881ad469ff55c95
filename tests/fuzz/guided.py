"""One target, led by coverage: `python -m tests.fuzz.guided TARGET DIRECTORY [libFuzzer's options]`.

Started by `python -m tests.fuzz`. Where atheris is installed; it needs no more than a wheel (`pip install atheris`).
"""

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Protocol, cast


class Atheris(Protocol):
    """What is used of atheris, which has no types."""

    def instrument_imports(self, include: Iterable[str]) -> AbstractContextManager[None]: ...

    def Setup(self, argv: list[str], test: Callable[[bytes], None]) -> None: ...  # noqa: N802  -- atheris' own name

    def Fuzz(self) -> None: ...  # noqa: N802  -- the same


def main(name: str, arguments: list[str]) -> None:
    """Fuzz a target until libFuzzer has run as often as it was told, or something was found."""
    atheris = cast(Atheris, import_module("atheris"))  # noqa: TC006  -- vulture reads no strings
    with atheris.instrument_imports(include=["tlsproxy"]):
        targets = import_module("tests.fuzz.targets")
    # A line for each refusal would be most of the time.
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *arguments], targets.BY_NAME[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
