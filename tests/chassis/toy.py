"""A sidecar that does next to nothing, for what surrounds a verb: python -m tests.chassis.toy VERB."""

import argparse
import logging
import sys
from typing import Annotated, ClassVar, Literal

from tlsproxy.chassis.command_line import Program, main
from tlsproxy.chassis.environment import About, Environment, Secret
from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.kinds import CHOICE, PortOrZero, Text
from tlsproxy.chassis.settings_process import PlainReading
from tlsproxy.chassis.verbs import Words


class Toy(Environment):
    """Its variables."""

    PREFIX: ClassVar[str] = "TOY_"

    colour: Annotated[Text, About("its colour", "red")] = "blue"
    token: Annotated[Secret | None, About("its token", "t")] = None
    admin_host: Annotated[Text, About("address of the admin port", "127.0.0.1")] = "127.0.0.1"
    admin_port: Annotated[PortOrZero, About("the admin port", "1")] = 0
    log_format: Annotated[Literal["json", "text"], CHOICE, About("how lines look", "text")] = "text"
    log_level: Annotated[Literal["debug", "info"], CHOICE, About("how much", "info")] = "info"


def serve(reading: PlainReading[Toy]) -> int:
    """Say its colour, and whether pydantic was loaded."""
    logging.getLogger("tlsproxy.play").warning("%s %s", reading.settings.colour, "pydantic" in sys.modules)
    return Exit.PORT


def check(reading: PlainReading[Toy], _: argparse.Namespace) -> int:
    """Show its token in all ways, and reveal it."""
    token = reading.settings.token
    sys.stdout.write(f"{token} {token.reveal() if token else ''} {reading.shown['TOY_TOKEN']}\n")
    return Exit.STOPPED


TOY: Program[Toy] = Program(
    words=Words("toy", "Plays.", "TOY_COLOUR matters.", "look", "play"),
    declared=lambda: Toy,
    serve=lambda: serve,
    check=lambda: check,
    demo=lambda _: 7,
)

if __name__ == "__main__":
    sys.exit(main(TOY))
