"""What topz answers: the paths of its port, and which form each client gets; knows nothing of sockets."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable

from tlsproxy.chassis.http_server import Answer, Paths, Request, answer, text
from tlsproxy.companions.topz import data, page
from tlsproxy.companions.topz import text as plain
from tlsproxy.companions.topz.columns import Place
from tlsproxy.companions.topz.detail import Detail
from tlsproxy.companions.topz.looking import Looking
from tlsproxy.companions.topz.negotiation import preferred
from tlsproxy.companions.topz.question import BadQuestionError, Format, Question, parse_question
from tlsproxy.companions.topz.rows import choose
from tlsproxy.companions.topz.snapshot import Snapshot

_logger = logging.getLogger("tlsproxy.page")

ANSWER_WITHIN = 10.0
"""Seconds for a look, which takes hundredths of one; longer, and somebody else is told why."""
_TYPES = {"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8", "json": "application/json"}
_VARY = "Accept, User-Agent"


class Serving:
    """The answers.

    Args:
        looking: takes snapshots.
        detail: looks at one process of a snapshot; None: it has none.
        refresh: seconds after which a page asks again; 0: it does not.
        limit: processes that are shown where the question does not say; 0: all. JSON has all.
    """

    def __init__(
        self,
        looking: Looking,
        detail: Callable[[int, Snapshot], Awaitable[Detail | None]],
        refresh: int,
        limit: int,
    ) -> None:
        self._looking = looking
        self._detail = detail
        self._refresh = refresh
        self._limit = limit
        self.paths: Paths = {
            "/": {"GET": self._elsewhere},
            "/topz": {"GET": self._all},
            "/topz/": {"GET": self._one},
        }
        """For `HttpServer`."""

    async def _elsewhere(self, request: Request) -> Answer:
        # A path that ends in / is asked for all below it.
        if request.path not in {"/", "/topz/"}:
            return text(404, "not found\n")
        return text(308, "see /topz\n", Location=page.PATH)

    async def _all(self, request: Request) -> Answer:
        return await _within(self._processes, request)

    async def _one(self, request: Request) -> Answer:
        if request.path == "/topz/":
            return await self._elsewhere(request)
        return await _within(self._process, request)

    async def _processes(self, request: Request) -> Answer:
        """All processes, or those that are asked for."""
        question = parse_question(request.query_string)
        snapshot, form = await self._looking.measured(), _form(request, question)
        rows = choose(snapshot, question, 0 if form == "json" else self._limit)
        if form == "json":
            return _json(data.render(snapshot, rows))
        if form == "text":
            return _sent("text", plain.render(snapshot, rows))
        refresh = self._refresh if question.refresh is None else question.refresh
        return _sent("html", page.render(snapshot, rows, question, refresh))

    async def _process(self, request: Request) -> Answer:
        """One process."""
        question, asked = parse_question(request.query_string), request.path.removeprefix("/topz/")
        if not re.fullmatch("[0-9]{1,9}", asked):
            return text(404, "not found: a process's number stands behind /topz/\n")
        snapshot = await self._looking.measured()
        detail, form = await self._detail(int(asked), snapshot), _form(request, question)
        if detail is None:
            # It may have begun since.
            snapshot = await self._looking.after(snapshot)
            detail = await self._detail(int(asked), snapshot)
        if detail is None:
            return text(404, f"there is no process {int(asked)}\n")
        if form == "json":
            place = Place(snapshot.taken, {one.key: one.name for one in snapshot.containers})
            return _json(data.render_detail(detail, place))
        return _sent(form, plain.render_detail(detail) if form == "text" else page.render_detail(detail))


async def _within(answered: Callable[[Request], Awaitable[Answer]], request: Request) -> Answer:
    """An answer in time, or why there is none."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await answered(request)
    except BadQuestionError as error:
        return text(400, f"{error}\n")
    except TimeoutError:
        trouble = f"a look at the processes has not ended within {ANSWER_WITHIN:g}s"
    except OSError as error:
        trouble = f"the processes can't be looked at: {error}"
    _logger.error("%s", trouble)
    return text(503, "the processes can't be looked at, see the log\n")


def _form(request: Request, question: Question) -> Format:
    if question.format is not None:
        return question.format
    return preferred(request.headers.get("Accept", ""), request.headers.get("User-Agent", ""))


def _json(values: object) -> Answer:
    return _sent("json", json.dumps(values, indent=1) + "\n")


def _sent(form: Format, said: str) -> Answer:
    # What a browser is told of pages does no harm elsewhere: a form is a query away from another.
    fields = {"Vary": _VARY, "Content-Security-Policy": page.POLICY, "Referrer-Policy": "no-referrer"}
    return answer(200, said.encode(), _TYPES[form], **fields)
