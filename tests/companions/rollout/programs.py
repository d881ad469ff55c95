"""Small programs under names of their own, for tests that look for processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.polling import wait_until

BEGUN = "begun"


@contextmanager
def program(file: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a file; ended and reaped with the body."""
    process = subprocess.Popen([file, *arguments], env={**os.environ, **variables}, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def named(directory: Path, name: str, target: str = "/bin/sleep") -> Path:
    """A file of that name that is the target when it is executed."""
    file = directory / name
    file.symlink_to(target)
    return file


@contextmanager
def python(directory: Path, text: str, name: str = "app.py") -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that runs that text and has got to where it touches the file BEGUN in its directory."""
    script = directory / name
    script.write_text(f"from pathlib import Path\nbegun = Path({str(directory / BEGUN)!r})\n{text}")
    with program(Path(sys.executable), "-S", str(script)) as process:
        wait_until(lambda: (directory / BEGUN).exists() or process.poll() is not None, "the program has begun")
        yield process
