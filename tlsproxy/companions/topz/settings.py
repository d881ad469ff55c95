"""topz's variables: the one place where they are declared; a name here is a promise."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import ValidationInfo, field_validator

from tlsproxy.chassis.environment import About, Conflict, Environment, Secret
from tlsproxy.chassis.kinds import (
    CHOICE,
    DURATION,
    Count,
    DurationOrZero,
    FilePath,
    List,
    Port,
    PortOrZero,
    Switch,
    Text,
)

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


class Settings(Environment):
    """All of them."""

    PREFIX: ClassVar[str] = "TOPZ_"

    token: Annotated[
        Secret | None,
        About(
            "what has to be shown to see anything: as a bearer token, or as the password of any user, which is what "
            "browsers ask for; empty: nothing",
            "correct-horse-battery-staple",
        ),
    ] = None
    token_file: Annotated[
        FilePath | None,
        About("a file with the token, read again at each request; counts before TOKEN", "/run/secrets/topz/token"),
    ] = None
    host: Annotated[
        Text | None,
        About(
            "address of the page; empty: all addresses with a token, and without one 127.0.0.1, where tlsproxy in the "
            "same pod reaches it and nobody else does. Another address without a token is refused",
            "127.0.0.1",
        ),
    ] = None
    port: Annotated[Port, About("the page's port, plain HTTP", "8080")] = 8450
    admin_host: Annotated[Text, About("address of the admin port; empty: all", "127.0.0.1")] = ""
    admin_port: Annotated[PortOrZero, About("plain-HTTP health and metrics; 0 turns it off", "9090")] = 8451
    environment: Annotated[
        Switch,
        About("a process's page shows its environment too, secrets masked; who may not read it sees nothing", "on"),
    ] = False
    mask: Annotated[
        List,
        About(
            "further words in names of arguments and variables whose values are secrets, besides `password`, `token` "
            "and the like",
            "badge,licence",
        ),
    ] = ()
    refresh: Annotated[
        DurationOrZero,
        About("how long a page waits until it asks again, rounded up to whole seconds; 0: it does not", "2s"),
    ] = 5.0
    limit: Annotated[
        Count, About("processes on a page and in text where the question does not say; 0: all. JSON has all", "20")
    ] = 100
    sample: Annotated[
        float,
        DURATION,
        Ge(0.1),
        About(
            "the least time that CPU is measured over, and that a look is good for; the first answer takes so long",
            "2s",
        ),
    ] = 1.0
    pss: Annotated[
        Switch,
        About(
            "PSS is told beside RSS; the kernel holds a process for a moment to know it, each at most twice a minute",
            "off",
        ),
    ] = True
    proc: Annotated[
        FilePath, About("where processes are looked for: another place shows a host's, mounted there", "/host/proc")
    ] = Path("/proc")
    drain_delay: Annotated[
        DurationOrZero,
        About("on SIGTERM keep answering this long while /readyz says no; SIGINT skips it", "5s"),
    ] = 0.0
    log_format: Annotated[Literal["json", "text"], CHOICE, About("`json` or `text`", "text")] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], CHOICE, About("`debug` to `error`", "debug")] = (
        "info"
    )

    @field_validator("host")
    @classmethod
    def _is_not_open_to_all(cls, host: str | None, info: ValidationInfo) -> str | None:
        """What processes a pod runs, and with what arguments, is not for the whole network to see."""
        has_token = info.data.get("token") is not None or info.data.get("token_file") is not None
        if host is not None and not has_token and not _LOOPBACK.fullmatch(host):
            raise Conflict(
                f"without a token the page would be open to whoever comes; set {cls.PREFIX}TOKEN_FILE, or "
                f"{cls.PREFIX}HOST to 127.0.0.1 and put tlsproxy before it"
            )
        return host

    @field_validator("admin_port")
    @classmethod
    def _has_its_port_alone(cls, port: int, info: ValidationInfo) -> int:
        """Two listeners can't share a port."""
        if port and port == info.data.get("port"):
            raise Conflict(f"{cls.PREFIX}PORT is the same port; give one of the two another")
        return port
