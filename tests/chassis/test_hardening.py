"""What a process has given up once it serves: cores, looks into it, and privileges to come."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tls.material import NOBODY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")

# Two processes of one user who has no capability: as containers of a pod have that share their processes.
SCRIPT = f"""
import ctypes, os, resource, signal, sys, tempfile
from tlsproxy.chassis.hardening import harden
def be_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setuid({NOBODY})
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
def look(path):
    try:
        os.readlink(path) if path.endswith("/root") else os.close(os.open(path, os.O_RDONLY))
    except PermissionError:
        return "refused"
    return "seen"
with tempfile.TemporaryDirectory() as place:
    os.chmod(place, 0o777)
    os.chdir(place)
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        be_nobody()
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        # What is judged is that the flag alone holds, as it must where cores go to a program.
        resource.setrlimit = lambda *_: None
        if sys.argv[1] == "hard":
            assert harden() == ()
        os.write(tells, b".")
        signal.alarm(20)
        signal.pause()
    os.close(tells)
    os.read(told, 1)
    looks = os.fork()
    if not looks:
        be_nobody()
        for name in ("environ", "fd", "root", "mem"):
            print(name, look(f"/proc/{{pid}}/{{name}}"), flush=True)
        os._exit(0)
    os.waitpid(looks, 0)
    os.kill(pid, signal.SIGABRT)
    print("core", "written" if os.WCOREDUMP(os.waitpid(pid, 0)[1]) else "none")
"""
CORES_ARE_FILES = not Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
HIDDEN = ("environ", "fd", "root", "mem")


def seen(kind: str) -> dict[str, str]:
    """What another process sees of one that is `hard` or not, and whether that leaves a core when it aborts."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test_nobody_looks_into_it() -> None:
    """Another process of the same user reads neither its memory and environment nor its files, as it else could."""
    soft = seen("soft")
    assert [soft[name] for name in HIDDEN] == ["seen"] * 4
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0 and CORES_ARE_FILES:
        assert soft["core"] == "written"
    assert seen("hard") == dict.fromkeys(HIDDEN, "refused") | {"core": "none"}


def test_it_is_for_good() -> None:
    """Limit and flag hold for what is forked from it too, and no program that it would start gains anything."""
    script = (
        "import os, pathlib\n"
        "from tlsproxy.chassis.hardening import harden\n"
        "assert harden() == ()\n"
        "if not os.fork():\n"
        "    print(pathlib.Path('/proc/self/status').read_text(), pathlib.Path('/proc/self/limits').read_text())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "NoNewPrivs:\t1" in done.stdout
    (limit,) = (line.split()[4:6] for line in done.stdout.splitlines() if line.startswith("Max core file size"))
    assert limit == ["0", "0"]


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("sys.modules['ctypes'] = None", "import of ctypes halted; None in sys.modules"),
        (
            "from tlsproxy.chassis import hardening as h; h._PR_SET_DUMPABLE = h._PR_SET_NO_NEW_PRIVS = -1",
            "Invalid argument",
        ),
    ],
)
def test_what_it_cannot_give_up_is_said(without: str, said: str) -> None:
    """A line for each, with the reason; nothing fails."""
    script = f"import sys; {without}\nfrom tlsproxy.chassis.hardening import harden\nprint(*harden(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{what} can't be given up: {said}" for what in ("cores and traces", "new privileges")
    ]
