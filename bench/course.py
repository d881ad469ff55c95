"""The course of a run: everything is started, asked, loaded, looked at and ended again, in order."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import certificate, fronts, loads, machine, nginx, probe, proc, rounds, transfers
from bench.certificate import Certificate
from bench.child import StartError, await_port, free_port, running
from bench.fronts import Front, Running
from bench.loads import Load
from bench.machine import Cores
from bench.options import Plan
from bench.results import FrontFacts, Results


@dataclass(frozen=True)
class Bench:
    """What all steps share: where they may write, the certificate, the cores, what was found so far."""

    directory: Path
    certificate: Certificate
    cores: Cores
    results: Results

    def note(self, text: str) -> None:
        """Told at once, and once more below the tables."""
        progress(text)
        self.results.notes.append(text)

    @contextmanager
    def up(self, front: Front, name: str, app_port: int) -> Iterator[Running]:
        """The front in a directory of its own; see fronts.up."""
        with fronts.up(
            front,
            directory=self.directory / name,
            app_port=app_port,
            certificate=self.certificate,
            cores=self.cores,
        ) as up:
            yield up


def run(plan: Plan, found: Results) -> None:
    """All of it, in order; what was found so far is in `found`, also when this is cut short."""
    with tempfile.TemporaryDirectory(prefix="tlsproxy-bench-") as temporary:
        directory = Path(temporary)
        (directory / "certificate").mkdir()
        bench = Bench(directory, certificate.make(directory / "certificate"), found.cores, found)
        missing = machine.missing_tools()
        for tool, remedy in missing.items():
            bench.note(f"{tool} is not installed, and left out; on Debian: {remedy}")
        if not found.cores.apart:
            bench.note("there is only one core: fronts, load and app share it, and only the CPU times mean anything")
        under_load = [load for load in plan.loads if not (load.needs_wrk and "wrk" in missing)]
        if under_load:
            run_loads(bench, plan, under_load)
        if plan.directions:
            run_transfers(bench, plan)


def run_loads(bench: Bench, plan: Plan, wanted: list[Load]) -> None:
    """All fronts up at once, each idle until its turn comes."""
    with ExitStack() as stack:
        app_port = stack.enter_context(app(bench, sorted({load.size for load in wanted} | {1})))
        modes = {load.mode for load in wanted}
        fronts_wanted = [front for front in plan.fronts if front.mode in modes]
        up = [one for front in fronts_wanted for one in start(stack, bench, front, app_port)]
        compare_ciphers(bench, up)
        for load in wanted:
            try:
                run_load(bench, plan, load, up)
            except (loads.GeneratorError, subprocess.TimeoutExpired) as error:
                bench.note(f"the load generator failed: {error}")
        for one in up:
            look_back(bench, one)


def run_load(bench: Bench, plan: Plan, load: Load, up: list[Running]) -> None:
    """One load for the fronts that give its answer rightly."""
    sound = [one for one in up if one.front.mode == load.mode and answers_rightly(bench, one, load)]
    for one in sound:
        if load.handshake and one.front.label == fronts.NGINX:
            bench.results.handshakes[load.name] = count_handshakes(bench, one, load)
    bench.results.samples[load.name] = rounds.interleave(
        sound, load, rounds=plan.rounds, seconds=plan.seconds, cores=bench.cores, progress=progress
    )
    for one in sound:
        empty_log(bench, one)


def count_handshakes(bench: Bench, one: Running, load: Load) -> nginx.Handshakes:
    """What nginx says of a second of the load, since no client's word is proof."""
    progress(f"{load.title}: counting handshakes")
    time.sleep(nginx.LOG_DELAY)
    empty_log(bench, one)
    loads.run(load, one.port, 1, bench.cores.load)
    time.sleep(nginx.LOG_DELAY)
    return nginx.handshakes(one.launch.log.read_text() if one.launch.log else "")


def empty_log(bench: Bench, one: Running) -> None:
    """Request lines are counted and dropped: a long run would fill the disk with them. Writers append."""
    facts = bench.results.fronts[one.front.label]
    if one.launch.log is not None:
        facts.logged = (facts.logged or 0) + one.launch.log.stat().st_size
        os.truncate(one.launch.log, 0)


def start(stack: ExitStack, bench: Bench, front: Front, app_port: int) -> list[Running]:
    """The front, up until the stack is closed, or nothing and a note."""
    progress(f"starting {front.label}")
    try:
        one = stack.enter_context(bench.up(front, f"loads-{front.label}", app_port))
    except (StartError, probe.WrongAnswerError) as error:
        bench.note(f"{front.label} is left out: {error}")
        return []
    bench.results.fronts[front.label] = FrontFacts(
        command=one.launch.command,
        environment=dict(one.launch.environment),
        ours=front.ours,
        connection=one.connection,
        first_answer=one.first_answer,
        start=proc.memory(one.child.pid),
    )
    return [one]


def compare_ciphers(bench: Bench, up: list[Running]) -> None:
    """A note when the fronts do not encrypt alike: their CPU times would say little of the rest."""
    ciphers = {one.front.label: f"{one.connection.version} {one.connection.cipher}" for one in up}
    if len(set(ciphers.values())) > 1:
        bench.note("the fronts do not encrypt alike: " + ", ".join(map(": ".join, ciphers.items())))


def answers_rightly(bench: Bench, one: Running, load: Load) -> bool:
    """Whether the front gives the load's answer whole and to the byte; a note if not."""
    try:
        probe.ask(one.port, bench.certificate.ca, load.size, load.headers)
    except probe.WrongAnswerError as error:
        bench.note(f"{one.front.label} is left out of '{load.title}': {error}")
        return False
    return True


def look_back(bench: Bench, one: Running) -> None:
    """What a front has to show after all its loads: memory, its request lines, its metrics."""
    facts = bench.results.fronts[one.front.label]
    facts.after = proc.memory(one.child.pid)
    if one.launch.admin_port is not None:
        facts.metrics = has_metrics(one.launch.admin_port)
        if not facts.metrics:
            bench.note(f"{one.front.label} has no metrics")
    if facts.logged == 0:
        bench.note(f"{one.front.label} wrote no request lines")
    if not facts.connection.resumes:
        bench.note(f"{one.front.label} does not resume sessions: its 'resumed session' figures are full handshakes")


def has_metrics(port: int) -> bool:
    """Whether /metrics answers with something."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return bool(answer.read())
    except OSError:
        return False


def run_transfers(bench: Bench, plan: Plan) -> None:
    """1 GiB in each direction through each front, freshly started, to an app that stores nothing."""
    with plain_app(bench) as app_port:
        for direction in plan.directions:
            for front in plan.fronts_under("http"):
                progress(f"1 GiB {direction} through {front.label}")
                try:
                    with (
                        bench.up(front, f"{direction}-{front.label}", app_port) as one,
                        machine.pinned(bench.cores.load),
                    ):
                        bench.results.transfers.append(transfers.run(one, direction))
                except (StartError, probe.WrongAnswerError, transfers.TransferError) as error:
                    bench.note(f"{front.label}: {error}")


@contextmanager
def app(bench: Bench, sizes: list[int]) -> Iterator[int]:
    """The port of the app behind all fronts: nginx with a file of each size; without nginx, the plain app."""
    program = machine.program("nginx")
    if program is None:
        bench.note("nginx is not there to be the app: a small Python app stands in, and is full sooner")
        with plain_app(bench) as port:
            yield port
        return
    directory, port = bench.directory / "app", free_port()
    root = directory / "files"
    root.mkdir(parents=True)
    for size in sizes:
        (root / str(size)).write_bytes(bytes(size))
    command = nginx.command(program, directory, nginx.app_configuration(directory, port, root, loads.UPLOAD))
    with running(command, cores=bench.cores.load, output=directory / "output.log") as child:
        await_port(child, port)
        yield port


@contextmanager
def plain_app(bench: Bench) -> Iterator[int]:
    """The port of the app that sends and swallows any number of bytes."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_app", str(port)]
    with running(command, cores=bench.cores.load, output=bench.directory / f"plain-app-{port}.log") as child:
        await_port(child, port)
        yield port


def progress(text: str) -> None:
    """What is being done, on standard error; on a terminal one line, written over, cleared by ''."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
