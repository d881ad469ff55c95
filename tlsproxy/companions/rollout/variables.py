"""The variables of a sidecar that brings new versions to an app: where they lie, who is told, what is watched.

Shared by the classes of those sidecars, with the rules that concern several of them; what is made of them is in
assembly.py.
"""

import re
from signal import Signals
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import ValidationInfo, field_validator

from tlsproxy.chassis.environment import About, Conflict, Environment
from tlsproxy.chassis.kinds import (
    CHOICE,
    COUNT,
    Duration,
    DurationOrZero,
    FilePath,
    Kind,
    parse_list,
    parse_whole,
    spell_plain,
)
from tlsproxy.companions.rollout.addresses import HttpUrl, TcpPort, parse_http_url, parse_probe
from tlsproxy.companions.rollout.commands import parse_command
from tlsproxy.companions.rollout.processes import Selector, parse_selector
from tlsproxy.companions.rollout.telling import parse_signal

# --- How they are written ----------------------------------------------------------------------------------


def parse_mode(text: str) -> int:
    """File mode bits from octal digits, as chmod has them."""
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError
    return int(text, 8)


def parse_owner(text: str) -> tuple[int | None, int | None]:
    """Numbers of user and group from `1000:1000`, `1000` or `:1000`; None where there is none."""
    user, _, group = text.partition(":")
    if not user and not group:
        raise ValueError
    return (parse_whole(user) if user else None), (parse_whole(group) if group else None)


def spell_owner(owner: tuple[int | None, int | None]) -> str:
    """The inverse."""
    user, group = ("" if number is None else str(number) for number in owner)
    return f"{user}:{group}" if group else user


def parse_statuses(text: str) -> tuple[int, ...]:
    """HTTP statuses, each once; none for `0`, which stands for any success."""
    statuses = tuple(dict.fromkeys(map(parse_whole, parse_list(text))))
    if statuses in {(), (0,)}:
        return ()
    if not all(200 <= status <= 599 for status in statuses):
        raise ValueError
    return statuses


def _typed(words: tuple[str, ...]) -> str:
    import shlex  # noqa: PLC0415  -- for documents alone

    return shlex.join(words)


def _whole(probe: HttpUrl | TcpPort | None) -> str:
    """With the query, which is left out where a log has it."""
    if isinstance(probe, HttpUrl):
        return f"http://{probe.address}{probe.path}"
    return str(probe or "")


MODE: Kind[int] = Kind("mode", "a file mode in octal, such as 0640", parse_mode, "{:04o}".format, pattern="0?[0-7]{3}")
OWNER: Kind[tuple[int | None, int | None]] = Kind(
    "owner", "numbers as UID:GID, UID or :GID", parse_owner, spell_owner, pattern="[0-9]*:?[0-9]*"
)
STATUSES: Kind[tuple[int, ...]] = Kind(
    "statuses",
    "statuses from 200 to 599 separated by commas, or 0 for any from 200 to 299",
    parse_statuses,
    lambda statuses: ",".join(map(str, statuses)) or "0",
)
SELECTOR: Kind[Selector | None] = Kind(
    "process", "name:PROGRAM, pidfile:/PATH or label:VARIABLE=VALUE", parse_selector, spell_plain
)
SIGNAL = Kind("signal", "a signal's name or number", parse_signal, lambda number: number.name.removeprefix("SIG"))
COMMAND: Kind[tuple[str, ...]] = Kind(
    "command", "a command as one would type it, without a shell's own words", parse_command, _typed
)
HTTP_URL: Kind[HttpUrl | None] = Kind("url", "an http:// URL", parse_http_url, _whole)
PROBE: Kind[HttpUrl | TcpPort | None] = Kind("url", "an http:// URL or tcp://HOST:PORT", parse_probe, _whole)


# --- The variables -----------------------------------------------------------------------------------------

Telling = Literal["none", "signal", "http", "command", "touch", "end"]
_TOLD_BY = {
    "tell_process": ("signal", "end"),
    "tell_url": ("http",),
    "tell_command": ("command",),
    "tell_file": ("touch",),
}
"""Whom or what the ways of telling need to know, by the field that says it."""


class RolloutVariables(Environment):
    """What becomes of a new version, in the order in which it happens."""

    layout: Annotated[
        Literal["link", "files"],
        CHOICE,
        About(
            "`link`: all files of a version are swapped at once, as links through `..data`, which is how Kubernetes "
            "mounts a ConfigMap. `files`: regular files, each replaced whole, one after another",
            "files",
        ),
    ] = "link"
    mode: Annotated[int, MODE, About("mode of the files", "0640")] = 0o644
    owner: Annotated[
        tuple[int | None, int | None],
        OWNER,
        About("who owns the files, by number; another user takes root. Empty: who writes them", "1000:1000"),
    ] = (None, None)
    check_command: Annotated[
        tuple[str, ...],
        COMMAND,
        About(
            "run before a version is seen, in a directory with its files: it is refused unless that ends with 0",
            "nginx -t -c nginx.conf",
        ),
    ] = ()
    check_timeout: Annotated[Duration, About("how long the checks of a version may take", "1m")] = 30.0
    tell: Annotated[
        Telling,
        CHOICE,
        About(
            "how the app hears of a new version: `none`, a `signal`, an `http` request, a `command`, a file that is "
            "`touch`ed; `end`: it is asked to end, for its container to be started anew",
            "signal",
        ),
    ] = "none"
    tell_process: Annotated[
        Selector | None,
        SELECTOR,
        About(
            "`signal` and `end`: which process, in a PID namespace that the pod's containers share: `name:nginx`, "
            "`pidfile:/run/app.pid`, or `label:ROLE=web`, a variable in its environment",
            "name:nginx",
        ),
    ] = None
    tell_signal: Annotated[Signals, SIGNAL, About("`signal`: which one", "USR1")] = Signals.SIGHUP
    tell_grace: Annotated[Duration, About("`end`: how long the app may take before it is killed", "1m")] = 30.0
    tell_url: Annotated[
        HttpUrl | None, HTTP_URL, About("`http`: what is asked for", "http://127.0.0.1:9090/-/reload")
    ] = None
    tell_method: Annotated[Literal["get", "post", "put"], CHOICE, About("`http`: by which method", "PUT")] = "post"
    tell_status: Annotated[
        tuple[int, ...], STATUSES, About("`http`: statuses that are good; 0: any from 200 to 299", "202,204")
    ] = ()
    tell_command: Annotated[
        tuple[str, ...], COMMAND, About("`command`: which one", "redis-cli config set maxmemory 1gb")
    ] = ()
    tell_file: Annotated[FilePath | None, About("`touch`: which file", "/config/changed")] = None
    tell_timeout: Annotated[Duration, About("`http` and `command`: how long they may take", "1m")] = 30.0
    health: Annotated[
        HttpUrl | TcpPort | None,
        PROBE,
        About(
            "what is asked after a change: a URL that answers below 400, or a port that opens. If the app does not "
            "come back healthy, the version before is restored, and the app told again. Empty: nothing is asked",
            "http://127.0.0.1:3000/healthz",
        ),
    ] = None
    health_within: Annotated[DurationOrZero, About("how long the app may take to be healthy again", "2m")] = 30.0
    health_for: Annotated[DurationOrZero, About("and how long it has to stay so, before the version is good", "1m")] = (
        10.0
    )
    history: Annotated[int, COUNT, Ge(2), About("how many versions are kept, to go back to; the newest", "20")] = 10

    @field_validator(*_TOLD_BY)
    @classmethod
    def _is_told_so(cls, whom: object, info: ValidationInfo) -> object:
        """Each way of telling needs to know whom or what, and nothing is set that no way asks for."""
        tell, ways = info.data.get("tell"), _TOLD_BY[str(info.field_name)]
        if tell in ways and not whom:
            raise Conflict(f"{cls.PREFIX}TELL={tell} needs it")
        if tell is not None and tell not in ways and whom:
            raise Conflict(f"{cls.PREFIX}TELL={tell} has no use for it; set {cls.PREFIX}TELL to {' or '.join(ways)}")
        return whom
