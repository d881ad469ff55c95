"""Ours beside ours with one setting changed: what the log and the metrics cost, and what a second process gives."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.fronts import Running
from bench.loads import LOADS, Load
from bench.rounds import Sample, Spread, ratio, spread

SMALL = next(load for load in LOADS if load.name == "small")
AS_IS, CHANGED = "as it is", "changed"


@dataclass(frozen=True)
class Variant:
    """One change.

    Attributes:
        name: in options and results.
        title: in the report.
        settings: the variables that are changed.
        load: what both come under.
        cores: how many the front gets.
        quick: whether a quick run has time for it.
    """

    name: str
    title: str
    settings: Mapping[str, str]
    load: Load
    cores: int = 1
    quick: bool = False


LOG = Variant(
    "log",
    "request lines and metrics on, and off",
    {"TLSPROXY_ACCESS_LOG": "off", "TLSPROXY_ADMIN_PORT": "0"},
    replace(SMALL, title="100 B, keep-alive: request lines and metrics as they are, and off"),
)
WORKERS = Variant(
    "workers",
    "one worker, and two",
    {"TLSPROXY_WORKERS": "2"},
    # The kernel spreads connections over workers by chance: of a few, one may get most.
    replace(SMALL, title="100 B, keep-alive, 128 connections: one worker, and two", connections=128),
    cores=2,
)
VARIANTS = (LOG, WORKERS)


@dataclass(frozen=True)
class Compared:
    """What was found: samples of both, and whether front and load had cores of their own."""

    as_is: list[Sample]
    changed: list[Sample]
    apart: bool

    @property
    def cpu_ratio(self) -> Spread | None:
        """CPU time for a request with the change over that without: below 1, what is changed had its price."""
        return ratio(self.as_is, self.changed)

    @property
    def rate_ratio(self) -> Spread | None:
        """Requests a second with the change over those without; None: the load's cores were the front's, or full."""
        pairs = [(a, b) for a, b in zip(self.as_is, self.changed, strict=False) if a.rate and b.rate]
        if not self.apart or any(a.load_full or b.load_full for a, b in pairs) or not pairs:
            return None
        return spread([b.rate / a.rate for a, b in pairs])


def knows(running: Running, variant: Variant) -> bool:
    """Whether this build has the settings: one that it doesn't know it names on its standard error."""
    complaints = running.child.complaints.read_text(errors="replace")
    return not any(name in complaints for name in variant.settings)
