"""What is seen of processes, those that end meanwhile, are zombies or may not be read among them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.companions.topz.proc_tree import ID, ProcTree, pages
from tests.e2e.polling import wait_until
from tlsproxy.companions.topz.masking import Masking
from tlsproxy.companions.topz.proc_files import TICKS, read
from tlsproxy.companions.topz.processes import Processes, UnseenError
from tlsproxy.companions.topz.snapshot import Process


@pytest.fixture
def tree(tmp_path: Path) -> ProcTree:
    return ProcTree(tmp_path)


def look(tree: ProcTree) -> dict[int, Process]:
    return {one.process.pid: one.process for one in Processes(tree.place, Masking()).look(measured=False)}


def test_a_process(tree: ProcTree) -> None:
    """All that its files tell, in plain units, and secrets masked."""
    tree.add(
        7,
        "app",
        ppid=3,
        cpu=1.5,
        began=2 * TICKS,
        arguments=("app", "--token", "x"),
        cgroup=f"0::/{ID}/init\n",
        uid=0,
    )
    assert look(tree)[7] == Process(
        pid=7,
        ppid=3,
        name="app",
        command="app --token ***",
        state="sleeping",
        user="root",
        threads=3,
        started=1700000002.0,
        cpu_seconds=1.5,
        cpu=None,
        rss=pages(10),
        container=f"/{ID}",
    )


def test_users_without_a_name(tree: ProcTree) -> None:
    """A user of another container has its number."""
    tree.add(7, uid=54321)
    assert look(tree)[7].user == "54321"


def test_no_command_line(tree: ProcTree) -> None:
    """A zombie and a kernel thread are shown by their names; a zombie has no memory."""
    tree.add(2, "kthreadd", pages=0)
    tree.add(7, "app", state="Z", pages=0)
    seen = look(tree)
    assert (seen[2].command, seen[2].rss) == ("[kthreadd]", 0)
    assert (seen[7].command, seen[7].rss, seen[7].state) == ("[app]", None, "zombie")


@pytest.mark.parametrize("gone", ["stat", "status", "cmdline", "cgroup"])
def test_a_process_that_ends_while_it_is_looked_at(tree: ProcTree, gone: str) -> None:
    """Whichever file is gone at first, nothing breaks, and the others are seen."""
    tree.add(7, arguments=("app",))
    tree.add(8, arguments=("other",))
    (tree.root / "7" / gone).unlink()
    seen = look(tree)
    assert seen[8].command == "other"
    assert (7 in seen) is (gone != "stat")


def test_a_process_that_may_not_be_read(tree: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid=1 the kernel lists processes of which it tells nothing more: all is a gap but the number."""
    tree.add(7)

    def forbidding(path: str, most: int = 4096) -> bytes:
        if "/7/" in path:
            raise PermissionError
        return read(path, most)

    monkeypatch.setattr("tlsproxy.companions.topz.processes.read", forbidding)
    assert look(tree) == {7: Process(pid=7, ppid=None, name="", command="")}


def test_a_stat_that_is_odd(tree: ProcTree) -> None:
    """What can't be understood is a gap."""
    tree.add(7)
    tree.write("7/stat", "odd")
    assert look(tree)[7].state is None


def test_what_could_upset_a_terminal(tree: ProcTree) -> None:
    """Control characters in names and command lines are shown as such."""
    tree.add(7, b"a\x1b[2J\n", arguments=("app", "x\ny\x1b]0;z"))
    assert look(tree)[7].name == "a\\x1b[2J\\n"
    assert look(tree)[7].command == "app x\\ny\\x1b]0;z"


def test_cpu_between_two_looks(tree: ProcTree) -> None:
    """Per cent of one CPU over the time between them; of one that has begun meanwhile, all that it has used."""
    tree.add(7, cpu=1.0)
    tree.add(8, cpu=50.0)
    one = Processes(tree.place, Masking())
    assert [seen.process.cpu for seen in one.look(measured=False)] == [None, None]
    began = time.monotonic()
    tree.add(7, cpu=3.0)
    tree.add(9, cpu=1.0, began=round(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS) + 2)
    tree.add(10, cpu=70.0, began=1)
    seven, eight, nine, ten = one.look(measured=True)
    most = 200 / (time.monotonic() - began)
    assert seven.process.cpu is not None
    assert most / 10 < seven.process.cpu < most * 10
    assert (seven.used, eight.used, nine.used, ten.used) == (2.0, 0.0, 1.0, 0.0)
    assert eight.process.cpu == 0.0
    assert [seen.process.cpu for seen in one.look(measured=False)] == [None] * 4


def test_a_pid_that_is_another_processes(tree: ProcTree) -> None:
    """A process that has the pid of one that has ended inherits nothing of it."""
    tree.add(7, "old", cpu=90.0, began=1, arguments=("old",), cgroup="0::/a\n")
    one = Processes(tree.place, Masking())
    one.look(measured=False)
    tree.add(7, "old", cpu=1.0, began=2, arguments=(), cgroup="0::/b\n")
    (seen,) = one.look(measured=True)
    assert (seen.process.command, seen.process.container, seen.process.cpu) == ("[old]", "/b", 0.0)


def test_another_program_and_another_title(tree: ProcTree) -> None:
    """What a process becomes by exec, and what it writes over its command line, is seen at the next look."""
    tree.add(7, "sh", arguments=("sh",), cgroup="0::/\n")
    one = Processes(tree.place, Masking())
    one.look(measured=False)
    tree.add(7, "app", arguments=("app: starting",), cgroup=f"0::/{ID}\n")
    (seen,) = one.look(measured=False)
    assert (seen.process.command, seen.process.container) == ("app: starting", f"/{ID}")
    tree.add(7, "app", arguments=("app: idle",), cgroup=f"0::/{ID}\n")
    assert one.look(measured=False)[0].process.command == "app: idle"


def test_a_young_process_is_not_settled(tree: ProcTree) -> None:
    """One that has only begun may still give up its user and be moved into its container; later that is read less."""
    now = round(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS)
    one = Processes(tree.place, Masking())
    for began, settled in ((now, False), (now - 60 * TICKS, True)):
        tree.add(7, began=began, uid=0)
        one.look(measured=False)
        tree.add(7, began=began, uid=54321, cgroup=f"0::/{ID}\n")
        (seen,) = one.look(measured=False)
        assert (seen.process.user, seen.process.container) == (("root", "/") if settled else ("54321", f"/{ID}"))


def test_this_machine() -> None:
    """What the kernel shows of this process, and of a zombie among its children, is seen as it is."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        wait_until(lambda: b") Z " in Path(f"/proc/{child.pid}/stat").read_bytes(), "it has ended")
        seen = {one.process.pid: one.process for one in Processes("/proc", Masking()).look(measured=False)}
    finally:
        child.wait()
    own, zombie = seen[os.getpid()], seen[child.pid]
    assert own.ppid == os.getppid()
    assert own.started is not None
    assert abs(own.started - time.time()) < 3600
    assert (zombie.state, zombie.rss, zombie.ppid) == ("zombie", None, os.getpid())
    assert zombie.command.startswith("[")


def test_no_proc(tmp_path: Path) -> None:
    """Where there is no /proc that is told, and no snapshot made."""
    with pytest.raises(UnseenError, match=f"^{tmp_path}/none: no such file or directory$"):
        Processes(str(tmp_path / "none"), Masking()).look(measured=False)
    with pytest.raises(UnseenError, match=r"has no processes: is a /proc mounted there\?"):
        Processes(str(tmp_path), Masking()).look(measured=False)
