"""What is loaded before a process serves, and in which order: most of its start, and of its memory.

To be told before the rest is imported, by programs that serve; others may import as they like.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


def spare_client(name: str) -> None:
    """Have the package stand for its submodules alone, in a process that has not imported it yet.

    Importing aiohttp imports its client, of which nothing is used by who only serves, and which reads every CA that the
    system trusts: half of the time that aiohttp takes, 70 ms, and 3 MB. The server needs nothing of the package itself
    but the version, for a field that is never sent. tests/chassis/test_imports.py says what broke when that changes.
    """
    spec = find_spec(name)
    if spec is None or name in sys.modules:
        return
    package = module_from_spec(spec)
    package.__version__ = ""  # type: ignore[attr-defined]  # a module's own, and not every module has one
    sys.modules[name] = package


@contextmanager
def sparing_authorities() -> Iterator[None]:
    """Around the import of aiohttp's client, by who hands it a context with each request.

    It makes two contexts of its own at once, and has both read every CA that the system trusts: 50 ms, and 2 MB. Those
    trust nobody then, so that a request without a context of its own would fail, and be no less safe.
    """
    from ssl import SSLContext  # noqa: PLC0415 - those who speak no TLS never come here

    SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[method-assign,assignment]  # inherited
    try:
        yield
    finally:
        del SSLContext.set_default_verify_paths


def _read_nothing(_: object) -> None:
    pass
