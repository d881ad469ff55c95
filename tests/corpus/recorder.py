"""An app that keeps every byte it gets, and answers what llhttp finds whole; what is no request it answers with 400."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httptools

from tests.e2e.scripted_app import AppConnection, ScriptedApp, response


@dataclass
class Carried:
    """What one connection has carried."""

    raw: bytes
    ended: bool


@dataclass
class _Reader:
    """The requests of a connection, as llhttp finds them."""

    due: list[bytes] = field(default_factory=list)
    _target: bytes = b""

    def on_message_begin(self) -> None:
        self._target = b""

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_message_complete(self) -> None:
        self.due.append(self._target)


def answer_each(connection: AppConnection) -> None:
    """Answer each request with its target; `/1` with one byte, which the bench's probe asks for."""
    reader = _Reader()
    parser = httptools.HttpRequestParser(reader)
    while data := connection.receive():
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            parser = httptools.HttpRequestParser(reader)
        except httptools.HttpParserError:
            connection.send(response(b"", status="400 Bad Request"))
            return
        due, reader.due = reader.due, []
        for target in due:
            connection.send(response(b"\0" if target == b"/1" else target))


class Recorder:
    """The app, on a free port."""

    def __init__(self) -> None:
        self._app = ScriptedApp()
        self._app.script(answer_each)
        self._marks: dict[AppConnection, int] = {}
        self.port = self._app.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.close()

    def carried(self) -> list[Carried]:
        """What connections have carried since the last call; those that have carried nothing are left out."""
        found = []
        for connection in self._app.connections:
            raw = bytes(connection.raw[self._marks.get(connection, 0) :])
            self._marks[connection] = len(connection.raw)
            if raw:
                found.append(Carried(raw, connection.over.is_set()))
        return found
