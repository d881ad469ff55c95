"""A /proc of the tests' own: a directory with the files that a kernel would show."""

from pathlib import Path

from tlsproxy.companions.topz.proc_files import PAGE, TICKS

ID = "ab" * 32
OTHER = "cd" * 32


class ProcTree:
    """Below `root`; `place` is what the program under test is given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)
        self.write("stat", "cpu  1 2 3\nbtime 1700000000\n")
        self.write("meminfo", "MemTotal:        1000 kB\nMemAvailable:     400 kB\n")
        self.write("loadavg", "0.50 0.25 0.10 1/200 4000\n")
        self.write("self/mountinfo", "")

    def write(self, name: str, content: str | bytes) -> Path:
        """A file, its directories included."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole, as the kernel's: who reads while it is written anew has the former one.
        fresh = path.with_name(f".{path.name}")
        fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
        fresh.rename(path)
        return path

    def add(
        self,
        pid: int,
        name: str | bytes = "app",
        *,
        ppid: int = 0,
        state: str = "S",
        cpu: float = 0.0,
        began: int = 500,
        pages: int = 10,
        arguments: tuple[str, ...] = (),
        cgroup: str = "0::/\n",
        uid: int = 0,
        pss: int | None = 4,
    ) -> None:
        """A process, or the same one later on.

        Args:
            pid: its number.
            name: as the kernel has it.
            ppid: its parent's.
            state: the kernel's letter.
            cpu: seconds that it has used.
            began: ticks.
            pages: in memory.
            arguments: its command line.
            cgroup: the file.
            uid: the effective one.
            pss: kB; None: there is no such file.
        """
        name = name.encode() if isinstance(name, str) else name
        ticks = int(cpu * TICKS)
        fields = (
            f"{state} {ppid} 1 1 0 -1 4194560 1 2 3 4 {ticks} 0 9 9 20 0 3 0 {began} 99 {pages} 18446744073709551615 1"
        )
        self.write(f"{pid}/stat", b"%d (%b) %b\n" % (pid, name, fields.encode()))
        self.write(f"{pid}/status", f"Name:\tx\nUid:\t1000\t{uid}\t{uid}\t{uid}\nGid:\t0\t0\t0\t0\n")
        self.write(f"{pid}/cmdline", "".join(f"{argument}\0" for argument in arguments))
        self.write(f"{pid}/cgroup", cgroup)
        if not (self.root / str(pid) / "mountinfo").exists():
            self.write(f"{pid}/mountinfo", "")
        if pss is not None:
            self.write(f"{pid}/smaps_rollup", f"5581-7ff ---p 0 00:00 0 [rollup]\nRss: 9 kB\nPss:       {pss} kB\n")


def pages(count: int) -> int:
    """Bytes of so many."""
    return count * PAGE
