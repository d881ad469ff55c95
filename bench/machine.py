"""The machine that the bench runs on: its cores and who gets which, and the versions of what is compared."""

import os
import platform
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LIBRARIES = ("aiohttp", "cryptography", "httptools", "tlsproxy", "uvloop")
TOOLS = {
    "nginx": "apt-get install nginx-light",
    "wrk": "apt-get install wrk",
    "hitch": "apt-get install hitch",
    "haproxy": "apt-get install haproxy",
}
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Cores:
    """Who runs where.

    Attributes:
        front: the core of the front that is measured.
        load: the cores of load generator and app; the same core as the front's on a machine with only one.
    """

    front: int
    load: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether the front has its core to itself."""
        return self.front not in self.load


@dataclass(frozen=True)
class Machine:
    """What a reader must know to compare figures with their own."""

    processor: str
    cores: int
    kernel: str
    load_average: float
    versions: dict[str, str]


def share_out(available: list[int], siblings: set[int]) -> Cores:
    """The last core for the front, up to two others for load and app: not its hyper-thread if possible.

    Args:
        available: the cores that this process may use, in order.
        siblings: the cores that share the last one's execution units, itself included.
    """
    front = available[-1]
    others = [core for core in available if core != front]
    alone = [core for core in others if core not in siblings]
    return Cores(front, tuple((alone or others or [front])[:2]))


def cores() -> Cores:
    """The division of the cores that this process may use."""
    available = sorted(os.sched_getaffinity(0))
    return share_out(available, _siblings(available[-1]))


@contextmanager
def pinned(to: tuple[int, ...]) -> Iterator[None]:
    """Children that are started inside inherit these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def program(name: str) -> str | None:
    """The path of an installed program, in the system's sbin directories too; None when it is missing."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))


def missing_tools() -> dict[str, str]:
    """Programs that the bench can use and that are not there, with what installs each on Debian."""
    return {name: remedy for name, remedy in TOOLS.items() if program(name) is None}


def describe() -> Machine:
    """The facts, read anew."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        versions=_versions(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "missing"
    for tool in TOOLS:
        found[tool] = _tool_version(tool)
    return found


def _tool_version(name: str) -> str:
    """What the program says when asked, on whichever stream."""
    path = program(name)
    if path is None:
        return "missing"
    option = "--version" if name == "hitch" else "-v"
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    return version_number(done.stdout + done.stderr)


def version_number(output: str) -> str:
    """The first version in what a program says of itself; `unknown` when there is none."""
    number = re.search(r"[0-9]+\.[\w.+~-]+", output)
    return number[0] if number else "unknown"


def _siblings(core: int) -> set[int]:
    listing = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        text = listing.read_text().strip()
    except OSError:
        return {core}
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
