"""The fronts that are compared, each as a command and an environment, and how one is brought up.

To add a peer: a function that returns its Launch, and a line in PEERS.
"""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import nginx, probe, proc
from bench.certificate import Certificate
from bench.child import Child, await_port, free_port, running
from bench.loads import Mode
from bench.machine import Cores, program

NGINX = "nginx"
PLAIN = "plain aiohttp"
OURS = "tlsproxy"
HITCH = "hitch"
HAPROXY = "haproxy"

# What the container image sets: glibc otherwise gives memory back and takes it anew with every large body.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}

# As it is by default: one worker, and of the log only errors.
HITCH_CONFIGURATION = """
frontend = "[127.0.0.1]:{port}"
backend = "[127.0.0.1]:{app_port}"
pem-file = {{ cert = "{chain}" private-key = "{key}" }}
workers = 1
backlog = 4096
daemon = off
log-level = 1
{user}
"""

# Buffers of 128 KiB are what haproxy is fastest with; its default, 16 KiB, takes 1.7 times the CPU for uploads.
HAPROXY_CONFIGURATION = """
global
    nbthread 1
    ssl-load-extra-del-ext
    tune.bufsize 131072
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen tcp
    bind 127.0.0.1:{port} ssl crt {chain} backlog 4096
    server app 127.0.0.1:{app_port}
"""


@dataclass(frozen=True)
class Place:
    """What a front is told: where to listen, whom to ask, what to serve, where it may write."""

    directory: Path
    port: int
    app_port: int
    certificate: Certificate


@dataclass(frozen=True)
class Launch:
    """How a front is started.

    Attributes:
        command: program and arguments.
        log: the file of its request lines; its standard output goes to the same name. None: it writes none.
        environment: added to this process's own.
        admin_port: where it serves /metrics in plain HTTP; None: nowhere.
    """

    command: list[str]
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    admin_port: int | None = None


@dataclass(frozen=True)
class Front:
    """A front to compare: its name in the report, whether it is ours, how it is launched, and what it does."""

    label: str
    ours: bool
    launch: Callable[[Place], Launch]
    mode: Mode = "http"


@dataclass(frozen=True)
class Running:
    """A front that is up and has given its first answer.

    Attributes:
        front: which one.
        child: its process.
        port: its HTTPS port on 127.0.0.1.
        launch: how it was started.
        connection: what a verified connection to it showed.
        first_answer: seconds from the start of the process to the first answer.
    """

    front: Front
    child: Child
    port: int
    launch: Launch
    connection: probe.Connection
    first_answer: float


def launch_nginx(place: Place) -> Launch:
    """Debian's nginx, one worker."""
    log = place.directory / "requests.log"
    configuration = nginx.front_configuration(place.directory, place.port, place.app_port, place.certificate, log)
    return Launch(nginx.command(program("nginx") or "nginx", place.directory, configuration), log)


def launch_plain(place: Place) -> Launch:
    """The proxy of the tutorials, with the same allocator settings as ours."""
    certificate = place.certificate
    command = [sys.executable, "-m", "bench.plain_aiohttp_proxy"]
    arguments = [str(place.port), str(place.app_port), str(certificate.chain), str(certificate.key)]
    return Launch(command + arguments, environment=MALLOC)


def launch_hitch(place: Place) -> Launch:
    """Debian's hitch, which does nothing else."""
    # It will not have its worker run as root.
    user = 'user = "nobody"' if os.geteuid() == 0 else ""
    configuration = HITCH_CONFIGURATION.format(**_values(place), user=user)
    return Launch([program("hitch") or "hitch", f"--config={_write(place, 'hitch.conf', configuration)}"])


def launch_haproxy(place: Place) -> Launch:
    """Debian's haproxy, in tcp mode too, with one thread."""
    configuration = HAPROXY_CONFIGURATION.format(**_values(place))
    return Launch([program("haproxy") or "haproxy", "-f", str(_write(place, "haproxy.cfg", configuration))])


def _values(place: Place) -> dict[str, object]:
    chain, key = place.certificate.chain, place.certificate.key
    return {"port": place.port, "app_port": place.app_port, "chain": chain, "key": key}


def _write(place: Place, name: str, text: str) -> Path:
    path = place.directory / name
    path.write_text(text)
    return path


def ours(label: str, command: str, mode: Mode = "http") -> Front:
    """A build of ours, started by a command line that reads the TLSPROXY_* variables; all else is default.

    Request lines are on and go to a file, metrics are on.
    """

    def launch(place: Place) -> Launch:
        admin_port = free_port()
        environment = {
            **MALLOC,
            "TLSPROXY_MODE": mode,
            "TLSPROXY_CERT_DIR": str(place.certificate.chain.parent),
            "TLSPROXY_CERT_NAME": "tls",
            "TLSPROXY_APP_PORT": str(place.app_port),
            "TLSPROXY_LISTEN_HOST": "127.0.0.1",
            "TLSPROXY_LISTEN_PORT": str(place.port),
            "TLSPROXY_ADMIN_HOST": "127.0.0.1",
            "TLSPROXY_ADMIN_PORT": str(admin_port),
        }
        return Launch(shlex.split(command), place.directory / "requests.log", environment, admin_port)

    return Front(label, ours=True, launch=launch, mode=mode)


PEERS = {
    "nginx": Front(NGINX, ours=False, launch=launch_nginx),
    "plain": Front(PLAIN, ours=False, launch=launch_plain),
    "hitch": Front(HITCH, ours=False, launch=launch_hitch, mode="tcp"),
    "haproxy": Front(HAPROXY, ours=False, launch=launch_haproxy, mode="tcp"),
}
"""The others, by their names in options."""


def peers(wanted: list[str]) -> list[Front]:
    """The others that are wanted and there, in the order of the rounds."""
    return [front for name, front in PEERS.items() if name in wanted and (name == "plain" or program(name))]


@contextmanager
def up(front: Front, *, directory: Path, app_port: int, certificate: Certificate, cores: Cores) -> Iterator[Running]:
    """The front, started on its core, for the length of the block.

    Args:
        front: which one.
        directory: made for it; must not exist yet.
        app_port: the app behind it, on 127.0.0.1; it must answer `GET /1` already.
        certificate: what it serves.
        cores: the division of the machine.

    Raises:
        StartError: it did not come up.
        probe.WrongAnswerError: it came up and answers something else than the app.
    """
    directory.mkdir()
    place = Place(directory, free_port(), app_port, certificate)
    launch = front.launch(place)
    environment = {**_own_environment(), **launch.environment}
    output = launch.log if launch.log and front.ours else directory / "output.log"
    began = time.monotonic()
    with running(launch.command, cores=(cores.front,), output=output, environment=environment) as child:
        await_port(child, place.port)
        for pid in proc.tree(child.pid):
            # hitch's worker goes to the machine's first core by itself.
            os.sched_setaffinity(pid, {cores.front})
        connection = probe.ask(place.port, certificate.ca, 1)
        yield Running(front, child, place.port, launch, connection, time.monotonic() - began)


def _own_environment() -> dict[str, str]:
    """This process's environment without settings that would reach only ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TLSPROXY_")}
