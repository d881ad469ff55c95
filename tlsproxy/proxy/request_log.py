"""Request lines: one for each request, in JSON or in the Combined Log Format.

A line is made from pieces that are remembered where they repeat (the time's second, a connection's TLS, user agents)
and costs about two microseconds where several are made together. Whoever takes the lines writes them in batches.
"""

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii as _quoted

from tlsproxy.proxy.journal import Client, Record

_logger = logging.getLogger("tlsproxy")

Sink = Callable[[str], None]
"""Takes one line with its end."""

_REMEMBERED = 1024
"""Values; a longer one than this many bytes is none: clients can make as many as they like."""
_REMEMBERED_LENGTH = 512


class RequestLog(ABC):
    """Writes a line for each request.

    Args:
        sink: takes each line.
        errors_only: whether only answers from 400 on and those with a reason of ours are told of.
        query: whether target and referer are written with their query, where secrets may stand.
    """

    STAMP: str
    """Of strftime, for the second of the line."""

    def __init__(self, sink: Sink, *, errors_only: bool = False, query: bool = True) -> None:
        self._sink = sink
        self._errors_only = errors_only
        self._query = query
        self._second = 0
        self._stamp = ""

    def add(self, records: Sequence[Record]) -> None:
        """Write the lines of requests that have ended, in this order."""
        # The wall clock's zero in monotonic time.
        zero = time.time() - time.monotonic()
        sink, line = self._sink, self._line
        for record in records:
            if self._errors_only and record.status < 400 and not record.reason:
                continue
            wall = zero + record.ended
            second = int(wall)
            if second != self._second:
                self._second = second
                self._stamp = time.strftime(self.STAMP, time.gmtime(second))
            try:
                sink(line(record, int((wall - second) * 1000)))
            except Exception:
                # The others' lines are written, and whoever's request came last has nothing to do with it.
                _logger.exception("the line of a request could not be written")

    @abstractmethod
    def _line(self, record: Record, millisecond: int) -> str:
        """The line, whose time is the stamp of the moment."""

    def _target(self, record: Record) -> str:
        """The target as it may be written; bytes that are no UTF-8 as surrogates."""
        return record.target if self._query else record.target.partition("?")[0]

    def _referer(self, record: Record) -> bytes:
        return record.referer if self._query else record.referer.partition(b"?")[0]


class JsonLines(RequestLog):
    """One JSON object for each request."""

    STAMP = "%Y-%m-%dT%H:%M:%S"

    def __init__(self, sink: Sink, *, errors_only: bool = False, query: bool = True) -> None:
        super().__init__(sink, errors_only=errors_only, query=query)
        self._strings: dict[bytes, str] = {b"": "null"}

    def _line(self, record: Record, millisecond: int) -> str:
        strings, client = self._strings, record.client
        target = record.target if self._query else self._target(record)
        agent = record.agent
        referer = record.referer if self._query else self._referer(record)
        ended, started, reason = record.ended, record.app_started, record.reason
        return (
            f'{{"time":"{self._stamp}.{millisecond:03}Z","client":"{record.address}","method":"{record.method}",'
            f'"target":{_quoted(target if target.isascii() else _readable(target))},'
            f'"protocol":"{_protocol(record) if record.version != _HTTP11 else "HTTP/1.1"}",'
            f'"status":{record.status},"received":{record.received},"sent":{record.sent},'
            f'"duration":{ended - record.started:f},"app_duration":{f"{ended - started:f}" if started else "null"},'
            f"{client.shown or self._show(client)},"
            f'"request_id":{_quoted(record.request_id.decode("latin-1"))},'
            f'"user_agent":{strings.get(agent) or self._string(agent)},'
            f'"referer":{strings.get(referer) or self._string(referer)},'
            f'"reason":{_quoted(reason) if reason else "null"}}}\n'
        )

    def _string(self, value: bytes) -> str:
        """A field's value as JSON, null when it was not sent."""
        text = _quoted(value.decode("utf-8", "backslashreplace"))
        if len(value) <= _REMEMBERED_LENGTH:
            if len(self._strings) >= _REMEMBERED:
                self._strings = {b"": "null"}
            self._strings[value] = text
        return text

    def _show(self, client: Client) -> str:
        """What is the same for every request of a connection."""
        caller = client.peer.caller
        values = (client.tls, client.cipher, client.server_name, caller.subject if caller is not None else "")
        tls, cipher, name, subject = (_quoted(value) if value else "null" for value in values)
        client.shown = f'"tls":{tls},"cipher":{cipher},"sni":{name},"client_cert":{subject}'
        return client.shown


class CombinedLines(RequestLog):
    """Apache's and nginx's Combined Log Format, which every analyser reads."""

    STAMP = "%d/%b/%Y:%H:%M:%S +0000"

    def _line(self, record: Record, millisecond: int) -> str:
        return '%s - - [%s] "%s %s %s" %d %d "%s" "%s"\n' % (
            record.address or "-",
            self._stamp,
            record.method,
            _escaped(self._target(record).encode("utf-8", "surrogateescape")),
            _protocol(record),
            record.status,
            record.sent,
            _escaped(self._referer(record)) or "-",
            _escaped(record.agent) or "-",
        )


_HTTP11 = (1, 1)


def _readable(text: str) -> str:
    """The text with surrogates, which no other JSON parser takes, as escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _protocol(record: Record) -> str:
    version = record.version
    return f"HTTP/{version[0]}.{version[1]}" if version else "-"


def _escaped(value: bytes) -> str:
    r"""The value with quotes, backslashes and all but printable ASCII as \xHH, as nginx does: nobody forges a line."""
    return _FORGING.sub(lambda found: b"\\x%02X" % found[0][0], value).decode("ascii")


_FORGING = re.compile(rb'[^ -~]|["\\]')
