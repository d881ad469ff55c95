"""What a process may do, and does: it writes nothing but what a setting names, and gives up what it can spare."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.programs import program
from tests.e2e.sidecar_process import PASSED_ON, PROJECT, command
from tests.e2e.test_workers import family

CALLS = "open,openat,creat,?mkdir,mkdirat,?rename,renameat,renameat2,?unlink,unlinkat,?link,linkat,?symlink,symlinkat"
CALLS += ",?mknod,mknodat,truncate,?chmod,fchmodat,?chown,fchownat"
WRITES = re.compile(r"^\d+ +(?!open)\w+\(|O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
ALLOWED = re.compile(r'"/dev/null"|"/dev/shm/|"/proc/self/fd/')
"""Nothing that lasts: the bin, and memory that has no name."""


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """Privileges are given up as a process starts."""
    return launch_from_nothing


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_is_hardened(sidecar: Launch, workers: int) -> None:
    """Those that serve, and those that only start and watch them, gain no privileges and leave no core."""
    process = sidecar(WORKERS=workers)
    wait_until(lambda: process.metrics().value("tlsproxy_workers") == workers, "all serve")
    for pid in family(process):
        assert "NoNewPrivs:\t1\n" in Path(f"/proc/{pid}/status").read_text()
        (limit,) = re.findall(
            r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE
        )
        assert limit == ("0", "0")


@pytest.mark.soak
@pytest.mark.parametrize("verb", ["run", "check"])
def test_keys_are_read_by_hardened_processes(tmp_path: Path, verb: str) -> None:
    """Every verb that reads keys has given up all before it opens its first file below CERT_DIR."""
    trace = tmp_path / "trace"
    run = [*strace(trace, "%file,prctl"), *command()[:-1], verb]
    variables = {"CERT_DIR": tmp_path / "certs", "CERT_WAIT": 0, "ADMIN_PORT": 0, "LISTEN_PORT": free_port()}
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment = inherited | {f"TLSPROXY_{name}": str(value) for name, value in variables.items()}
    done = subprocess.run(run, env=environment, cwd=PROJECT, capture_output=True, check=False, timeout=50)
    assert done.returncode == 3
    lines = trace.read_text().splitlines()
    given_up = [number for number, line in enumerate(lines) if re.search(r"prctl\(PR_SET_(DUMPABLE|NO_NEW)", line)]
    opened = [number for number, line in enumerate(lines) if f'"{tmp_path}/certs' in line]
    assert len(given_up) == 2
    assert opened
    assert max(given_up) < min(opened)


@pytest.mark.soak
def test_nothing_is_written(
    sidecar: Launch, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through start, requests, a rotation and the end no process opens a file to write or changes a directory.

    But for the one that SELF_SIGNED_CA names, and the new file that takes its place.
    """
    trace, named = tmp_path / "trace", tmp_path / "ca.crt"
    # Without it Python writes what it has compiled, where it may; the image has all compiled, and sets it too.
    quiet = ["env", "PYTHONDONTWRITEBYTECODE=1", *command()]
    monkeypatch.setenv("TLSPROXY_TEST_COMMAND", shlex.join([*strace(trace, CALLS), "-D", *quiet]))
    certs = tmp_path / "certs"
    certs.mkdir()
    process = sidecar(CERT_DIR=certs, SELF_SIGNED="on", SELF_SIGNED_CA=named, WORKERS=2)
    wait_until(named.exists, "the CA is written")
    pair = issue(authority)
    swap_secret(certs, pair)
    wait_until(lambda: process.told(pair.serial), "the new certificate is served", 20)
    process.metrics()
    assert process.get().status == 200
    process.stop()
    lines = [line for line in trace.read_text().splitlines() if WRITES.search(line) and not ALLOWED.search(line)]
    written = [line for line in lines if f'"{named}"' in line or f'"{named.parent}/.{named.name}.' in line]
    assert written
    assert [line for line in lines if line not in written] == []


def strace(trace: Path, calls: str) -> list[str]:
    """The command that runs another one and writes down its calls, and those of all that it starts."""
    return [program("strace", "strace"), "-f", "-qq", "-o", str(trace), "-s", "4096", "-e", f"trace={calls}"]
