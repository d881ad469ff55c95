"""A random course of events in the life of a pool, and what must hold after each of them."""

import random
from dataclasses import dataclass, field

from tlsproxy.proxy.pool import Lending


@dataclass
class Walk:
    """A random course of events, and what must hold after each of them."""

    limit: int
    random: random.Random
    lending: Lending[int, int] = field(init=False)
    held: dict[int, int] = field(default_factory=dict)
    """Asker by connection."""
    queue: list[int] = field(default_factory=list)
    """Who waits, in the order in which they are to be served."""
    fresh: set[int] = field(default_factory=set)
    served: set[int] = field(default_factory=set)
    askers: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self.lending = Lending(self.limit)

    def serve(self, connection: int, asker: int | None) -> None:
        if asker is not None:
            assert connection not in self.held
            assert self.queue[0] == asker, "served out of order"
            self.queue.remove(asker)
            self.fresh.discard(asker)
            self.held[connection] = asker
            self.served.add(asker)

    def ask(self) -> None:
        self.askers += 1
        self.queue.append(self.askers)
        connection = self.lending.ask(self.askers, fresh=False)
        if connection is not None:
            self.serve(connection, self.askers)

    def ask_again(self, connection: int) -> None:
        """The connection broke under its asker, who wants a fresh one."""
        asker = self.held.pop(connection)
        self.lending.ended(connection)
        self.queue.insert(0, asker)
        self.fresh.add(asker)
        assert self.lending.ask(asker, fresh=True) is None

    def give_back(self, connection: int) -> None:
        del self.held[connection]
        asker = self.lending.returned(connection)
        assert asker not in self.fresh, "a used connection for one who asked for a fresh one"
        self.serve(connection, asker)

    def opened(self) -> None:
        self.connections += 1
        self.serve(self.connections, self.lending.opened(self.connections))

    def end_idle(self) -> None:
        self.lending.ended(self.random.choice(list(self.lending.idle)))

    def withdraw(self) -> None:
        asker = self.queue.pop(self.random.randrange(len(self.queue)))
        self.fresh.discard(asker)
        del self.lending.waiting[asker]
        self.served.add(asker)

    def step(self, growing: bool) -> None:
        lending, choose = self.lending, self.random.choice
        steps = [self.ask, self.ask] if growing else []
        if self.held:
            steps += [lambda: self.give_back(choose(list(self.held)))] * 3
            steps += [lambda: self.ask_again(choose(list(self.held)))] if growing else []
        if lending.opening:
            steps += [self.opened] * 2 + [lending.failed_to_open]
        if lending.idle:
            steps.append(self.end_idle)
        if self.queue and growing:
            steps.append(self.withdraw)
        if steps:
            choose(steps)()
        while lending.next_to_open():
            pass
        self.check()

    def check(self) -> None:
        lending = self.lending
        assert list(lending.waiting) == self.queue
        assert lending.lent == set(self.held)
        assert not lending.lent & set(lending.idle), "idle and lent at once"
        assert lending.opening >= 0
        assert not self.limit or len(lending.lent) + lending.opening <= self.limit, "above the limit"
        assert not self.queue or lending.opening or lending.lent, "somebody waits for nothing"

    def take(self, steps: int) -> None:
        """So many steps, and then as many as it takes until nobody waits."""
        for _ in range(steps):
            self.step(growing=True)
        for _ in range(10 * steps + 10):
            if not self.queue:
                break
            self.step(growing=False)
        assert self.served == set(range(1, self.askers + 1))
