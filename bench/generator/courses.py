"""The three ways in which a load goes: answered and sent again, at a constant rate, or only listened to."""

import time
from collections import deque
from collections.abc import Iterator, Sequence

from bench.generator.clients import Client, Watch
from bench.generator.task import Counts
from bench.stream_app import made_at, whole_events

# How long answers may still come after the last request.
GRACE = 2.0
LONGEST_WAIT = 0.1


class Traffic:
    """Requests and answers over connections that are free or have a request under way, and the count of both."""

    def __init__(self, clients: Sequence[Client], watch: Watch) -> None:
        self.free = deque(clients)
        self.under_way: set[Client] = set()
        self.watch = watch
        self.watch.add(clients)
        self.counts = Counts()

    def begin(self) -> Counts:
        """Counts from 0."""
        self.counts = Counts()
        return self.counts

    def send(self, due: float = 0.0) -> None:
        """A request over the connection that has been free for longest."""
        client = self.free.popleft()
        self.under_way.add(client)
        try:
            client.send(due)
        except OSError:
            self.lose(client)

    def answers(self, within: float) -> Iterator[Client]:
        """The connections whose answers came whole, free again, after at most that many seconds."""
        for client in self.watch.readable(within):
            try:
                whole = client.receive() if client in self.under_way else self._stays(client)
            except OSError:
                self.lose(client)
                continue
            if whole:
                self.counts.answered += 1
                self.under_way.discard(client)
                self.free.append(client)
                yield client

    def _stays(self, client: Client) -> bool:
        """Never an answer; OSError when a connection on which none is awaited ends, or speaks unasked."""
        if client.read():
            raise ConnectionError("an answer to nothing")
        return False

    def lose(self, client: Client) -> None:
        """A connection that is of no more use, and its request with it."""
        self.counts.broken += 1
        if client in self.under_way:
            self.under_way.remove(client)
        else:
            self.free.remove(client)
        self.watch.forget(client)


def closed_loop(traffic: Traffic, in_flight: int, seconds: float) -> Counts:
    """A next request for each answer.

    Args:
        traffic: all connections, free.
        in_flight: how many of them wait for an answer at any time; 0: all.
        seconds: how long requests are sent.
    """
    counts = traffic.begin()
    began = time.monotonic()
    for _ in range(in_flight or len(traffic.free)):
        traffic.send()
    while time.monotonic() < began + seconds and traffic.under_way:
        for _ in traffic.answers(LONGEST_WAIT):
            if traffic.free:
                traffic.send()
    while traffic.under_way and time.monotonic() < began + seconds + GRACE:
        deque(traffic.answers(LONGEST_WAIT), maxlen=0)
    counts.seconds = time.monotonic() - began
    for client in tuple(traffic.under_way):
        traffic.lose(client)
    return counts


def constant_rate(traffic: Traffic, rate: float, seconds: float) -> Counts:
    """Requests at their times, whatever the answers do; each latency begins when its request was due.

    A request that is due while all connections wait is sent when one is free, and has been waiting since it was due:
    a stall is felt by every request that should have been sent during it, not by those alone that were under way
    (coordinated omission). What has no answer at the end counts with the time that it has waited by then.

    Args:
        traffic: all connections, free.
        rate: requests a second, evenly spaced.
        seconds: how long requests are sent.
    """
    counts = traffic.begin()
    latencies, late = counts.latencies, counts.late
    total, sent, had_room = int(rate * seconds), 0, True
    began = time.monotonic()
    until = began + seconds + GRACE
    while (now := time.monotonic()) < until and counts.answered + counts.broken < total:
        while sent < total and traffic.free and (due := began + sent / rate) <= now:
            if had_room:
                late.append(now - due)
            traffic.send(due)
            sent += 1
            now = time.monotonic()
        had_room = bool(traffic.free)
        wait = began + sent / rate - now if had_room and sent < total else LONGEST_WAIT
        latencies += [time.monotonic() - client.due for client in traffic.answers(max(0.0, wait))]
    counts.seconds = max(now - began, seconds)
    unsent = [began + number / rate for number in range(sent, total)]
    latencies += [now - due for due in unsent + [client.due for client in traffic.under_way]]
    counts.broken += len(unsent)
    for client in tuple(traffic.under_way):
        traffic.lose(client)
    return counts


def listen(traffic: Traffic, rate: float, seconds: float) -> Counts:
    """Has the app send an event to all, again and again, and counts arrivals, each with its time since it was made.

    Args:
        traffic: the listeners, and as the last one the connection over which the app is asked for events.
        rate: events a second for each listener; none is asked for before the last request for one was answered.
        seconds: how long events are asked for.
    """
    counts = traffic.begin()
    asking = traffic.free[-1]
    total, asked = int(rate * seconds), 0
    expected = total * (len(traffic.free) - 1)
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds + GRACE and counts.answered < expected:
        if asked < total and not asking.waits and began + asked / rate <= now:
            asking.send()
            asked += 1
        for client in traffic.watch.readable(1 / rate / 10):
            try:
                if client is asking:
                    client.receive()
                else:
                    take_events(client.read(), counts)
            except OSError:
                traffic.lose(client)
    counts.seconds = now - began
    counts.broken += expected - counts.answered
    return counts


def take_events(piece: bytes, counts: Counts) -> None:
    """Counts the events that end in what a listener has received."""
    counts.answered += whole_events(piece)
    made = made_at(piece)
    if made is not None:
        counts.latencies.append(time.monotonic() - made)
