"""In front of programs that people run, and behind the clients that they use."""

import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

WSGI = """
import hashlib

def app(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = [environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ["HTTP_X_FORWARDED_FOR"]]
    yield " ".join(told).encode()
    yield b" " + hashlib.sha256(body).hexdigest().encode()
"""
NGINX = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{port}; root {directory}; }}
}}
"""


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where its package is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed (package {package})")
    return path


@contextmanager
def running(arguments: list[str], port: int, directory: Path) -> Iterator[None]:
    """A server process that listens on `port`."""
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(arguments, cwd=directory, stdout=output, stderr=output)

    def listens() -> bool:
        assert process.poll() is None, (directory / "output").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, f"{arguments} listens", 10)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a small and a large file."""
    (tmp_path / "hello.txt").write_bytes(b"hello\n")
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 20000)
    return tmp_path


def assert_serves(sidecar: Sidecar, files: Path) -> None:
    """Files come whole, several over one connection, and what is absent is the app's own 404."""
    with httpx.Client(base_url=f"https://localhost:{sidecar.port}", verify=sidecar.trust) as client:
        for name in ("hello.txt", "large.bin", "hello.txt"):
            assert client.get(f"/{name}").content == (files / name).read_bytes()
        assert client.head("/large.bin").headers["Content-Length"] == str(256 * 20000)
        assert client.get("/absent").status_code == 404


def test_in_front_of_http_server(sidecar: Launch, files: Path) -> None:
    """`python -m http.server`, which speaks HTTP/1.0, gets HTTPS and keep-alive."""
    port = free_port()
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(server, port, files):
        assert_serves(sidecar(APP_PORT=port), files)


def test_in_front_of_gunicorn(sidecar: Launch, tmp_path: Path) -> None:
    """A WSGI app under gunicorn knows that it is asked over HTTPS, and gets bodies whole, chunked ones too."""
    port = free_port()
    (tmp_path / "wsgi.py").write_text(WSGI)
    server = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads=2", "wsgi:app"]
    with running(server, port, tmp_path):
        process = sidecar(APP_PORT=port)
        with httpx.Client(base_url=f"https://localhost:{process.port}", verify=process.trust) as client:
            told = [
                client.post("/", content=content).text
                for content in (b"x" * 300000, iter([b"x" * 100000] * 3), b"x" * 300000)
            ]
    assert len(set(told)) == 1
    assert told[0].split()[:3] == ["https", f"localhost:{process.port}", "127.0.0.1"]


def test_in_front_of_nginx(sidecar: Launch, files: Path) -> None:
    """Static files of nginx come whole, ranges and conditional requests work."""
    port = free_port()
    nginx = program("nginx", "nginx")
    (files / "nginx.conf").write_text(NGINX.format(directory=files, port=port))
    with running([nginx, "-p", str(files), "-c", str(files / "nginx.conf")], port, files):
        process = sidecar(APP_PORT=port)
        assert_serves(process, files)
        with httpx.Client(base_url=f"https://localhost:{process.port}", verify=process.trust) as client:
            assert client.get("/large.bin", headers={"Range": "bytes=10-19"}).content == bytes(range(10, 20))
            tag = client.get("/hello.txt").headers["ETag"]
            assert client.get("/hello.txt", headers={"If-None-Match": tag}).status_code == 304


@pytest.fixture
def authority_file(shared_sidecar: Sidecar, tmp_path: Path) -> str:
    """The authority's certificate in a file."""
    path = tmp_path / "ca.pem"
    shared_sidecar.authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_behind_curl(shared_sidecar: Sidecar, app: ScriptedApp, authority_file: str, tmp_path: Path) -> None:
    """curl verifies, uploads, downloads and keeps its connection."""
    app.answer(lambda request: response(request.method + b" " + request.body))
    (tmp_path / "upload").write_bytes(b"x" * 100000)
    url = f"https://localhost:{shared_sidecar.port}/"
    upload = ["-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path / 'upload'}", url]
    arguments = [program("curl", "curl"), "-sS", "--fail", "--cacert", authority_file, "-v"]
    both = [*arguments, url, "--next", *arguments[1:], *upload]
    done = subprocess.run(both, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"GET POST " + b"x" * 100000
    assert b"Re-using existing connection" in done.stderr


def test_behind_openssl(shared_sidecar: Sidecar, app: ScriptedApp, authority_file: str) -> None:
    """`openssl s_client` verifies the certificate and gets an answer."""
    connect = ["-connect", f"localhost:{shared_sidecar.port}", "-servername", "localhost"]
    verify = ["-CAfile", authority_file, "-verify_return_error", "-quiet", "-4"]
    done = subprocess.run(
        [program("openssl", "openssl"), "s_client", *connect, *verify],
        input=get("/", "Connection: close"),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), done.stderr
    assert done.stdout.endswith(b"\r\n\r\nok")


def test_behind_httpx(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """httpx verifies, and refuses when it does not know the authority."""
    url = f"https://localhost:{shared_sidecar.port}/"
    with httpx.Client(verify=shared_sidecar.trust) as client:
        assert [client.get(url).text for _ in range(3)] == ["ok"] * 3
    with httpx.Client(verify=ssl.create_default_context()) as stranger, pytest.raises(httpx.ConnectError):
        stranger.get(url)
    assert len(app.requests) == 3
