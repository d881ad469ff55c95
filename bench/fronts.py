"""What a front is: a command and an environment, how it is brought up, and ours among them. The others: `peers.py`."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import probe, proc
from bench.certificate import Certificate
from bench.child import Child, free_port, running
from bench.loads import Mode
from bench.machine import Cores

OURS = "tlsproxy"

# What the container image sets: glibc otherwise may give memory back and take it anew with every large body.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}
# Of the bench's own environment these reach no front: the one would set only ours, and with the other none of those in
# Python could keep what it has compiled, and each would begin by compiling it.
KEPT_BACK = ("TLSPROXY_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Place:
    """What a front is told: where to listen, whom to ask, what to serve, where it may write.

    The certificate is a copy of the front's own.
    """

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
    """A front to compare: its name in the report, whether it is ours, how it is launched, and what it does.

    `settings` are variables by their whole names, on top of those that the launch sets.
    """

    label: str
    ours: bool
    launch: Callable[[Place], Launch]
    mode: Mode = "http"
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A front that is up and has given its first answer.

    Attributes:
        front: which one.
        child: its process.
        place: its port on 127.0.0.1, its directory, its certificate.
        launch: how it was started.
        connection: what a verified connection to it showed.
        first_answer: seconds from the start of the process to the first answer.
    """

    front: Front
    child: Child
    place: Place
    launch: Launch
    connection: probe.Connection
    first_answer: float

    @property
    def pid(self) -> int:
        """Root of its process tree."""
        return self.child.pid

    @property
    def port(self) -> int:
        """Where it is asked."""
        return self.place.port


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
    place = Place(directory, free_port(), app_port, certificate.copy(directory / "certificate"))
    launch = front.launch(place)
    environment = {**passed_on(os.environ), **launch.environment, **front.settings}
    output = launch.log or directory / "output.log"
    began = time.monotonic()
    with running(launch.command, cores=cores.front, output=output, environment=environment) as child:
        first_answer = probe.await_answer(child, place.port, certificate.ca) - began
        for pid in proc.tree(child.pid):
            # hitch's worker goes to the machine's first core by itself.
            os.sched_setaffinity(pid, cores.front)
        connection = probe.ask(place.port, certificate.ca, 1)
        yield Running(front, child, place, launch, connection, first_answer)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What fronts get of the bench's own environment."""
    return {name: value for name, value in environment.items() if not name.startswith(KEPT_BACK)}
