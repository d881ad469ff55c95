"""aiohttp's server without its client."""

import subprocess
import sys

import pytest

USED = ("aiohttp.web", "aiohttp.http", "aiohttp.http_parser", "aiohttp.http_exceptions", "aiohttp.streams")
SCRIPT = """\
import sys
from importlib import import_module
from tlsproxy.chassis.imports import spare_client
{first}
spare_client("aiohttp")
for name in {used}:
    import_module(name)
print("aiohttp.client" in sys.modules, "aiohttp.connector" in sys.modules)
"""


SPARED = """\
import ssl
from tlsproxy.chassis.imports import sparing_authorities
try:
    with sparing_authorities():
        import aiohttp.connector
        raise KeyError
except KeyError:
    pass
print(aiohttp.connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"])
print("set_default_verify_paths" in vars(ssl.SSLContext))
"""


def test_authorities_are_spared() -> None:
    """aiohttp's own contexts trust nobody; whatever comes after is as it was, come what may."""
    done = subprocess.run([sys.executable, "-c", SPARED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


@pytest.mark.parametrize(("first", "has_client"), [("", False), ("import aiohttp", True)])
def test_the_client_is_spared(first: str, has_client: bool) -> None:
    """What is used of aiohttp loads without its client; where the package is loaded already, that is left alone."""
    script = SCRIPT.format(first=first, used=USED)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(has_client)] * 2
