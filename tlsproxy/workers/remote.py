"""One worker as the supervisor knows it: from its birth until all that it has counted is known."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from tlsproxy.workers import messages
from tlsproxy.workers.channel import Channel


@dataclass(eq=False)
class RemoteWorker:
    """A worker, at the other end of its channel."""

    number: int
    """Nobody else's."""
    place: int
    """Whose sockets and shares it has; who follows it has them too."""
    channel: Channel
    pid: int = 0
    """0 until the nursery has told."""
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether its ports have been opened."""
    served_at: float = 0.0
    """Monotonic time of that."""
    is_leaving: bool = False
    """Whether it has been asked to end."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether nothing more comes over the channel; a little before or after it has ended."""
    heard_at: float = field(default_factory=monotonic)
    """Monotonic time of what it said last."""
    told: messages.Telling | None = None
    """What it told last of all that it has counted."""
    _asked: asyncio.Future[None] | None = None
    """Pending while an answer is."""

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"

    @property
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.serves.is_set() and not self.ended.is_set()

    async def attend(self, changed: Callable[[], None]) -> None:
        """Hear what it says, until it has gone; `changed` is called when it serves and when it has gone."""
        try:
            while True:
                self._take(await self.channel.receive(), changed)
        except EOFError:
            await self.channel.close()
        finally:
            self._answered()
            self.gone.set()
            changed()

    def _take(self, message: object, changed: Callable[[], None]) -> None:
        self.heard_at = monotonic()
        match message:
            case messages.Serving():
                self.served_at = self.heard_at
                self.serves.set()
                changed()
            case messages.Telling():
                self.told = message
                self._answered()

    def _answered(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)

    def ask(self) -> asyncio.Future[None]:
        """Done when it has told what it has counted, or has gone; not to be cancelled.

        A worker that has not answered yet is not asked again: nothing piles up before one that is stuck.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self.channel.send(messages.Tell())
            if self.gone.is_set():
                self._answered()
        return self._asked
