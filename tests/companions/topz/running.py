"""topz as its users run it: a process with an environment, ports and an exit status."""

import base64
import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tlsproxy.demo.sidecar_process import SidecarProcess, reserved_ports, sidecar_process

PROGRAM = "tlsproxy.companions.topz"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    fields: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Topz:
    """A running topz."""

    process: SidecarProcess
    port: int
    admin_port: int

    def get(
        self,
        target: str,
        token: str = "",
        fields: Mapping[str, str] | None = None,
        *,
        admin: bool = False,
        method: str = "GET",
    ) -> Answer:
        """One request, with a token unless it is empty."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=20)
        try:
            sent = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, target, headers={**sent, **(fields or {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers.items()), response.read().decode())
        finally:
            connection.close()


def basic(password: str) -> dict[str, str]:
    """The field that a browser sends."""
    return {"Authorization": "Basic " + base64.b64encode(f"somebody:{password}".encode()).decode()}


@contextmanager
def running(directory: Path, **settings: object) -> Iterator[Topz]:
    """topz, ready, for the length of the block; its diagnostics are in a file of the directory."""
    with reserved_ports(2) as (port, admin_port):
        defaults = {"PORT": port, "ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": admin_port, "SAMPLE": "200ms"}
        given = {**defaults, "LOG_FORMAT": "text", **settings}
        with sidecar_process(given, admin_port, directory / "diagnostics", PROGRAM) as process:
            process.await_ready()
            yield Topz(process, port, admin_port)
