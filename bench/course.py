"""The course of a run: its steps in order, each with fronts and an app that are started for it and ended again."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench import (
    alone,
    certificate,
    endurance,
    idle,
    latency,
    limits,
    machine,
    peers,
    proc,
    rounds,
    transfers,
    variants,
)
from bench.child import StartError
from bench.fronts import Front, Running
from bench.options import Plan
from bench.probe import WrongAnswerError
from bench.results import Results
from bench.stand import App, Stand, file_app, progress, python_app
from bench.under_load import run_loads

# With how many workers memory is taken.
WORKERS = (2, 4)
# How long a sample is at least for two new certificates to be served in it.
ROTATING = 3


def run(plan: Plan, found: Results) -> None:
    """All of it; what was found so far is in `found`, also when this is cut short."""
    with tempfile.TemporaryDirectory(prefix="tlsproxy-bench-") as temporary:
        directory = Path(temporary)
        (directory / "certificate").mkdir()
        made = certificate.make(directory / "certificate")
        stand = Stand(directory, made, found.cores, machine.missing_tools(), found)
        files = machine.allow_open_files()
        for tool, remedy in stand.missing.items():
            stand.note(f"{tool} is not installed, and left out: {remedy}")
        if not found.cores.apart:
            stand.note("there is only one core: fronts, load and app share it, and only the CPU times mean anything")
        allowed = within_open_files(plan, files, stand)
        steps = (run_loads, run_variants, run_latency, run_idle, run_starts, run_transfers, run_alone, run_limits)
        for step in (*steps, run_endurance):
            step(stand, allowed)


def within_open_files(plan: Plan, files: int, stand: Stand) -> Plan:
    """The plan with no more connections at once than a proxy has open files for, two for each; a note if so."""
    most = (files - idle.SPARE_FILES) // 2
    counts = [*(load.connections for load in plan.loads), *plan.idle]
    if max(counts, default=0) > most:
        stand.note(f"no more than {most:,} connections at once: {files:,} open files are allowed (ulimit -n)")
    loads = [load if load.connections <= most else replace(load, connections=most) for load in plan.loads]
    return replace(plan, loads=loads, idle=tuple(min(count, most) for count in plan.idle))


def run_variants(stand: Stand, plan: Plan) -> None:
    """Ours as it is and with one setting changed, side by side."""
    if not plan.variants or "wrk" in stand.missing:
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        for variant in plan.variants:
            for front in plan.ours:
                compare(stand, plan, variant, front, app)


def compare(stand: Stand, plan: Plan, variant: variants.Variant, front: Front, app: App) -> None:
    """One variant of one build."""
    cores = machine.cores(variant.cores)
    changed = replace(front, label=f"{front.label} {variants.CHANGED}", settings=variant.settings)
    with ExitStack() as stack:
        up = [one for each in (front, changed) for one in stand.start(stack, each, app.port, cores)]
        if len(up) < 2:
            return
        if not variants.knows(up[1], variant):
            stand.note(f"{front.label} doesn't know {', '.join(variant.settings)}: '{variant.title}' is left out")
            return
        if not cores.apart:
            stand.note(f"'{variant.title}': load and app share the cores of the front, so its rates say little")
        samples = rounds.interleave(
            up, variant.load, rounds=plan.rounds, seconds=plan.seconds, cores=cores, reporter=stand.reporter
        )
    found = variants.Compared(samples.get(front.label, []), samples.get(changed.label, []), cores.apart)
    stand.results.variants.setdefault(variant.name, {})[front.label] = found


def run_latency(stand: Stand, plan: Plan) -> None:
    """Each front at half of its capacity, and what stands beside it at the same rate, in interleaved rounds."""
    if not plan.latency:
        return
    if "wrk" in stand.missing:
        stand.note("without wrk there is no capacity to take half of: no latencies")
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        wanted = plan.fronts_under("http")
        up = {one.front.label: one for front in wanted for one in stand.start(stack, front, app.port)}
        ours = [label for label, one in up.items() if one.front.ours]
        courses = latency.courses(costs(stand, plan, up), ours, peers.NGINX, only_ours=plan.quick)
        stand.results.latency = [latency.Found(course) for course in courses]
        spares = [certificate.make(stand.room()) for _ in range(2)]
        for number in range(1, plan.latency_rounds + 1):
            for found in stand.results.latency:
                course = found.course
                progress(f"latency: round {number} of {plan.latency_rounds}, {course.target}, {course.load.title}")
                take_latency(stand, plan, found, up.get(course.target, app), spares)


def costs(stand: Stand, plan: Plan, up: dict[str, Running]) -> dict[str, float]:
    """CPU microseconds for a small request under a full load, by front; those that answered."""
    samples = {}
    for label, one in up.items():
        progress(f"latency: capacity of {label}")
        samples[label] = stand.sample(label, one, variants.SMALL, plan.latency_seconds)
    return {label: sample.cpu_us for label, sample in samples.items() if sample.cpu_us}


def take_latency(
    stand: Stand, plan: Plan, found: latency.Found, target: Running | App, spares: list[certificate.Certificate]
) -> None:
    """One sample of a course."""
    course = found.course
    if not (course.rotating and isinstance(target, Running)):
        found.samples.append(stand.sample(course.target, target, course.load, plan.latency_seconds))
        return
    with latency.rotations(target.place.certificate, spares) as renewed:
        found.samples.append(stand.sample(course.target, target, course.load, max(plan.latency_seconds, ROTATING)))
    found.renewed += len(renewed)


def run_idle(stand: Stand, plan: Plan) -> None:
    """Memory with idle connections, of fronts that were just started."""
    if not plan.idle:
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        for front in plan.fronts_under("http"):
            progress(f"{plan.idle[-1]} idle connections through {front.label}")
            with ExitStack() as alone:
                for one in stand.start(alone, front, app.port):
                    try:
                        stand.results.idle.append(idle.run(one, plan.idle, stand.cores.load))
                    except (idle.IdleError, OSError) as error:
                        stand.note(f"{front.label}: {error}")


def run_starts(stand: Stand, plan: Plan) -> None:
    """The time from a process's start to its first answer, in interleaved rounds."""
    if not plan.starts:
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        for _ in range(plan.rounds):
            for front in plan.fronts:
                with ExitStack() as alone:
                    for one in stand.start(alone, front, app.port):
                        stand.results.starts.setdefault(front.label, []).append(one.first_answer)


def run_transfers(stand: Stand, plan: Plan) -> None:
    """1 GiB in each direction through each front, freshly started, to an app that stores nothing."""
    with ExitStack() as stack:
        app = python_app(stack, stand, "bench.plain_app")
        for direction in plan.directions:
            for front in plan.fronts_under("http"):
                progress(f"1 GiB {direction} through {front.label}")
                try:
                    with stand.up(front, app.port) as one, machine.pinned(stand.cores.load):
                        stand.results.transfers.append(transfers.run(one, direction))
                except (StartError, WrongAnswerError, transfers.TransferError) as error:
                    stand.note(f"{front.label}: {error}")


def run_alone(stand: Stand, plan: Plan) -> None:
    """Ours by itself: at rest, with probes, with new certificates, and with workers."""
    if not plan.alone:
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        for front in plan.ours:
            for count in (alone.FEW, alone.MANY):
                progress(f"{front.label} by itself, with {count} certificates")
                take_alone(stand, front, app, count)
            for workers in WORKERS:
                changed = replace(front, settings={"TLSPROXY_WORKERS": str(workers)})
                with ExitStack() as one:
                    for up in stand.start(one, changed, app.port):
                        stand.results.workers.setdefault(front.label, {})[workers] = proc.memory(up.pid)


def take_alone(stand: Stand, front: Front, app: App, count: int) -> None:
    """What one takes with so many certificates."""
    mounts, names, spares = alone.mounted(stand.room(), stand.certificate, count)
    settings = {"TLSPROXY_CERT_DIR": str(mounts.directory), "TLSPROXY_CERT_NAME": "*"}
    with ExitStack() as stack:
        for up in stand.start(stack, replace(front, settings=settings), app.port):
            try:
                stand.results.alone.setdefault(front.label, []).append(alone.run(up, mounts, names, spares))
            except (alone.AloneError, OSError) as error:
                stand.note(f"{front.label} with {count} certificates: {error}")


def run_limits(stand: Stand, plan: Plan) -> None:
    """Ours at a small constant rate under limits of CPU time."""
    if not plan.limits:
        return
    with ExitStack() as stack:
        group = stack.enter_context(limits.group())
        if group is None:
            stand.note("no control group may be made here, which root may: no latencies under limits of CPU time")
            return
        app = file_app(stack, stand)
        for front in plan.ours:
            with ExitStack() as one:
                for up in stand.start(one, front, app.port):
                    group.add(up.pid)
                    stand.results.limits[front.label] = [limit(stand, up, group, millis) for millis in limits.LIMITS]


def limit(stand: Stand, up: Running, group: limits.Group, millis: int) -> limits.Limited:
    """One sample under one limit."""
    progress(f"{up.front.label} with a limit of {millis}m")
    group.limit(millis)
    began, before = time.monotonic(), group.waited()
    load = latency.Course(up.front.label, limits.RATE, up.front.label).load
    sample = stand.sample(up.front.label, up, load, limits.SECONDS)
    waited = group.waited() - before
    return limits.Limited(millis, sample, waited / (time.monotonic() - began))


def run_endurance(stand: Stand, plan: Plan) -> None:
    """A million requests through each front of ours, freshly started."""
    if not plan.endurance or "wrk" in stand.missing:
        return
    with ExitStack() as stack:
        app = file_app(stack, stand)
        for front in plan.ours:
            progress(f"{endurance.REQUESTS:,} requests through {front.label}")
            with ExitStack() as one:
                for up in stand.start(one, front, app.port):
                    try:
                        found = endurance.run(up, stand.cores.load)
                    except endurance.EnduranceError as error:
                        stand.note(f"{front.label}: {error}")
                        continue
                    stand.results.endurance.append(found)
                    if found.answered < endurance.REQUESTS:
                        stand.note(f"{front.label} answered {found.answered:,} requests in {endurance.LONGEST:.0f} s")
