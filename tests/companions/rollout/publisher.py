"""Processes that publish as fast as they can until they are killed, forked from one that has all modules loaded.

    python -m tests.companions.rollout.publisher

Each line of its standard input is an order; it answers with the id of the process that it forked, and when that has
ended with how: the exit status, or the signal as a negative number.
"""

import asyncio
import gc
import json
import logging
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from tests.companions.rollout.volume import Layout, leftovers, seen
from tlsproxy.companions.rollout.history import History
from tlsproxy.companions.rollout.outcomes import RefusedError, RolloutError
from tlsproxy.companions.rollout.releases import Releases, write_files
from tlsproxy.companions.rollout.rollout import Rollout

DIED = 77
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.chmod", "os.chown", "open")


@dataclass(frozen=True)
class Order:
    """What a process is to do."""

    volume: str
    layout: Layout
    told: str
    """The file in which the app notes what it is told."""
    first: int
    """The number of the first version; every fifth one is refused by the app."""
    die_at: int | None = None
    """Publish one version, and die before so many changes of the volume have been made; None: go on for ever."""


def name_of(number: int) -> str:
    return f"v{number}"


def files_of(name: str) -> dict[str, str]:
    """A version's files: all have its name in them, and no two versions one after the other the same paths."""
    number = int(name[1:])
    body = f"{name}\n" * 500 + "end"
    paths = ("app.conf", "conf.d/a", "conf.d/deep/b", f"extra-{number % 3}", f"some-{number % 2}.d/c")
    return dict.fromkeys(paths, body)


def is_whole(content: str) -> bool:
    """Whether a file has all that a version wrote into it."""
    return content in files_of(content.partition("\n")[0]).values() if content.startswith("v") else False


class App:
    """Notes what it is told, and refuses every fifth version."""

    def __init__(self, told: Path) -> None:
        self._told = told

    async def tell(self, name: str) -> None:
        with self._told.open("a") as file:
            file.write(f"{name}\n")
        if int(name[1:]) % 5 == 0:
            raise RefusedError("every fifth is refused")

    @property
    def knows(self) -> str | None:
        """The version that it was told of last."""
        return self._told.read_text().split()[-1] if self._told.exists() else None


async def obey(order: Order) -> None:
    volume, app = Path(order.volume), App(Path(order.told))
    rollout = Rollout(
        Releases(volume, order.layout, keep=4), History(volume / "..history.json", keep=20), tell=app.tell
    )
    await rollout.start()
    await rollout.go_on()
    see_that_in_order(rollout, volume, app)
    if order.die_at is not None:
        die_at(order.die_at, order.volume)
        await offer(rollout, order.first)
        return
    for number in count(order.first):
        await offer(rollout, number)
        if number % 7 == 0:
            with suppress(RolloutError):  # the first has nothing to go back to
                await rollout.roll_back("a person")


async def offer(rollout: Rollout, number: int) -> None:
    async def fill(staged: Path) -> None:
        files = files_of(name_of(number))
        await asyncio.to_thread(write_files, staged, {path: content.encode() for path, content in files.items()})

    await rollout.offer(name_of(number), "the test", fill)


def see_that_in_order(rollout: Rollout, volume: Path, app: App) -> None:
    """That a start has put right whatever the process before was killed at."""
    assert leftovers(volume) == []
    assert not list(volume.glob("*.unreadable"))
    assert rollout.unfinished is None
    assert rollout.current == app.knows, f"current is {rollout.current}, the app was told of {app.knows}"
    assert seen(volume) == (files_of(rollout.current) if rollout.current else {})


def die_at(step: int, volume: str) -> None:
    """Have the process end before the change of that number is made to the volume, without any clearing up."""
    steps = count()

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in _CHANGES or not str(args[0]).startswith(volume):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if next(steps) == step:
            os._exit(DIED)

    sys.addaudithook(hook)


def main() -> None:
    logging.disable()
    gc.freeze()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        if (process := os.fork()) == 0:
            try:
                asyncio.run(obey(order))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        answer(process)
        answer(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def line_of(order: Order) -> str:
    return json.dumps(asdict(order)) + "\n"


if __name__ == "__main__":
    main()
