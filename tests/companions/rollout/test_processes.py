"""Which processes are found, and what may be sent to them, with real ones."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.companions.rollout.programs import named, program, python
from tests.e2e.polling import wait_until
from tlsproxy.companions.rollout import processes
from tlsproxy.companions.rollout.processes import ProcessError, Selector, ends, find, held, parse_selector

PARENT = "import os, time\nif os.fork() == 0:\n    begun.touch()\ntime.sleep(60)\n"


@pytest.mark.parametrize("text", ["name:nginx", "pidfile:/run/app.pid", "label:APP=legacy=1"])
def test_selector(text: str) -> None:
    """A selector is written as it is read."""
    assert str(parse_selector(text)) == text


@pytest.mark.parametrize(
    "text", ["", "nginx", "name:", "name:/usr/sbin/nginx", "pidfile:app.pid", "label:APP", "pid:1"]
)
def test_bad_selector(text: str) -> None:
    """What is none is refused with what one looks like."""
    with pytest.raises(ValueError, match="it names no process"):
        parse_selector(text)


def test_by_name(tmp_path: Path) -> None:
    """A program is found by the name of its file, however long that is."""
    name = f"legacy-{os.getpid()}-application"
    with program(named(tmp_path, name), "60") as app:
        assert find(Selector("name", name)) == (app.pid,)
        assert find(Selector("name", name[:15])) == (app.pid,)


def test_by_script(tmp_path: Path) -> None:
    """What an interpreter runs is found by the script's name, and the options in between don't matter."""
    name = f"app{os.getpid()}.py"
    with python(tmp_path, "begun.touch()\nimport time; time.sleep(60)", name) as app:
        assert find(Selector("name", name)) == (app.pid,)


def test_argument_is_no_name(tmp_path: Path) -> None:
    """Who merely has the name among its arguments is not taken for the app: `tail -f /var/log/nginx`."""
    name = f"tailed{os.getpid()}"
    (tmp_path / name).touch()
    with program(Path(shutil.which("tail") or ""), "-f", str(tmp_path / name)), pytest.raises(ProcessError):
        find(Selector("name", name))


def test_by_label(tmp_path: Path) -> None:
    """A process is found by a variable that it began with; the value has to be the whole one."""
    with program(named(tmp_path, "app"), "60", APP=f"legacy{os.getpid()}") as app:
        assert find(Selector("label", f"APP=legacy{os.getpid()}")) == (app.pid,)
        with pytest.raises(ProcessError):
            find(Selector("label", "APP=legacy"))


def test_oldest_first(tmp_path: Path) -> None:
    """Of several that match the one that began first comes first."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60") as first:
        wait_until(lambda: len(started_after(first.pid)) == 0, "the clock has gone on")
        with program(file, "60") as second:
            assert find(Selector("name", file.name)) == (first.pid, second.pid)


def started_after(pid: int) -> str:
    """Empty once a process that begins would begin later than that one."""
    now = float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")
    process = processes._read(pid)
    assert process
    return "" if now > process.started + 2 else "not yet"


def test_parent_alone(tmp_path: Path) -> None:
    """A master whose workers match as well is found alone."""
    name = f"app{os.getpid()}.py"
    with python(tmp_path, PARENT, name) as app:
        assert find(Selector("name", name)) == (app.pid,)
        (child,) = children(app.pid)
        os.kill(int(child), signal.SIGKILL)


def test_ended_is_not_found(tmp_path: Path) -> None:
    """One that has ended, and that nobody has asked after, is not there."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "0") as app:
        os.waitid(os.P_PID, app.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError, match="no process matches"):
            find(Selector("name", file.name))


def test_never_ourselves_or_our_parents(tmp_path: Path) -> None:
    """A process does not find itself, nor whoever started it."""
    name = f"app{os.getpid()}.py"
    text = (
        "import os, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from tlsproxy.companions.rollout.processes import *\n"
        "if (child := os.fork()) == 0:\n"
        "    try:\n"
        f"        print(find(Selector('name', {name!r})))\n"
        "    except ProcessError:\n"
        "        begun.touch()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    with python(tmp_path, text, name) as app:
        assert app.wait(10) == 0
        assert (tmp_path / "begun").exists()


def test_pid_file(tmp_path: Path) -> None:
    """The number in the file is the process, blanks or not."""
    with program(named(tmp_path, "app"), "60") as app:
        (tmp_path / "app.pid").write_text(f"  {app.pid}\n")
        assert find(Selector("pidfile", str(tmp_path / "app.pid"))) == (app.pid,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read: no such file or directory"),
        ("", "holds no process's number"),
        ("nginx", "holds no process's number"),
        ("-1", "holds no process's number"),
        ("9999999999", "there is no such process: it is stale, or set shareProcessNamespace: true"),
        ("OURS", "which is this very process: to see the app's, set shareProcessNamespace: true"),
    ],
)
def test_bad_pid_file(tmp_path: Path, text: str | None, said: str) -> None:
    """What is wrong with it is said, with the file's name."""
    file = tmp_path / "app.pid"
    if text is not None:
        file.write_text(text.replace("OURS", str(os.getpid())))
    with pytest.raises(ProcessError) as caught:
        find(Selector("pidfile", str(file)))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_signal(tmp_path: Path) -> None:
    """What is sent arrives; one that has ended meanwhile is no error."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60") as app, held(Selector("name", file.name)) as (handle,):
        assert str(handle.process) == f"process {app.pid} ({file.name[:15]})"
        handle.send(signal.SIGUSR2)
        assert app.wait(10) == -signal.SIGUSR2
        handle.send(signal.SIGUSR2)


def test_number_of_another(tmp_path: Path) -> None:
    """A pid that has become another process's since it was found is not held."""
    with program(named(tmp_path, "app"), "60") as app:
        process = processes._read(app.pid)
        assert process
        former = processes.Process(process.pid, process.parent, process.started - 1, process.group, process.name)
        assert processes._hold(former) is None


def test_heeds(tmp_path: Path) -> None:
    """A handler, SIG_IGN and sigwait() are heeding; the default is not."""
    text = (
        "import signal\n"
        "signal.signal(signal.SIGHUP, lambda *_: None)\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n"
        "begun.touch()\n"
        "while True: signal.pause()\n"
    )
    name = f"app{os.getpid()}.py"
    with python(tmp_path, text, name), held(Selector("name", name)) as (handle,):
        heeded = {
            number: handle.heeds(number) for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
        }
    assert heeded == {signal.SIGHUP: True, signal.SIGUSR1: True, signal.SIGUSR2: True, signal.SIGALRM: False}


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_end_is_seen(loop_factory: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """The end of a process is waited for, whoever's child it is; one that goes on is told apart."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60"), held(Selector("name", file.name)) as (handle,):

        async def go() -> tuple[bool, bool]:
            early = await ends(handle.pidfd, 0.02)
            handle.send(signal.SIGTERM)
            return early, await handle.ended(10)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(go()) == (False, True)


# --- Other users, and process 1 ----------------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be another user")
ASK = """
import json, os, signal, sys
sys.path[:] = json.loads(sys.argv[1])
from tlsproxy.companions.rollout.processes import *
os.setuid(int(sys.argv[2]))
for text in sys.argv[3:]:
    try:
        with held(parse_selector(text)) as (handle,):
            handle.send(signal.SIGTERM)
    except ProcessError as error:
        print(error)
    else:
        print("sent")
"""


def ask(*selectors: str, before: tuple[str, ...] = (), user: int = 0) -> list[str]:
    """What a process of its own says to SIGTERM for each selector."""
    command = (*before, sys.executable, "-c", ASK, json.dumps(sys.path), str(user), *selectors)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@needs_root
def test_other_user(tmp_path: Path) -> None:
    """A signal that the kernel does not let through says whose process it is and what to set."""
    file = named(tmp_path, f"app{os.getpid()}")
    with program(file, "60", LEGACY=f"app{os.getpid()}") as app:
        said = ask(f"name:{file.name}", f"label:LEGACY=app{os.getpid()}", user=65534)
        assert app.poll() is None
    assert said[0] == (
        f"process {app.pid} ({file.name}) is user 0's, and user 65534 may not send it SIGTERM: "
        "have both containers run as the same user (runAsUser: 0), or this one as root with the capability KILL"
    )
    assert "no process matches label:LEGACY=" in said[1]


UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture(scope="module")
def pid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names process 1, where there may be PID namespaces."""
    if subprocess.run((*UNSHARE, "true"), capture_output=True, check=False).returncode:
        pytest.skip("needs a PID namespace of its own (unshare --pid, as root)")
    file = tmp_path_factory.mktemp("app") / "app.pid"
    file.write_text("1")
    return file


@pytest.fixture(scope="module")
def pod(pid_file: Path) -> Iterator[list[str]]:
    """What is said in a PID namespace that is shared: process 1 is nobody's parent there."""
    with program(Path(shutil.which("unshare") or ""), *UNSHARE[1:], "sleep", "60") as unshare:
        first = wait_until(lambda: children(unshare.pid), "process 1 runs")[0]
        wait_until(lambda: Path(f"/proc/{first}/comm").read_text() == "sleep\n", "it is what it is to be")
        yield ask("name:sleep", "name:nginx", before=("nsenter", "--target", first, "--pid", "--mount"))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_process_1_is_not_found(pod: list[str]) -> None:
    """Process 1, the pod's own, is taken from a pid file alone, and that is said."""
    assert pod[0] == (
        "no process matches name:sleep: but process 1, "
        "which is taken from a pid file alone (pidfile:/PATH, with 1 in it)"
    )


def test_shared_namespace(pod: list[str]) -> None:
    """Who sees the others and not the app is told how many there are."""
    assert pod[1] == "no process matches name:nginx: it is none of the 2 that are there"


@pytest.fixture(scope="module")
def alone(pid_file: Path) -> list[str]:
    """What is said in a PID namespace whose process 1 is a shell without handlers, and our parent."""
    # The shell has to stay, hence a second command.
    return ask("name:nginx", f"pidfile:{pid_file}", before=(*UNSHARE, "sh", "-c", '"$@"; true', "sh"))


def test_own_namespace(alone: list[str]) -> None:
    """Who sees none but their own is told to share the namespace."""
    assert alone[0] == (
        "no process matches name:nginx: to see those of the app's container, "
        "set shareProcessNamespace: true in the pod (podman: --share pid)"
    )


def test_process_1_without_handler(alone: list[str]) -> None:
    """A signal that the kernel would drop is not taken for sent."""
    assert alone[1].startswith("process 1 (sh) doesn't handle SIGTERM, and nobody in its PID namespace ends process 1")
