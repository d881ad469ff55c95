"""A user's command, run for real: what it is given, how it ends, and what is left of it."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.e2e.polling import wait_until, wait_until_gone
from tlsproxy.companions.rollout import commands
from tlsproxy.companions.rollout.commands import CommandError, parse_command, run
from tlsproxy.companions.rollout.processes import Selector, find


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """The lines of a command, on each of the loops."""

    def lines(command: str, within: float = 10, **more: dict[str, str] | Path) -> list[str]:
        said: list[str] = []
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(run(parse_command(command), within, say=said.append, **more))  # type: ignore[arg-type]  # by name
        return said

    return lines


def failure(command: str, within: float = 10) -> CommandError:
    with pytest.raises(CommandError) as caught:
        asyncio.run(run(parse_command(command), within, say=lambda _: None))
    return caught.value


def shell(text: str) -> str:
    return f"sh -c {shlex.quote(text)}"


# --- Starting ----------------------------------------------------------------------------------------------


def test_words() -> None:
    """Words are split as a shell splits them, and nothing else is done with them."""
    assert parse_command("nginx -t -c '/etc/a b' $HOME | x") == ("nginx", "-t", "-c", "/etc/a b", "$HOME", "|", "x")


@pytest.mark.parametrize("text", ["", "  ", "''", "sh -c 'x"])
def test_no_command(text: str) -> None:
    """What is none is refused."""
    with pytest.raises(ValueError, match=r"there is no command in it|no closing quotation"):
        parse_command(text)


def test_output(runner: Callable[..., list[str]]) -> None:
    """Both outputs are told line by line, the last one even without its end; blank ones are not."""
    assert runner(shell("echo one; echo two >&2; echo; printf 'thr\\303\\244e\\377'")) == ["one", "two", "thräe\ufffd"]


def test_environment(runner: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """It has PATH, LANG, HOME and what it is given, and none of our secrets."""
    monkeypatch.setenv("CONFIGSYNC_TOKEN", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    names = {line.partition("=")[0] for line in runner("env", variables={"CONFIGSYNC_VERSION": "v1"})}
    assert names == {"PATH", "LANG", "HOME", "CONFIGSYNC_VERSION", "COMMAND_ID"}


def test_directory(runner: Callable[..., list[str]], tmp_path: Path) -> None:
    """It runs where it is told to."""
    assert runner("pwd", directory=tmp_path) == [str(tmp_path)]


def test_nothing_to_read(runner: Callable[..., list[str]]) -> None:
    """A command that reads standard input finds its end, and nothing of ours."""
    ours, reading, writing = os.dup(0), *os.pipe()
    os.dup2(reading, 0)
    try:
        os.write(writing, b"ours")
        assert runner(shell("cat; echo over"), within=1) == ["over"]
    finally:
        os.dup2(ours, 0)
        for descriptor in (ours, reading, writing):
            os.close(descriptor)


def test_descriptors_are_given_back(runner: Callable[..., list[str]]) -> None:
    """Neither a command nor one that does not start leaves a descriptor or a child."""
    before, children = os.listdir("/proc/self/fd"), children_of_ours()  # noqa: PTH208  names alone
    runner("true")
    failure("no-such-program")
    failure(shell("sleep 60"), within=0.01)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    assert children_of_ours() <= children


def children_of_ours() -> set[str]:
    """Ended ones that nobody has asked after, too; other tests' fixtures may have some."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_no_such_program() -> None:
    """A program that is not there is named, and where it was looked for."""
    assert str(failure("nginx-no-such -t")).startswith(f"there is no nginx-no-such in PATH={os.environ['PATH']}: the ")


@pytest.mark.parametrize(
    ("text", "mode", "said"), [("x", 0o644, "permission denied"), ("x", 0o755, "exec format error")]
)
def test_no_program(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """A file that can't be executed is named with the reason."""
    file = tmp_path / "check"
    file.write_text(text)
    file.chmod(mode)
    assert str(failure(str(file))) == f"{file} can't be started: {said}"


# --- Output ------------------------------------------------------------------------------------------------


def test_many_lines() -> None:
    """Only so many lines are told, then how many more there were; the last one is in the message all the same."""
    said: list[str] = []
    with pytest.raises(CommandError, match="ended with exit status 3: last words"):
        asyncio.run(run(parse_command(shell("seq 100000; echo last words; exit 3")), 10, say=said.append))
    assert said == [*map(str, range(1, 201)), "... and 99801 more lines"]


def test_long_line() -> None:
    """A line without an end is shortened and costs no memory."""
    said: list[str] = []
    asyncio.run(
        run(parse_command(shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next")), 10, say=said.append)
    )
    assert said == ["x" * 1000 + "...", "next"]
    output = commands._Output(said.append)
    output.add(b"x" * 3_000_000)
    assert len(output._rest) < 2000


def test_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Lines go into the log with the program's name, and without its arguments, which may be secret."""
    with caplog.at_level("INFO"):
        asyncio.run(run(("/bin/echo", "a line"), 10))
    assert [record.getMessage() for record in caplog.records] == ["echo: a line"]


# --- Its end -----------------------------------------------------------------------------------------------


def test_exit_status() -> None:
    """A status other than 0 is told with the last thing that it said."""
    error = failure(shell("echo first; echo 'unknown directive \"x\"' >&2; echo; exit 7"))
    assert (str(error), error.status) == ('sh ended with exit status 7: unknown directive "x"', 7)


def test_ended_by_signal() -> None:
    """A signal is told by its name."""
    error = failure(shell("kill -SEGV $$"))
    assert (str(error), error.status) == ("sh was ended by SIGSEGV", None)


def test_time_limit(runner: Callable[..., list[str]]) -> None:
    """What takes too long is ended."""
    began = time.monotonic()
    with pytest.raises(CommandError, match=r"^sleep took longer than 0.05s and was ended$"):
        runner("sleep 60", within=0.05)
    assert time.monotonic() - began < 5


def test_asked_before_it_is_killed(tmp_path: Path) -> None:
    """SIGTERM comes first, so that a command may tidy up."""
    failure(
        shell(f"trap 'touch {tmp_path}/tidied; exit' TERM; touch {tmp_path}/begun; while :; do sleep 0.01; done"), 0.3
    )
    assert (tmp_path / "begun").exists()
    assert (tmp_path / "tidied").exists()


def test_killed_after_that() -> None:
    """What does not heed SIGTERM is killed."""
    began = time.monotonic()
    failure(shell("trap '' TERM; sleep 60 & echo $! ; wait; sleep 60"), 0.05)
    assert 0.9 < time.monotonic() - began < 5


def pid_in(file: Path) -> int:
    return int(wait_until(lambda: file.read_text().strip() if file.exists() else "", f"{file.name} has been written"))


def test_whole_group(tmp_path: Path) -> None:
    """Children are ended with it."""
    failure(shell(f"sleep 60 & echo $! >{tmp_path}/child; wait"), 0.3)
    wait_until_gone(pid_in(tmp_path / "child"))


def test_those_that_left_the_group(tmp_path: Path) -> None:
    """A daemon that a command began is ended with it when it takes too long, wherever it hides."""
    daemon = f"setsid sh -c 'echo $$ >{tmp_path}/daemon; exec sleep 60' & "
    failure(shell(f"({daemon}); while ! test -s {tmp_path}/daemon; do sleep 0.01; done; sleep 60"), 0.5)
    wait_until_gone(pid_in(tmp_path / "daemon"))


def test_group_after_the_end(tmp_path: Path) -> None:
    """What a command that is done has left behind in its group is ended; it is not waited for, and holds nothing up."""
    began = time.monotonic()
    asyncio.run(run(parse_command(shell(f"yes & echo $! >{tmp_path}/child")), 30, say=lambda _: None))
    wait_until_gone(pid_in(tmp_path / "child"))
    assert time.monotonic() - began < 5


def test_daemon_after_the_end(tmp_path: Path) -> None:
    """What has left the group of a command that is done goes on."""
    daemon = f"setsid sh -c 'echo $$ >{tmp_path}/daemon; exec sleep 60' & "
    asyncio.run(run(parse_command(shell(f"{daemon} while ! test -s {tmp_path}/daemon; do sleep 0.01; done")), 30))
    (pid,) = find(Selector("pidfile", str(tmp_path / "daemon")))
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("loop_factory", "times"),
    [(uvloop.new_event_loop, 1), (uvloop.new_event_loop, 2), (asyncio.new_event_loop, 2)],
)
def test_cancelled(loop_factory: Callable[[], asyncio.AbstractEventLoop], times: int, tmp_path: Path) -> None:
    """Whoever is cancelled while it runs ends it; cancelled again, at once, whatever the command does about SIGTERM."""

    async def go() -> float:
        text = f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done"
        task = asyncio.create_task(run(parse_command(shell(text)), 60))
        await asyncio.sleep(0)
        pid_in(tmp_path / "pid")
        began = time.monotonic()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.05)
        await asyncio.wait([task])
        assert task.cancelled()
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=loop_factory) as loop:
        took = loop.run(go())
    wait_until_gone(pid_in(tmp_path / "pid"))
    assert (took > 0.9) is (times == 1)


AS_PROCESS_1 = """
import asyncio, ctypes, json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from tlsproxy.companions.rollout import commands
from tlsproxy.companions.rollout.commands import run
assert not ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become ours, as process 1's do
asyncio.run(run(("sh", "-c", "(sleep 60 &)"), 10))
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("none left")
"""


def test_orphans_are_reaped() -> None:
    """Where orphans become our children, as in a container of our own, none of its group stays a zombie."""
    command = (sys.executable, "-c", AS_PROCESS_1, json.dumps(sys.path))
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "none left\n"
