"""The variables that every companion has, whatever it does."""

from typing import Annotated, Literal

from tlsproxy.chassis.environment import About, Environment
from tlsproxy.chassis.kinds import CHOICE, DurationOrZero, PortOrZero, Text


class EverySidecar(Environment):
    """Admin port, log and drain; the port's default is each sidecar's own, since all of a pod share one network."""

    admin_host: Annotated[Text, About("address of the admin port; empty: all", "127.0.0.1")] = ""
    admin_port: Annotated[PortOrZero, About("plain-HTTP health and metrics; 0 turns it off", "9090")] = 0
    drain_delay: Annotated[
        DurationOrZero, About("on SIGTERM go on this long while /readyz says no; SIGINT skips it", "5s")
    ] = 0.0
    log_format: Annotated[Literal["json", "text"], CHOICE, About("`json` or `text`", "text")] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], CHOICE, About("`debug` to `error`", "debug")] = (
        "info"
    )
