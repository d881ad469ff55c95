"""The settings process: values, refusals and its own death come back to a parent that never loads pydantic."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tlsproxy.chassis.environment import variables
from tlsproxy.chassis.exits import Exit
from tlsproxy.settings import Settings

PROJECT = Path(__file__).parents[2]
START = """\
import os, signal, sys
from tlsproxy.chassis.settings_process import DIED, PlainReading, Refusal, settings_process
def declared():
    from tlsproxy.settings import Settings
    return Settings
"""
READ = START + "with settings_process(declared) as outcome:\n    result = outcome()\n"
ALONE = "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('alone')\n"


HTTP_ALONE = {"TLSPROXY_CLIENT_EXEMPT", "TLSPROXY_CLIENT_CHAIN"}
"""What stops the start in tcp mode, which is among the examples."""


def python(code: str, environ: Mapping[str, str], path: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter: what forks here is to have no threads, and pydantic is not to be loaded yet."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{path}:{PROJECT}", **environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        start_new_session=True,
    )


def said(code: str, **environ: str) -> str:
    """Standard output of code that ends well and complains of nothing."""
    ended = python(code, environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_values_are_those_of_the_settings() -> None:
    """Every attribute has the very value that `Settings` has, and what /status shows and the warnings come along."""
    code = READ + (
        "assert not {'pydantic', 'pydantic_core', 'pydantic_settings', 'tlsproxy.settings'} & sys.modules.keys()\n"
        "from tlsproxy.chassis.environment import read, shown\n"
        "from tlsproxy.settings import Settings\n"
        "reading = read(Settings)\n"
        "assert vars(result.settings) == dict(reading.settings), result\n"
        "assert result.shown == shown(reading.settings), result\n"
        "assert result.warnings == reading.warnings != (), result\n"
    )
    said(code, TLSPROXY_APP_PROT="1")
    examples = {variable.name: variable.about.example for variable in variables(Settings)}
    said(code, TLSPROXY_APP_PROT="1", **{name: text for name, text in examples.items() if name not in HTTP_ALONE})


def test_what_is_done_beside() -> None:
    """It is given the settings, in the same process as they are read in, and comes along; nothing else is there."""
    read = READ.replace("(declared)", "(declared, lambda settings: (settings.listen_port, os.getpid()))")
    said(read + "port, pid = result.beside\nassert (port, pid == os.getpid()) == (8443, False)\n")
    assert said(READ + "print(result.beside)\n") == "None\n"


def test_bad_settings() -> None:
    """The message has every bad variable, and the warnings, one of which may name the cause, come along."""
    code = READ + "print(int(result.status), result.message, *result.warnings, sep='\\n')"
    lines = said(code, TLSPROXY_APP_PORT="x", TLSPROXY_CERT_NAME="../x", TLSPROXY_APP_PROT="1").splitlines()
    assert lines[0] == str(Exit.SETTINGS.value)
    assert [line.split("=")[0].strip() for line in lines[2:4]] == ["TLSPROXY_CERT_NAME", "TLSPROXY_APP_PORT"]
    assert lines[4].startswith("TLSPROXY_APP_PROT is not a known variable")


def test_more_than_a_pipe_holds() -> None:
    """An outcome of any length comes whole; where nobody reads it, nobody waits for ever."""
    long = "x" * 100_000
    assert long in said(READ + "print(result.settings.cert_name)", TLSPROXY_CERT_NAME=long)
    assert said(START + "with settings_process(declared):\n    pass\n" + ALONE, TLSPROXY_CERT_NAME=long) == "alone\n"


@pytest.mark.parametrize(
    ("pydantic", "reason"),
    [("import os\nos.kill(os.getpid(), 9)", ""), ("raise ImportError('not this one')", "ImportError: not this one")],
)
def test_a_child_that_dies(tmp_path: Path, pydantic: str, reason: str) -> None:
    """Killed or failed, there is an outcome that says so, and what there is to know of the reason."""
    (tmp_path / "pydantic.py").write_text(pydantic)
    ended = python(READ + "assert result is DIED\nprint(int(result.status))\n" + ALONE, {}, tmp_path)
    assert ended.stdout == f"{Exit.FAILED.value}\nalone\n"
    assert reason in ended.stderr
    assert bool(ended.stderr) == bool(reason)


def test_the_verb_of_a_child_that_dies(tmp_path: Path) -> None:
    """A plain line, and the status of a failure."""
    (tmp_path / "pydantic.py").write_text("import os\nos.kill(os.getpid(), 9)")
    ended = python("import sys\nfrom tlsproxy.cli import main\nsys.exit(main(['run']))", {}, tmp_path)
    assert ended.returncode == Exit.FAILED
    assert ended.stderr.startswith("the settings could not be read: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("body", ["outcome()", "pass", "raise KeyboardInterrupt"])
def test_nothing_is_left(body: str) -> None:
    """However the body ends, the child is reaped and its pipe is closed."""
    code = START + (
        "files = len(os.listdir('/proc/self/fd'))\n"
        "try:\n"
        "    with settings_process(declared) as outcome:\n"
        f"        {body}\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
        "assert len(os.listdir('/proc/self/fd')) == files\n"
    )
    assert said(code + ALONE) == "alone\n"


def test_children_that_nobody_may_wait_for() -> None:
    """With SIGCHLD ignored, as some launchers leave it, the kernel reaps; the settings are read all the same."""
    ignored = READ.replace("with", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwith")
    assert said(ignored + "print(result.settings.listen_port)") == "8443\n"


def test_the_end_is_the_parents_alone() -> None:
    """What was to be done at the end of the process, and what is in its buffers, is not done by the child as well."""
    begin = "import atexit\natexit.register(print, 'ended')\nprint('begun')\n"
    assert said(begin + READ) == "begun\nended\n"


def test_an_interrupt_is_the_parents_to_answer() -> None:
    """Ctrl-C on a terminal reaches both; where the parent goes on, its settings are there."""
    code = START + (
        "def ignoring(pid):\n"
        "    mask = open(f'/proc/{pid}/status').read().split('SigIgn:')[1].split()[0]\n"
        "    return int(mask, 16) >> signal.SIGINT - 1 & 1\n"
        "with settings_process(declared) as outcome:\n"
        "    signal.signal(signal.SIGINT, lambda *_: print('interrupted'))\n"
        "    child = open(f'/proc/self/task/{os.getpid()}/children').read().strip()\n"
        "    while not ignoring(child):\n"
        "        pass\n"
        "    os.killpg(0, signal.SIGINT)\n"
        "    print(outcome().settings.listen_port)\n"
    )
    assert said(code) == "interrupted\n8443\n"
