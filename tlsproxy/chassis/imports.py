"""What is loaded before a process serves, and in which order: most of its start, and of its memory.

To be told before the rest is imported, by programs that serve; others may import as they like.
"""

import sys
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
