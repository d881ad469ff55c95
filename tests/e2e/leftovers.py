"""Processes that outlive what has begun them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes_with(variable: str, value: str) -> Iterator[int]:
    """Those that have this in their environment, as far as that may be read."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and f"{variable}={value}".encode() in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                yield int(entry.name)
