"""The control port: history, rollback and pin, for who has the token.

    GET  /versions              what there is and what became of it, as JSON
    POST /rollback              {"version": "..."}; without one the last that was good
    POST /pin                   {"version": "..."}
    POST /unpin

Each may say who asks: {"by": "..."}. The answer comes when the change is at its end.
"""

import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from secrets import token_urlsafe
from socket import socket
from typing import TYPE_CHECKING

from tlsproxy.chassis.http_server import Answer, Guard, HttpServer, Paths, Request, answer, bearer, text
from tlsproxy.chassis.secrets import read_secret, secret_of
from tlsproxy.companions.rollout.history import HistoryError
from tlsproxy.companions.rollout.outcomes import Outcome, RolloutError
from tlsproxy.companions.rollout.releases import ReleaseError
from tlsproxy.companions.rollout.rollout import Rollout

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.settings import Settings

_logger = logging.getLogger("tlsproxy.control")

TOKEN_FILE = "..control-token"  # noqa: S105 -- a file's name
_LONGEST_NAME = 100


def token_of(settings: "Settings") -> Callable[[], str]:
    """What gives the token to who asks: the operator's, or the one that the process that runs left in the volume."""
    given = secret_of(settings.control_token, settings.control_token_file)
    return given or (lambda: read_secret(settings.dir / TOKEN_FILE))


def make_token(settings: "Settings") -> Callable[[], str]:
    """What gives the token to who is asked; where the operator has set none, one is made, readable by this user alone.

    It is not read from the volume again: others may write there.

    Raises:
        OSError: it can't be written.
    """
    given = secret_of(settings.control_token, settings.control_token_file)
    if given is not None:
        return given
    made, path = token_urlsafe(24), settings.dir / TOKEN_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(made)
    return lambda: made


class Control:
    """The port. `start` once the volume is there, `stop` at the end.

    Args:
        settings: read for their attributes alone.
        rollout: what is asked.
        changed: called after each: what was held or put off may be taken now.
    """

    def __init__(self, settings: "Settings", rollout: Rollout, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._rollout = rollout
        self._changed = changed
        self._paths: Paths = {
            "/versions": {"GET": self._versions},
            "/rollback": {"POST": self._roll_back},
            "/pin": {"POST": self._pin},
            "/unpin": {"POST": self._unpin},
        }
        self._server: HttpServer | None = None

    async def start(self, opened: Callable[[int, str], Iterable[socket]]) -> None:
        """Listen, where a port is set.

        Args:
            opened: gives the sockets of a port; the variable is for its message.

        Raises:
            PortError: it can't be had.
            OSError: the token can't be written.
        """
        if self._settings.control_port:
            guard = partial(_refusal, bearer(make_token(self._settings), "configsync"))
            self._server = HttpServer(self._paths, guard, log=_logger)
            await self._server.start(opened(self._settings.control_port, "CONFIGSYNC_CONTROL_PORT"))

    async def stop(self) -> None:
        """Close it."""
        if self._server is not None:
            await self._server.stop()

    async def _versions(self, _: Request) -> Answer:
        return _json(200, self._rollout.status())

    async def _roll_back(self, request: Request) -> Answer:
        return await self._asked(request, lambda name, who: self._rollout.roll_back(who, name))

    async def _pin(self, request: Request) -> Answer:
        async def pin(name: str | None, who: str) -> Outcome:
            if name is None:
                raise RolloutError("which version is not said")
            return await self._rollout.pin(name, who)

        return await self._asked(request, pin)

    async def _unpin(self, request: Request) -> Answer:
        async def unpin(_: str | None, who: str) -> None:
            await self._rollout.unpin(who)

        return await self._asked(request, unpin)

    async def _asked(self, request: Request, do: Callable[[str | None, str], Awaitable[Outcome | None]]) -> Answer:
        """Do something, and tell what came of it, or why not."""
        try:
            name, who = _question(await request.read())
        except ValueError as error:
            return text(400, f"{error}\n")
        try:
            outcome = await do(name, who)
        except RolloutError as error:
            return text(409, f"{error}\n")
        except (ReleaseError, HistoryError) as error:
            _logger.error("%s", error)  # noqa: TRY400 - the way out matters, not the way in
            return text(500, f"{error}\n")
        finally:
            self._changed()
        return _json(200, asdict(outcome) if outcome else {})


def _refusal(guard: Guard, request: Request) -> Answer | None:
    """Of who has no token; and of a page that has a browser ask, which would send the password that it remembers."""
    return text(403, "this is not for pages\n") if "Origin" in request.headers else guard(request)


def _question(body: bytes) -> tuple[str | None, str]:
    """The version, None where none is named, and who asks.

    Raises:
        ValueError: with a plain reason.
    """
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    if not isinstance(asked, dict) or asked.keys() - {"version", "by"}:
        raise ValueError('the body is to be {"version": "...", "by": "..."}, or a part of that')
    version, who = asked.get("version"), asked.get("by", "the control port")
    for given in (version, who):
        if given is not None and not (
            isinstance(given, str) and given.isprintable() and 0 < len(given) <= _LONGEST_NAME
        ):
            raise ValueError(f"a value is no text of 1 to {_LONGEST_NAME} characters")
    return version, who


def _json(status: int, told: Mapping[str, object]) -> Answer:
    return answer(status, (json.dumps(told, indent=2, default=str) + "\n").encode(), "application/json")
