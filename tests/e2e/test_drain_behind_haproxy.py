"""Two instances behind haproxy, which asks /readyz of each, restarted in turn under load: no request fails."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.programs import nginx, program, running
from tests.e2e.sidecar_process import Sidecar

# Nothing is asked twice, so that haproxy covers nothing up; it notices within two checks.
HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout check 5s
    timeout client 30s
    timeout server 30s
frontend clients
    bind 127.0.0.1:{port}
    default_backend sidecars
backend sidecars
    stats enable
    stats uri /stats
    option httpchk GET /readyz
    http-check expect status 200
    default-server ssl verify required ca-file {directory}/ca.pem verifyhost localhost check inter 50ms fall 2 rise 1
{servers}
"""
SERVER = "    server {name} 127.0.0.1:{port} check port {admin_port}"
STATUS = 17
"""The column of the statistics."""
CONNECTIONS = 8


class Load:
    """wrk over kept connections, from the start of its block to its end; then what it tells."""

    def __init__(self, port: int) -> None:
        arguments = [program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", "-d10m", f"http://127.0.0.1:{port}/"]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.answered = 0
        self.failed: list[str] = []
        """What wrk says of failures; empty when there was none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        told, _rest = self._process.communicate(timeout=10)
        counted = re.search(r"(\d+) requests in", told)
        self.answered = int(counted[1]) if counted else 0
        self.failed = re.findall(r"Socket errors:.*|Non-2xx.*", told)


@dataclass(frozen=True)
class Balancer:
    """A running haproxy."""

    port: int

    def wait_for(self, number: int) -> None:
        """Wait until it sends requests to that instance."""
        wait_until(lambda: self.state(number) == "UP", f"haproxy sees instance {number}")

    def state(self, number: int) -> str:
        """What it thinks of an instance."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats;csv") as told:
            table: str = told.read().decode()
        rows = [line.split(",") for line in table.splitlines()]
        return next(row[STATUS] for row in rows if row[1:2] == [f"s{number}"])


@contextmanager
def haproxy(processes: list[Sidecar], directory: Path) -> Iterator[Balancer]:
    """haproxy in front of the processes."""
    path, port = program("haproxy", "haproxy"), free_port()
    processes[0].authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    servers = "\n".join(
        SERVER.format(name=f"s{number}", port=process.port, admin_port=process.admin_port)
        for number, process in enumerate(processes)
    )
    configuration = directory / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(port=port, directory=directory, servers=servers))
    with running([path, "-db", "-f", str(configuration)], port, directory):
        yield Balancer(port)


def start(launch: Launch, app_port: int, port: int, admin_port: int) -> Sidecar:
    """An instance."""
    return launch(APP_PORT=app_port, LISTEN_PORT=port, ADMIN_PORT=admin_port, DRAIN_DELAY="400ms", APP_CHECK="tcp")


def restart(launch: Launch, app_port: int, restarts: int, directory: Path) -> Load:
    """Restart two instances in turn, each when the other one is up; what became of the load meanwhile."""
    processes = [start(launch, app_port, free_port(), free_port()) for _ in range(2)]
    try:
        with haproxy(processes, directory) as balancer:
            balancer.wait_for(0)
            balancer.wait_for(1)
            with Load(balancer.port) as load:
                for number in islice(cycle((0, 1)), restarts):
                    old = processes[number]
                    assert old.stop() == 0
                    processes[number] = start(launch, app_port, old.port, old.admin_port)
                    balancer.wait_for(number)
    finally:
        for process in processes:
            process.stop()
    return load


@pytest.mark.soak
@pytest.mark.timeout(150)
@pytest.mark.parametrize("restarts", [12])
def test_no_request_fails(
    launch: Launch,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    restarts: int,
) -> None:
    """Each instance drains while the other one serves, and wrk sees nothing but answers."""
    with nginx('location / { return 200 "ok"; }', tmp_path_factory.mktemp("app")) as app_port:
        load = restart(launch, app_port, restarts, tmp_path_factory.mktemp("haproxy"))
    with capsys.disabled():
        sys.stdout.write(f"\n{restarts} restarts, {load.answered} requests, failed: {load.failed or 0}\n")
    assert load.failed == []
    assert load.answered > 100
