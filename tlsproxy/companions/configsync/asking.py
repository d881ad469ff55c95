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
_AROUND = 60.0
"""Seconds besides those that a change may take by the settings, twice: it may have to be undone."""


class NoAnswerError(Exception):
    """The process that runs does not answer, or not with what was asked for; the message is plain."""


def ask(settings: "Settings", verb: str, version: str | None) -> Exit:
    """Ask for a rollback or a pin, and say what came of it.

    Args:
        settings: those of the process that runs.
        verb: `rollback`, `pin` or `unpin`.
        version: which; None: none is named.
    """
    question = {"by": f"{_user()}, by command", **({"version": version} if version else {})}
    try:
        came = _asked(settings, "POST", f"/{verb}", question)
    except NoAnswerError as error:
        return _fail(verb, error)
    if not came:
        print("no version is pinned any longer: the next one that comes is taken")
        return Exit.STOPPED
    detail = f": {came['detail']}" if came.get("detail") else ""
    print(escape(f"{came['name']} {came['result']}{detail}"))
    return Exit.STOPPED if came["result"] in {"rolled back", "pinned"} else Exit.FAILED


def show_history(settings: "Settings") -> Exit:
    """Show the versions, and what became of each, the newest first."""
    try:
        told = _asked(settings, "GET", "/versions", None)
    except NoAnswerError as error:
        return _fail("history", error)
    pinned = ", pinned" if told["pinned"] else ""
    print(escape(f"current: {told['version'] or 'none'}{pinned}"))
    print(escape(f"kept: {', '.join(told['kept']) or 'none'}"))  # type: ignore[arg-type]  # JSON of our own
    for entry in told["history"]:  # type: ignore[attr-defined]  # JSON of our own
        detail = f": {entry['detail']}" if entry["detail"] else ""
        print(escape(f"{entry['at']} {entry['name']} {entry['outcome']}, {entry['origin']}{detail}"))
    return Exit.STOPPED


def _asked(settings: "Settings", method: str, path: str, question: Mapping[str, str] | None) -> dict[str, object]:
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
        body = answer.read().decode(errors="replace")
    except SecretFileError as error:
        raise NoAnswerError(f"there is no token to show: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NoAnswerError(f"no answer from {host}:{settings.control_port}: {str(reason).lower()}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise NoAnswerError(body.strip() or f"status {answer.status}")
    told: dict[str, object] = json.loads(body)
    return told


def _fail(verb: str, error: NoAnswerError) -> Exit:
    print(f"configsync {verb}: {escape(str(error))}", file=sys.stderr)
    return Exit.FAILED


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"  # a number without a name, as in most containers
