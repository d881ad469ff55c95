"""One of ours by itself: what it takes to start, at rest, to be asked by probes, and to take new certificates.

Certificates lie as the kubelet has them: files that are links through `..data`, which is renamed over.
"""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import trustme

from bench import proc
from bench.certificate import Certificate
from bench.fronts import Running
from bench.proc import Memory

# Seconds. At first there is still something to be set up: a watch on each directory.
FIRST = 2.5
RESTING = 2.0
SETTLE = 0.4
RENEWED_WITHIN = 30.0
# How often each small thing is done, for its mean.
ASKED = 20
FEW, MANY = 1, 1_000
RENEWALS = 3
RENEWED = b" -> "

Pair = tuple[bytes, bytes]
"""Chain and key, in PEM."""


class AloneError(Exception):
    """New certificates were not served; the message says how many."""


@dataclass(frozen=True)
class Alone:
    """What one process takes, with so many certificates; CPU in seconds.

    Attributes:
        certificates: how many it serves.
        start: CPU until it has given its first answer.
        memory: then.
        own: bytes of it that are in no file, and so shared with nobody.
        rest: CPU for each second in which nobody asks for anything.
        probe: CPU for one GET of /readyz, over a connection of its own.
        scrape: CPU for one of /metrics.
        look: CPU for a look at all files that finds nothing new, as every TLSPROXY_CERT_RESYNC_PERIOD has one.
        renewal: CPU for one new certificate.
        renewed: seconds from the rename to the line that tells of it.
        all_renewed: seconds, and CPU, for new ones under all names at once.
        memory_after: of all this.
    """

    certificates: int
    start: float
    memory: Memory
    own: int
    rest: float
    probe: float
    scrape: float
    look: float
    renewal: float
    renewed: float
    all_renewed: tuple[float, float]
    memory_after: Memory


class Mounts:
    """Secrets mounted in one directory, each in a directory of its own that is named after its certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._versions = 0

    def mount(self, name: str, pair: Pair) -> None:
        """Mount it, or replace what is mounted, as the kubelet does."""
        self._versions += 1
        place, version = self.directory / name, f"..version{self._versions}"
        (place / version).mkdir(parents=True)
        for file, content in zip(("tls.crt", "tls.key"), pair, strict=True):
            (place / version / file).write_bytes(content)
            if not (place / file).is_symlink():
                (place / file).symlink_to(f"..data/{file}")
        (place / "..data_tmp").symlink_to(version)
        (place / "..data_tmp").rename(place / "..data")


def mounted(directory: Path, served: Certificate, count: int) -> tuple[Mounts, list[str], list[Pair]]:
    """So many certificates under as many names, the first of which is the one that is served by default.

    Returns:
        Where they are mounted, their names, and a pair for each name that is not mounted there, and one more.
    """
    mounts, made = Mounts(directory), pairs(count + 1)
    names = ["tls", *(f"n{number}" for number in range(1, count))]
    mounts.mount(names[0], (served.chain.read_bytes(), served.key.read_bytes()))
    for name, pair in zip(names[1:], made, strict=False):
        mounts.mount(name, pair)
    return mounts, names, [*made[1:], made[0]]


def pairs(count: int) -> list[Pair]:
    """Certificates for as many names."""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaves = [ca.issue_cert(f"n{number}.example", key_type=trustme.KeyType.ECDSA) for number in range(count)]
    return [(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes()) for leaf in leaves]


def run(running: Running, mounts: Mounts, names: Sequence[str], spares: Sequence[Pair]) -> Alone:
    """All of it.

    Args:
        running: just started, and serves what is mounted.
        mounts: where.
        names: of the certificates.
        spares: a pair for each name, and one more, none of which is mounted under that name.

    Raises:
        AloneError: a new certificate was not served within RENEWED_WITHIN.
    """
    start, memory, own = proc.cpu_seconds(running.pid), proc.memory(running.pid), proc.anonymous(running.pid)
    books = Books(running)
    time.sleep(FIRST)
    books.rest = books.used(lambda: time.sleep(RESTING)) / RESTING
    admin = f"http://127.0.0.1:{running.launch.admin_port}"
    _ask(f"{admin}/metrics")
    renewals = [books.renew(partial(mounts.mount, names[0], pair), 1) for pair in _alternating(spares)]
    return Alone(
        certificates=len(names),
        start=start,
        memory=memory,
        own=own,
        rest=books.rest,
        probe=books.used(lambda: _ask(f"{admin}/readyz", ASKED)) / ASKED,
        scrape=books.used(lambda: _ask(f"{admin}/metrics", ASKED)) / ASKED,
        look=books.used(lambda: _look(running.pid)),
        renewal=median(cpu for _, cpu in renewals),
        renewed=median(seconds for seconds, _ in renewals),
        all_renewed=books.renew(lambda: _mount_all(mounts, names, spares[1:]), len(names)),
        memory_after=proc.memory(running.pid),
    )


class Books:
    """CPU time and log of one process; `rest` is what it takes each second anyway, and is not counted."""

    def __init__(self, running: Running) -> None:
        self._pid = running.pid
        self._log = running.child.complaints
        self.rest = 0.0

    def used(self, do: Callable[[], object]) -> float:
        """CPU seconds beyond those at rest."""
        began, before = time.monotonic(), proc.cpu_seconds_exactly(self._pid)
        do()
        return max(0.0, proc.cpu_seconds_exactly(self._pid) - before - self.rest * (time.monotonic() - began))

    def renew(self, mount: Callable[[], None], count: int) -> tuple[float, float]:
        """Seconds until the log tells of so many new certificates, and CPU seconds for them.

        Raises:
            AloneError: it does not.
        """
        before, took = self._log.read_bytes().count(RENEWED), 0.0

        def wait() -> None:
            nonlocal took
            mount()
            began = time.monotonic()
            while (told := self._log.read_bytes().count(RENEWED) - before) < count:
                took = time.monotonic() - began
                if took > RENEWED_WITHIN:
                    raise AloneError(f"{told} of {count} new certificates are served after {RENEWED_WITHIN:g} s")
                time.sleep(0.01)
            took = time.monotonic() - began
            time.sleep(SETTLE)

        cpu = self.used(wait)
        return took, cpu


def _alternating(spares: Sequence[Pair]) -> list[Pair]:
    """One for each renewal, the same one never twice in turn."""
    return [spares[number % 2] for number in range(RENEWALS)]


def _mount_all(mounts: Mounts, names: Sequence[str], spares: Sequence[Pair]) -> None:
    for name, pair in zip(names, spares, strict=True):
        mounts.mount(name, pair)


def _look(pid: int) -> None:
    os.kill(pid, signal.SIGHUP)
    time.sleep(1 + SETTLE)


def _ask(url: str, times: int = 1) -> None:
    for _ in range(times):
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (our own admin port)
            answer.read()
