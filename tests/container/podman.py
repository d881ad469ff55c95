"""podman, and what the tests of containers ask of it and of what listens there."""

import http.client
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

IMAGE = os.environ["TLSPROXY_IMAGE"]
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@cache
def image_of(program: str) -> str:
    """The image of the program that `make images` made; without one the test is skipped."""
    place, slash, name = IMAGE.rpartition("/")
    image = f"{place}{slash}{program}{name.removeprefix('tlsproxy')}"
    if subprocess.run(["podman", "image", "exists", image], check=False).returncode:
        pytest.skip(f"there is no image {image}: `make images` makes it")
    return image


def podman(*arguments: str | Path) -> str:
    """What the command printed on both streams; AssertionError with it when the command fails."""
    return run("podman", *arguments)


def run(*command: str | Path) -> str:
    """The same of any command."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"
    return done.stdout


def status(container: str) -> int:
    """The exit status of a container that has ended."""
    return int(podman("inspect", "--format", "{{.State.ExitCode}}", container).split()[-1])


def adapted(manifest: Path, name: str, port: int) -> str:
    """An example of deploy/, with the images that are tested, a name that nobody has, and a port that is free."""
    text = with_images(manifest.read_text()).replace("shop", name).replace("8443:", f"{port}:")
    return re.sub(r"hostPort: (8443|8080)\b", f"hostPort: {port}", text)


def hurried(text: str) -> str:
    """A manifest, with a second where it has ten."""
    return text.replace("value: 10s", "value: 1s")


def with_images(text: str) -> str:
    """A manifest, with the images that are tested."""
    return re.sub(r"localhost/(tlsproxy|topz|configsync)\b", lambda match: local(image_of(match[1])), text)


def local(image: str) -> str:
    """An image's name, with the place where it was made."""
    return image if "/" in image else f"localhost/{image}"


@contextmanager
def played(manifest: str, directory: Path) -> Iterator[None]:
    """The manifest's pod runs, and is gone afterwards."""
    file = directory / "pod.yaml"
    file.write_text(manifest)
    try:
        podman("kube", "play", file)
        yield
    finally:
        podman("kube", "down", file)


def resident(container: str) -> float:
    """MB of memory that the container's first process has (RSS); printed for who reads the run."""
    pid = podman("inspect", "--format", "{{.State.Pid}}", container).split()[-1]
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    megabytes = int(found[1]) * 1024 / 1e6
    print(f"{container}: {megabytes:.1f} MB")  # noqa: T201  for who reads the run
    return megabytes


def make_pair(directory: Path) -> None:
    """A development pair that the image's user can read, made anew if there is one."""
    subprocess.run([sys.executable, "-m", "tlsproxy", "dev-cert", directory, "--force"], check=True)
    (directory / "tls.key").chmod(0o644)


def serial(port: int) -> str:
    """The serial of the certificate that a new connection is shown."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True
    )
    return shown.stdout.strip().removeprefix("serial=")


class Load:
    """Clients that each ask, on a new and verified connection every time, until told to stop or not let in.

    A request is lost when it was sent and no whole answer came; one that was never sent is not.
    """

    def __init__(self, port: int, authorities: str, clients: int = 2) -> None:
        self._port = port
        self._context = ssl.create_default_context(cadata=authorities)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]
        self.answered = 0
        """Whole answers so far."""
        self.not_let_in = 0
        """Connections that did not come about."""
        self.lost: list[str] = []
        """What became of each request that has no whole answer."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPSConnection("localhost", self._port, timeout=20, context=self._context)
            try:
                connection.connect()
            except OSError:
                self.not_let_in += 1
                return
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.lost.append(f"{answer.status} {answer.reason}")
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
            finally:
                connection.close()
