"""A start that fails says why and what to do, with a status of its own and never a traceback."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.commands import run
from tests.e2e.ports import free_port
from tests.e2e.sidecar_process import PASSED_ON, command

BAD = {
    "CERT_NAME": "../x",
    "APP_PORT": "eighty",
    "MAX_BODY": "ten",
    "TLS_PROFILE": "old",
    "HEAD_TIMEOUT": "-1s",
    "TRUSTED_PROXIES": "10.0.0.0/40",
}

START_ERRORS: Mapping[str, tuple[int, Mapping[str, object]]] = {
    "bad settings:": (2, {"APP_PORT": "eighty"}),
    "is not a known variable and has no effect": (2, {"APP_PORT": "eighty", "APP_PROT": "3000"}),
    "no usable certificate within": (3, {"CERT_NAME": "absent", "CERT_WAIT": 0}),
    "is no address of this machine": (4, {"LISTEN_HOST": "203.0.113.1"}),
    "can't be resolved": (4, {"LISTEN_HOST": "absent.invalid"}),
}
"""What is said, with the exit status, and at which settings; docs/troubleshooting.md tells the way out of each."""


@contextmanager
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.fixture
def settings(certificate_dir: Path) -> dict[str, object]:
    """Those of a process that could start."""
    return {
        "CERT_DIR": certificate_dir,
        "LISTEN_HOST": "127.0.0.1",
        "ADMIN_HOST": "127.0.0.1",
        "LISTEN_PORT": free_port(),
        "ADMIN_PORT": free_port(),
    }


@pytest.mark.parametrize("verb", [(), ("run",), ("check",), ("config",), ("health",)])
def test_all_bad_settings_are_told_together(verb: tuple[str, ...]) -> None:
    """Every verb that reads the settings ends with status 2 and names each bad one, its value and the way out."""
    done = run(*verb, **BAD)
    assert (done.returncode, done.stdout) == (2, "")
    for name, value in BAD.items():
        (line,) = (line for line in done.stderr.splitlines() if f"TLSPROXY_{name}=" in line)
        assert repr(value) in line
        assert "for example" in line
    assert len(done.stderr.splitlines()) == len(BAD) + 1


def test_a_misspelled_name_is_told(settings: dict[str, object]) -> None:
    """A name that is not known is a warning with the nearest one; Kubernetes' service links are none."""
    links = {"PORT": "tcp://10.0.0.1:443", "SERVICE_HOST": "10.0.0.1", "PORT_443_TCP_ADDR": "10.0.0.1"}
    done = run("config", **settings, **links, CERT_NAM="shop", LOG_FORMAT="text")
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert "TLSPROXY_CERT_NAM " in warning
    assert "did you mean TLSPROXY_CERT_NAME?" in warning


@pytest.mark.parametrize("variable", ["LISTEN_PORT", "ADMIN_PORT", "REDIRECT_PORT"])
def test_a_port_that_is_taken(settings: dict[str, object], variable: str) -> None:
    """Each port that another process listens on is status 4, by the name of its variable."""
    with taken() as port:
        done = run("run", **settings | {variable: port})
    assert done.returncode == 4
    assert f"TLSPROXY_{variable}={port}: another process listens there" in done.stderr


@pytest.mark.parametrize("said", START_ERRORS)
def test_a_start_that_fails(settings: dict[str, object], said: str) -> None:
    """Each ends with its status and says why."""
    status, given = START_ERRORS[said]
    done = run("run", **{**settings, **given})
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_standard_stream_may_be_closed(settings: dict[str, object], closed: int) -> None:
    """A parent that has closed standard input, output or error makes no crash: the status is the usual one."""
    with taken() as port:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {f"TLSPROXY_{name}": str(value) for name, value in settings.items()}
        environment["TLSPROXY_LISTEN_PORT"] = str(port)
        arguments = command()
        pid = os.posix_spawnp(arguments[0], arguments, environment, file_actions=[(os.POSIX_SPAWN_CLOSE, closed)])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
