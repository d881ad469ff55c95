"""All fronts under the loads of the table, one load after another, and what each front has to show afterwards."""

import os
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack

from bench import nginx, peers, probe, proc, rounds
from bench.fronts import Running
from bench.loads import Load
from bench.options import Plan
from bench.results import FrontFacts
from bench.stand import App, Stand, file_app, progress, python_app


def run_loads(stand: Stand, plan: Plan) -> None:
    """Those of files, those over many connections, those of messages and events, each with fronts of its own."""
    able = [load for load in plan.loads if not (load.generator == "wrk" and "wrk" in stand.missing)]
    groups = (
        ([load for load in able if not load.streams and not load.in_flight], "files"),
        # Whoever has had 10,000 connections may keep some of their memory: these fronts are others.
        ([load for load in able if load.in_flight], "files"),
        ([load for load in able if load.streams], "streams"),
    )
    for wanted, kind in groups:
        with ExitStack() as stack:
            if wanted:
                app = file_app(stack, stand) if kind == "files" else python_app(stack, stand, "bench.stream_app")
                run_loads_behind(app, stand, plan, wanted)


def run_loads_behind(app: App, stand: Stand, plan: Plan, wanted: Sequence[Load]) -> None:
    """All fronts up at once, each idle until its turn comes."""
    with ExitStack() as stack:
        needed = {front.label for load in wanted for front in plan.fronts_of(load)}
        under_load = [front for front in plan.fronts if front.label in needed]
        up = [one for front in under_load for one in stand.start(stack, front, app.port)]
        for one in up:
            stand.results.fronts.setdefault(one.front.label, facts_of(one))
        compare_ciphers(stand, up)
        for load in wanted:
            run_load(stand, plan, load, up)
        for one in up:
            look_back(stand, one)


def facts_of(one: Running) -> FrontFacts:
    """What is known of a front that was just started."""
    return FrontFacts(
        command=one.launch.command,
        environment=dict(one.launch.environment),
        ours=one.front.ours,
        connection=one.connection,
        first_answer=one.first_answer,
        start=proc.memory(one.pid),
    )


def run_load(stand: Stand, plan: Plan, load: Load, up: list[Running]) -> None:
    """One load for the fronts that give its answer rightly."""
    labels = {front.label for front in plan.fronts_of(load)}
    sound = [one for one in up if one.front.label in labels and answers_rightly(stand, one, load)]
    for one in sound:
        if load.counts_handshakes and one.front.label == peers.NGINX:
            stand.results.handshakes[load.name] = count_handshakes(stand, one, load)
    stand.results.samples[load.name] = rounds.interleave(
        sound, load, rounds=plan.rounds, seconds=plan.seconds, cores=stand.cores, reporter=stand.reporter
    )
    for one in sound:
        empty_log(stand, one)


def count_handshakes(stand: Stand, one: Running, load: Load) -> nginx.Handshakes:
    """What nginx says of a second of the load, since no client's word is proof."""
    progress(f"{load.title}: counting handshakes")
    time.sleep(nginx.LOG_DELAY)
    empty_log(stand, one)
    stand.sample(one.front.label, one, load, 1)
    time.sleep(nginx.LOG_DELAY)
    return nginx.handshakes(one.launch.log.read_text() if one.launch.log else "")


def empty_log(stand: Stand, one: Running) -> None:
    """Request lines are counted and dropped: a long run would fill the disk with them. Writers append."""
    facts = stand.results.fronts.get(one.front.label)
    if one.launch.log is not None:
        if facts is not None:
            facts.logged = (facts.logged or 0) + one.launch.log.stat().st_size
        os.truncate(one.launch.log, 0)


def compare_ciphers(stand: Stand, up: list[Running]) -> None:
    """A note when the fronts do not encrypt alike: their CPU times would say little of the rest."""
    ciphers = {one.front.label: f"{one.connection.version} {one.connection.cipher}" for one in up}
    usual = next(iter(ciphers.values()), "")
    for label in (label for label, cipher in ciphers.items() if cipher != usual):
        stand.note(f"{label} encrypts with {ciphers[label]}, and not with {usual} as {up[0].front.label} does")


def answers_rightly(stand: Stand, one: Running, load: Load) -> bool:
    """Whether the front gives the load's answer whole and to the byte; a note if not."""
    try:
        probe.ask(one.port, stand.certificate.ca, load.size, load.headers)
    except probe.WrongAnswerError as error:
        stand.note(f"{one.front.label} is left out of '{load.title}': {error}")
        return False
    return True


def look_back(stand: Stand, one: Running) -> None:
    """What a front has to show after all its loads: memory, its request lines, its metrics."""
    facts = stand.results.fronts[one.front.label]
    if facts.after is not None:
        return
    facts.after = proc.memory(one.pid)
    if one.launch.admin_port is not None:
        facts.metrics = bool(metrics(one))
        if not facts.metrics:
            stand.note(f"{one.front.label} has no metrics")
    if facts.logged == 0:
        stand.note(f"{one.front.label} wrote no request lines")
    if not facts.connection.resumes:
        stand.note(f"{one.front.label} does not resume sessions: its 'resumed session' figures are full handshakes")


def metrics(one: Running) -> str:
    """What /metrics answers; empty for nothing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{one.launch.admin_port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""
