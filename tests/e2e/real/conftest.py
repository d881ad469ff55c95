"""Real apps, each with a sidecar in front; one process of each for all tests of a session."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e import programs
from tests.e2e.conftest import Launch
from tests.e2e.real.comparison import Fronted

NODE_APP = Path(__file__).with_name("node_app.js")
LARGE = 24 * 1024 * 1024

NGINX_SERVER = """
root {files};
client_max_body_size 8m;
if_modified_since before;
gzip_types text/plain;
location /upload/ {{ alias {uploads}/; dav_methods PUT DELETE; }}
location /packed/ {{ alias {files}/; gzip on; gzip_min_length 0; }}
location /behind/ {{ proxy_pass http://127.0.0.1:$port/packed/; proxy_http_version 1.1; proxy_buffering off; }}
location = /moved {{ return 301 /text.txt; }}
location = /not-allowed {{ return 405 "no\n"; }}
location = /text-only {{ return 200 "plain\n"; }}
error_page 404 /missing.html;
"""
"""Files, uploads by PUT, the same files compressed on the way, and nginx as a proxy to itself."""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files to serve: small, large, empty, with odd names."""
    root = tmp_path_factory.mktemp("files")
    (root / "sub").mkdir()
    (root / "text.txt").write_text("a line of text\n" * 4000)
    (root / "large.bin").write_bytes(pseudorandom(LARGE))
    (root / "empty.txt").touch()
    (root / "missing.html").write_text("<p>not here</p>\n")
    (root / "grüße & more.txt").write_text("hello\n")
    (root / "sub" / "index.html").write_text('<p><a href="../text.txt">text</a></p>\n')
    return root


def pseudorandom(length: int) -> bytes:
    """Bytes that do not repeat, and are the same each time."""
    return hashlib.shake_256(b"files").digest(length)


@contextmanager
def fronted(app: AbstractContextManager[int], launch: Launch) -> Iterator[Fronted]:
    """A program, and a sidecar in front of it."""
    with app as port, launch(APP_PORT=port) as sidecar:
        both = Fronted(port, sidecar)
        yield both
        both.close()


@pytest.fixture(scope="session")
def http_server(launch: Launch, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """`python -m http.server`, which speaks HTTP/1.0."""
    with fronted(programs.http_server(files, tmp_path_factory.mktemp("http.server")), launch) as both:
        yield both


@pytest.fixture(scope="session")
def httpbin(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """httpbin under gunicorn."""
    with fronted(programs.gunicorn("httpbin:app", tmp_path_factory.mktemp("gunicorn")), launch) as both:
        yield both


@pytest.fixture(scope="session")
def asgi(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """`asgi_app.py` under uvicorn."""
    with fronted(programs.uvicorn("real.asgi_app:app", tmp_path_factory.mktemp("uvicorn")), launch) as both:
        yield both


@pytest.fixture(scope="session")
def nginx(launch: Launch, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """nginx with NGINX_SERVER."""
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "uploads").mkdir()
    server = NGINX_SERVER.format(files=files, uploads=directory / "uploads")
    with fronted(programs.nginx(server, directory), launch) as both:
        yield both


@pytest.fixture(scope="session")
def node(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """`node_app.js` under Node.js."""
    with fronted(programs.node(NODE_APP, tmp_path_factory.mktemp("node")), launch) as both:
        yield both
