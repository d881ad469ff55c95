"""Whether the ports that settings name can be had, for `check`."""

from collections.abc import Iterable

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.listening import PortError, listen
from tlsproxy.chassis.terminal import Terminal


def check_ports(terminal: Terminal, wanted: Iterable[tuple[str, str, int | None]]) -> Exit:
    """Open each port for a moment, and say whether that went well.

    Args:
        terminal: what is said it is said to.
        wanted: the variable, the address as for `listen`, and the port; 0 or None: it is off.

    Returns:
        `Exit.PORT` where one can't be had.
    """
    outcome = Exit.STOPPED
    for variable, host, port in wanted:
        if not port:
            continue
        try:
            for sock in listen(host, port, variable):
                sock.close()
        except PortError as error:
            terminal.cross(str(error))
            outcome = Exit.PORT
        else:
            terminal.tick(f"{variable}={port}: free")
    return outcome
