"""Programs that people run, as processes of a test: each listens on a loopback port until its block ends."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

STARTED_WITHIN = 15.0
STOPPED_WITHIN = 10.0

NGINX = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/errors;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where its package is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed (package {package})")
    return path


@contextmanager
def running(arguments: list[str], port: int, directory: Path, cwd: Path | None = None) -> Iterator[int]:
    """The pid of a server process that listens on `port`, with `directory` as its own, and started there but for `cwd`.

    What it says is in the file `output` of that directory, and in the AssertionError of one that does not start.
    """
    output = directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(arguments, cwd=cwd or directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def listens() -> bool:
        assert process.poll() is None, f"{arguments} has ended: {output.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, f"{arguments} listens", STARTED_WITHIN)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def http_server(files: Path, directory: Path) -> AbstractContextManager[int]:
    """`python -m http.server` over the directory `files`."""
    return _serving(["http.server", "--bind=127.0.0.1", f"--directory={files}", "{port}"], directory)


def gunicorn(application: str, directory: Path) -> AbstractContextManager[int]:
    """A WSGI application, `module:name`, under gunicorn with threads."""
    return _serving(["gunicorn", "--bind=127.0.0.1:{port}", "--threads=4", application], directory)


def uvicorn(application: str, directory: Path) -> AbstractContextManager[int]:
    """An ASGI application, `module:name` from here, under uvicorn."""
    here = f"--app-dir={Path(__file__).parent}"
    return _serving(["uvicorn", "--host=127.0.0.1", "--port={port}", "--lifespan=off", here, application], directory)


@contextmanager
def nginx(server: str, directory: Path) -> Iterator[int]:
    """nginx with these directives in its `server` block, where `$port` stands for its own port."""
    path, port = program("nginx", "nginx"), free_port()
    configuration = directory / "nginx.conf"
    directives = server.replace("$port", str(port))
    configuration.write_text(NGINX.format(directory=directory, port=port, server=directives))
    with running([path, "-p", str(directory), "-c", str(configuration)], port, directory):
        yield port


@contextmanager
def node(script: Path, directory: Path, *arguments: str) -> Iterator[int]:
    """A script under Node.js that listens on the port of its first argument; the others come behind it."""
    path, port = program("node", "nodejs"), free_port()
    with running([path, str(script), str(port), *arguments], port, directory):
        yield port


@contextmanager
def _serving(module: list[str], directory: Path) -> Iterator[int]:
    """`python -m` with a module and its arguments, in which `{port}` stands for a free port."""
    port = free_port()
    arguments = [argument.replace("{port}", str(port)) for argument in module]
    with running([sys.executable, "-m", *arguments], port, directory):
        yield port
