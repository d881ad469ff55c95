"""Everything that a run found out, as plain values, and its file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from bench.alone import Alone
from bench.endurance import Endurance
from bench.idle import Idle
from bench.latency import Found
from bench.limits import Limited
from bench.machine import Cores, Machine
from bench.nginx import Handshakes
from bench.probe import Connection
from bench.proc import Memory
from bench.rounds import Sample
from bench.transfers import Transfer
from bench.variants import Compared

DIRECTORY = Path(__file__).with_name("results")


@dataclass
class FrontFacts:
    """What is known of a front besides its samples.

    Attributes:
        command: what it was started with.
        environment: what was added to the bench's own environment for it.
        ours: whether it is a build of ours.
        connection: what a verified connection to it showed.
        first_answer: seconds from the start of its process to its first answer.
        start: memory after that answer.
        after: memory after all the loads; None: they did not come to an end.
        logged: bytes of request lines that it wrote under the loads; None: it writes none.
        metrics: whether its /metrics answered after the loads; None: it has none.
    """

    command: list[str]
    environment: dict[str, str]
    ours: bool
    connection: Connection
    first_answer: float
    start: Memory
    after: Memory | None = None
    logged: int | None = None
    metrics: bool | None = None


@dataclass
class Results:
    """One run.

    Attributes:
        date: when it began, ISO 8601 with offset.
        command: the bench's own command line.
        took: seconds in all.
        rounds: how often each front came under each load.
        seconds: how long each time.
        machine: where.
        cores: who had which core.
        fronts: facts by label.
        samples: by the load's name and the front's label, in the order of the rounds.
        handshakes: what nginx's log said of a second of each load with new connections, by the load's name.
        transfers: 1 GiB each.
        starts: seconds from the start of a front's process to its first answer, by the front's label.
        idle: memory with idle connections.
        endurance: memory over many requests.
        latency: at constant rates.
        alone: what one of ours takes by itself, by the front's label, with few certificates and with many.
        workers: memory with so many workers, just started, by the front's label.
        limits: ours under limits of CPU time, by the front's label.
        variants: ours with a setting changed, by the variant's name and the front's label.
        notes: what was missing, what failed, what to keep in mind.
    """

    date: str
    command: list[str]
    rounds: int
    seconds: int
    machine: Machine
    cores: Cores
    fronts: dict[str, FrontFacts] = field(default_factory=dict)
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    handshakes: dict[str, Handshakes] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    idle: list[Idle] = field(default_factory=list)
    endurance: list[Endurance] = field(default_factory=list)
    latency: list[Found] = field(default_factory=list)
    variants: dict[str, dict[str, Compared]] = field(default_factory=dict)
    alone: dict[str, list[Alone]] = field(default_factory=dict)
    workers: dict[str, dict[int, Memory]] = field(default_factory=dict)
    limits: dict[str, list[Limited]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    took: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything was measured."""
        steps = (self.samples, self.transfers, self.starts, self.idle, self.latency, self.variants, self.endurance)
        return any((*steps, self.alone, self.workers, self.limits))


def write(results: Results, directory: Path = DIRECTORY) -> Path:
    """Writes the run as JSON, named after its date, and returns the path; makes the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / (results.date[:19].replace(":", "") + ".json")
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
    return path


def read(path: Path) -> Results:
    """A run that was written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not the file of a run.
    """
    return TypeAdapter(Results).validate_json(path.read_bytes())
