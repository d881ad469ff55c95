"""The commands that ask the process that runs, by its control port: history, rollback, pin, unpin.

They are for this container, or for whoever has the token and reaches the port. Over http.client, which needs no loop.
"""

import getpass
import http.client
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tlsproxy.chassis.diagnostics import escape
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.secrets import SecretFileError
from tlsproxy.companions.configsync.control import token_of

if TYPE_CHECKING:
    from tlsproxy.companions.configsync.settings import Settings

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_LONGEST = 4 * 1024 * 1024  # bytes of an answer
_LONGEST_REASON = 500  # characters
_AROUND = 60.0
"""Seconds besides those that a change may take by the settings, twice: it may have to be undone."""


class NoAnswerError(Exception):
    """The process that runs does not answer, or not with what was asked for; the message is plain."""


_STRANGER = NoAnswerError(
    "what answers at the control port is not configsync: is CONFIGSYNC_CONTROL_PORT the right one?"
)


def ask(settings: "Settings", verb: str, version: str | None) -> Exit:
    """Ask for a rollback or a pin, and say what came of it.

    Args:
        settings: those of the process that runs.
        verb: `rollback`, `pin` or `unpin`.
        version: which; None: none is named.
    """
    question = {"by": f"{_user()}, by command", **({"version": version} if version else {})}
    try:
        came = _Told(_asked(settings, "POST", f"/{verb}", question))
        if verb == "unpin":
            print("no version is pinned any longer: the next one that comes is taken")
            return Exit.STOPPED
        result = came.text("result")
        print(escape(f"{came.text('name')} {result}{came.detail}"))
    except NoAnswerError as error:
        return _fail(verb, error)
    return Exit.STOPPED if result in {"rolled back", "pinned"} else Exit.FAILED


def show_history(settings: "Settings") -> Exit:
    """Show the versions, and what became of each, the newest first."""
    try:
        told = _Told(_asked(settings, "GET", "/versions", None))
        pinned = ", pinned" if told.text("pinned") else ""
        print(escape(f"current: {told.text('current') or 'none'}{pinned}"))
        print(escape(f"kept: {', '.join(map(str, told.items('kept'))) or 'none'}"))
        for entry in map(_Told, told.items("history")):
            which, became = (
                f"{entry.text('at')} {entry.text('name')}",
                f"{entry.text('outcome')}, {entry.text('origin')}",
            )
            print(escape(f"{which} {became}{entry.detail}"))
    except NoAnswerError as error:
        return _fail("history", error)
    return Exit.STOPPED


class _Told:
    """An object that the control port told; NoAnswerError where it is none of its."""

    def __init__(self, told: object) -> None:
        if not isinstance(told, dict):
            raise _STRANGER
        self._told = told

    def text(self, name: str) -> str:
        """Empty where it is null."""
        if not isinstance(told := self._told.get(name, 0), str | None):
            raise _STRANGER
        return told or ""

    def items(self, name: str) -> list[object]:
        if not isinstance(told := self._told.get(name), list):
            raise _STRANGER
        return told

    @property
    def detail(self) -> str:
        return f": {detail}" if (detail := self.text("detail")) else ""


def _asked(settings: "Settings", method: str, path: str, question: Mapping[str, str] | None) -> object:
    if not settings.control_port:
        raise NoAnswerError("the control port is off (CONFIGSYNC_CONTROL_PORT=0): there is nothing to ask")
    host = _EVERYWHERE.get(settings.control_host, settings.control_host)
    within = 2 * (settings.tell_grace + settings.tell_timeout + settings.health_within + settings.health_for) + _AROUND
    connection = http.client.HTTPConnection(host, settings.control_port, timeout=within)
    try:
        token = token_of(settings)()
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(question) if question else None, fields)
        answer = connection.getresponse()
        body = answer.read(_LONGEST).decode(errors="replace")
    except SecretFileError as error:
        raise NoAnswerError(f"there is no token to show: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NoAnswerError(f"no answer from {host}:{settings.control_port}: {str(reason).lower()}") from None
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        raise NoAnswerError(
            f"{host}:{settings.control_port} does not accept the token: set CONFIGSYNC_CONTROL_TOKEN_FILE (or "
            "CONFIGSYNC_CONTROL_TOKEN), or without them CONFIGSYNC_DIR, as the process that runs has it"
        )
    if answer.status != 200:
        raise NoAnswerError(body.strip()[:_LONGEST_REASON] or f"status {answer.status}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _STRANGER from None


def _fail(verb: str, error: NoAnswerError) -> Exit:
    print(f"configsync {verb}: {escape(str(error))}", file=sys.stderr)
    return Exit.FAILED


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"  # a number without a name, as in most containers
