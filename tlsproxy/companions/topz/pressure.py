"""Pressure stall information: how long work stood still for want of CPU, memory or I/O; the machine's and a cgroup's.

https://docs.kernel.org/accounting/psi.html
"""

from collections.abc import Iterator

from tlsproxy.companions.topz.proc_files import read, text
from tlsproxy.companions.topz.snapshot import Pressure, Pressures

RESOURCES = ("cpu", "memory", "io")


def machine_pressure(proc: str) -> Pressures:
    """Of everything that runs on the kernel; empty where it does not tell.

    Args:
        proc: where /proc is.
    """
    return dict(_read((resource, f"{proc}/pressure/{resource}") for resource in RESOURCES))


def cgroup_pressure(directory: str) -> Pressures:
    """Of a cgroup (v2); empty where it does not tell."""
    return dict(_read((resource, f"{directory}/{resource}.pressure") for resource in RESOURCES))


def parse_pressure(content: str) -> Pressure | None:
    """What one file says; None for what is no such file."""
    lines = {kind: values for kind, *values in map(str.split, content.splitlines()) if kind in {"some", "full"}}
    try:
        some, some_seconds = _numbers(lines["some"])
        full, full_seconds = _numbers(lines["full"]) if "full" in lines else (None, None)
    except (KeyError, ValueError):
        return None
    return Pressure(some, full, some_seconds, full_seconds)


def _numbers(values: list[str]) -> tuple[float, float]:
    """Per cent over ten seconds, and seconds in all."""
    by_name = dict(value.split("=", 1) for value in values)
    return float(by_name["avg10"]), int(by_name["total"]) / 1e6


def _read(files: Iterator[tuple[str, str]]) -> Iterator[tuple[str, Pressure]]:
    for resource, path in files:
        try:
            pressure = parse_pressure(text(read(path)))
        except OSError:
            # Also of a kernel that has it and was started without (psi=0).
            continue
        if pressure is not None:
            yield resource, pressure
