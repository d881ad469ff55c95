"""The stand on which all is measured: who has which core, what was found so far, and the apps behind the fronts."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import fronts, loads, machine, nginx, probe, rounds
from bench.certificate import Certificate
from bench.child import Child, StartError, await_port, free_port, running
from bench.fronts import Front, Running
from bench.loads import LOADS, Generation, Load
from bench.machine import Cores
from bench.results import Results
from bench.rounds import Reporter, Sample, Target


@dataclass(frozen=True)
class App:
    """The app behind the fronts, as something that can itself be put under load."""

    child: Child
    port: int

    @property
    def pid(self) -> int:
        """Root of its process tree."""
        return self.child.pid


@dataclass(frozen=True)
class Stand:
    """What all steps share.

    Attributes:
        directory: where they may write.
        certificate: what every front serves.
        cores: who runs where.
        missing: programs that are not there, and what installs each.
        results: what was found so far.
    """

    directory: Path
    certificate: Certificate
    cores: Cores
    missing: dict[str, str]
    results: Results

    def note(self, text: str) -> None:
        """Told at once, and once more below the tables; what was told already is not told again."""
        if text not in self.results.notes:
            progress(text)
            self.results.notes.append(text)

    @property
    def reporter(self) -> Reporter:
        """The same for those who know nothing of a stand."""
        return Reporter(progress, self.note)

    def room(self) -> Path:
        """A new private directory."""
        return Path(tempfile.mkdtemp(dir=self.directory))

    @contextmanager
    def up(self, front: Front, app_port: int, cores: Cores | None = None) -> Iterator[Running]:
        """The front in a directory of its own; see fronts.up."""
        with fronts.up(
            front,
            directory=self.room() / "front",
            app_port=app_port,
            certificate=self.certificate,
            cores=cores or self.cores,
        ) as up:
            yield up

    def start(self, stack: ExitStack, front: Front, app_port: int, cores: Cores | None = None) -> list[Running]:
        """The front, up until the stack is closed, or nothing and a note."""
        progress(f"starting {front.label}")
        try:
            return [stack.enter_context(self.up(front, app_port, cores))]
        except (StartError, probe.WrongAnswerError) as error:
            self.note(f"{front.label} is left out: {error}")
            return []

    def sample(self, label: str, target: Target, load: Load, seconds: int) -> Sample:
        """One sample over connections of its own."""
        generation = Generation(load, target.port, self.cores.load)
        try:
            return rounds.attempt(label, target, generation, seconds, self.cores, self.reporter)
        finally:
            generation.close()


def file_app(stack: ExitStack, stand: Stand) -> App:
    """An nginx with a file of each size that a load asks for; without nginx, the plain app."""
    program = machine.program("nginx")
    if program is None:
        stand.note("nginx is not there to be the app: a small Python app stands in, and is full sooner")
        return python_app(stack, stand, "bench.plain_app")
    directory, port = stand.room(), free_port()
    root = directory / "files"
    root.mkdir()
    for size in {load.size for load in LOADS} | {1}:
        (root / str(size)).write_bytes(bytes(size))
    command = nginx.command(program, directory, nginx.app_configuration(directory, port, root, loads.UPLOAD))
    return _app(stack, stand, command, port)


def python_app(stack: ExitStack, stand: Stand, module: str) -> App:
    """A module that is told a port to listen on."""
    port = free_port()
    return _app(stack, stand, [sys.executable, "-m", module, str(port)], port)


def _app(stack: ExitStack, stand: Stand, command: list[str], port: int) -> App:
    child = stack.enter_context(running(command, cores=stand.cores.load, output=stand.room() / "output.log"))
    await_port(child, port)
    return App(child, port)


def progress(text: str) -> None:
    """What is being done, on standard error; on a terminal one line, written over, cleared by ''."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
