"""What a generator is told, and what it tells: plain values that cross a pipe as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

Kind = Literal["requests", "messages", "events"]


@dataclass(frozen=True)
class Task:
    """One load; how long it lasts is told each time.

    Attributes:
        kind: requests for a file, WebSocket messages to be echoed, or server-sent events that come by themselves.
        port: of 127.0.0.1.
        connections: how many are open.
        tls: whether the port speaks TLS.
        size: bytes of a request's answer, without head.
        headers: fields of a request beyond Host.
        in_flight: how many of the connections wait for an answer at any time. 0: all of them.
        rate: requests a second, sent when they are due and not when there is room; 0: as fast as they are answered.
    """

    kind: Kind
    port: int
    connections: int
    tls: bool = True
    size: int = 100
    headers: tuple[str, ...] = ()
    in_flight: int = 0
    rate: float = 0.0

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """The inverse."""
        values = json.loads(text)
        return cls(**{**values, "headers": tuple(values["headers"])})


@dataclass
class Counts:
    """What became of a load.

    Attributes:
        answered: answers, echoes or events that came whole.
        broken: connections that ended, and requests without an answer at the end.
        seconds: from the first request to the last answer that counts.
        latencies: seconds from when a request was due, or an event was made, to its answer or arrival.
        late: seconds by which a request was sent after it was due although a connection was free: the generator's own
            delay, which is part of the latency too.
    """

    answered: int = 0
    broken: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
