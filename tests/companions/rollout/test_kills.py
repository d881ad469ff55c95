"""Killed at any moment: nothing is ever half visible, and the next process goes on from there.

python -m tests.companions.rollout.test_kills [TIMES]      so many kills for each layout, 200 by default
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.companions.rollout.publisher import DIED, Order, files_of, is_whole, line_of
from tests.companions.rollout.volume import LAYOUTS, Layout
from tests.e2e.polling import wait_until
from tlsproxy.companions.rollout.durable import GOING
from tlsproxy.companions.rollout.layouts import DATA

ROOT = Path(__file__).parents[3]
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where a sync costs nothing
LONGEST = 0.03
"""Seconds until a process is killed after its last telling: more than a change takes."""


class Forker:
    """Starts processes that publish."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.companions.rollout.publisher"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def start(self, order: Order) -> int:
        """The id of the process that obeys."""
        assert self._process.stdin
        self._process.stdin.write(line_of(order))
        self._process.stdin.flush()
        return int(self._line())

    def ended(self) -> int:
        """How the last one ended."""
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.close()


@pytest.fixture
def place() -> Iterator[Path]:
    with in_memory() as path:
        yield path


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory, in memory where that can be had."""
    with TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as path:
        yield Path(path)


class Reader(threading.Thread):
    """Looks at a volume as an app does, again and again, and notes each state that no app should see."""

    def __init__(self, volume: Path, layout: Layout) -> None:
        super().__init__()
        self._volume = volume
        self.look = self._look_through_link if layout == "link" else self._look_at_files
        self._enough = threading.Event()
        self.states = 0
        self.outrun = 0
        self.faults: list[str] = []
        self.versions: set[str] = set()

    def run(self) -> None:
        while not self._enough.is_set():
            self.look()

    def end(self) -> None:
        self._enough.set()
        self.join()

    def _look_through_link(self) -> None:
        """All files of the directory that the link leads to are of one version, and none is missing."""
        try:
            directory = os.open(self._volume / DATA, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if self.versions:
                self.faults.append("..data leads nowhere")
            return
        try:
            self._look_into(directory)
        finally:
            os.close(directory)

    def _look_into(self, directory: int) -> None:
        name = Path(f"/proc/self/fd/{directory}").readlink().name
        try:
            found = dict(self._read_all(directory))
        except FileNotFoundError:
            found = {}
        # A reader that was so slow that ten versions have come since holds what is being removed, and could see that.
        if GOING in str(Path(f"/proc/self/fd/{directory}").readlink()):
            self.outrun += 1
            return
        self.states += 1
        self.versions.add(name)
        if found != files_of(name):
            self.faults.append(f"{name} has {sorted(found)}, of {[content[:6] for content in found.values()]}")

    def _read_all(self, directory: int) -> Iterator[tuple[str, str]]:
        for place, _, names, inner in os.fwalk(".", dir_fd=directory):
            for name in names:
                with open(os.open(name, os.O_RDONLY, dir_fd=inner)) as file:  # noqa: PTH123 - from a descriptor
                    yield os.path.normpath(f"{place}/{name}"), file.read()

    def _look_at_files(self) -> None:
        """Each file is one that a version wrote, and all of it."""
        for place, directories, names in os.walk(self._volume):
            directories[:] = [name for name in directories if not name.startswith("..")]
            for path in (Path(place, name) for name in names if not name.startswith("..")):
                try:
                    content = path.read_text()
                except FileNotFoundError:
                    continue
                self.states += 1
                self.versions.add(content.partition("\n")[0])
                if path.is_symlink() or not is_whole(content):
                    self.faults.append(f"{path} has {len(content)} characters and begins with {content[:6]}")


def kill_at_random(forker: Forker, place: Path, layout: Layout, times: int, seed: int) -> Reader:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    volume = place / "volume"
    volume.mkdir()
    reader = Reader(volume, layout)
    reader.start()
    try:
        for number in range(times):
            process = forker.start(Order(str(volume), layout, str(place / "told"), first=number * 1000))
            await_tellings(place / "told", chance.choice((0, 0, 1, 2, 4)))
            time.sleep(chance.uniform(0, LONGEST))
            os.kill(process, signal.SIGKILL)
            assert forker.ended() == -signal.SIGKILL, "it was alive: whatever the one before left was in order"
    finally:
        reader.end()
    assert reader.faults == []
    # The last one's successor finds all in order, too: it looks before it dies.
    forker.start(Order(str(volume), layout, str(place / "told"), first=times * 1000, die_at=0))
    assert forker.ended() == DIED
    return reader


def await_tellings(told: Path, times: int) -> None:
    """Wait until the app has been told so many times more."""
    before = told.stat().st_size if told.exists() else 0
    wait_until(
        lambda: times == 0 or (told.exists() and told.stat().st_size >= before + 6 * times), "tellings", within=20.0
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_half_visible_when_it_is_killed(forker: Forker, place: Path, layout: Layout) -> None:
    """A reader sees whole versions alone (plain files: whole files), while processes that publish are killed."""
    reader = kill_at_random(forker, place, layout, times=12, seed=1)
    assert reader.states > 20
    assert len(reader.versions) > 3


@pytest.mark.soak
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_half_visible_over_many_kills(forker: Forker, place: Path, layout: Layout) -> None:
    """The same, for longer; as a program it is for as long as one likes."""
    kill_often(forker, place, layout, times=50)


def kill_often(forker: Forker, place: Path, layout: Layout, times: int) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - moments, not secrets
    reader = kill_at_random(forker, place, layout, times, seed)
    told = f"{layout}: {times} kills, {reader.states} states of {len(reader.versions)} versions, half visible: 0"
    sys.stdout.write(f"{told}; seed {seed}\n")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_may_die_before_many_of_its_steps(forker: Forker, place: Path, layout: Layout) -> None:
    """Before each third change that it makes to the volume: all is in order for the next one."""
    die_at_each(forker, place, layout, refused=True, stride=3)


@pytest.mark.soak
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_may_die_before_each_of_its_steps(forker: Forker, place: Path, layout: Layout, refused: bool) -> None:
    """Before every single one, of a change that ends well and of one that is taken back."""
    die_at_each(forker, place, layout, refused, stride=1)


def die_at_each(forker: Forker, place: Path, layout: Layout, refused: bool, stride: int) -> None:
    volume = place / "volume"
    volume.mkdir()
    forker.start(Order(str(volume), layout, str(place / "told"), first=1, die_at=10_000))
    assert forker.ended() == 0
    reader = Reader(volume, layout)
    step, status = -stride, DIED
    while status == DIED:
        step += stride
        number = 10 * (step + 1) + (0 if refused else 1 + step % 4)
        forker.start(Order(str(volume), layout, str(place / "told"), first=number, die_at=step))
        status = forker.ended()
        reader.look()
        assert reader.faults == [], f"at step {step}"
    assert status == 0
    assert step > 30
    sys.stdout.write(f"{layout}: died before each of {step} steps, by {stride}\n")


def main(times: str = "200") -> None:
    forker = Forker()
    for layout in LAYOUTS:
        with in_memory() as place:
            kill_often(forker, place, layout, int(times))
    forker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
