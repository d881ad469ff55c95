"""The machine that the bench runs on: its cores and who gets which, and the versions of what is compared."""

import os
import platform
import re
import resource
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LIBRARIES = ("aiohttp", "cryptography", "httptools", "tlsproxy", "uvloop")
TOOLS = {
    "nginx": "apt-get install nginx-light",
    "wrk": "apt-get install wrk",
    "haproxy": "apt-get install haproxy",
    "caddy": "apt-get install caddy",
    "hitch": "apt-get install hitch",
    "stunnel4": "apt-get install stunnel4",
    "mitmdump": "pip install mitmproxy",
    "proxy": "pip install proxy.py",
}
"""Programs that the bench starts, and what installs each: Debian's packages, or Python's."""
ASKED_BY = {"hitch": "--version", "caddy": "version", "stunnel4": "-version", "mitmdump": "--version", "proxy": "-v"}
OPEN_FILES = 32_768
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Cores:
    """Who runs where.

    Attributes:
        front: the cores of the front that is measured: one, unless the load is about more.
        load: the cores of load generator and app; the front's where there are no others.
    """

    front: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether the front has its cores to itself."""
        return not set(self.front) & set(self.load)


@dataclass(frozen=True)
class Machine:
    """What a reader must know to compare figures with their own."""

    processor: str
    cores: int
    kernel: str
    load_average: float
    versions: dict[str, str]


def share_out(available: list[int], siblings: set[int], fronts: int = 1) -> Cores:
    """The last core for the front, up to two others for load and app: not its hyper-thread if possible.

    Args:
        available: the cores that this process may use, in order.
        siblings: the cores that share the last one's execution units, itself included.
        fronts: how many cores the front gets, as far as there are so many.
    """
    front = tuple(available[-fronts:])
    others = [core for core in available if core not in front]
    alone = [core for core in others if core not in siblings]
    return Cores(front, tuple((alone or others or list(front))[:2]))


def cores(fronts: int = 1) -> Cores:
    """The division of the cores that this process may use."""
    available = sorted(os.sched_getaffinity(0))
    return share_out(available, _siblings(available[-1]), fronts)


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
    """The path of an installed program, in the system's sbin directories and beside this Python too; None: missing."""
    places = [os.environ.get("PATH", os.defpath), *SBIN, str(Path(sys.executable).parent)]
    return shutil.which(name, path=os.pathsep.join(places))


def allow_open_files() -> int:
    """Raises the limit of open files as far as it goes, for all children alike, and returns it.

    A proxy has two for each connection. Root may raise the hard limit too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, OPEN_FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return wanted


def missing_tools() -> dict[str, str]:
    """Programs that the bench can use and that are not there, with what installs each."""
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
    done = subprocess.run([path, ASKED_BY.get(name, "-v")], capture_output=True, text=True, check=False)
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
