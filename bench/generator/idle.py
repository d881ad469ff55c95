"""Connections that are opened, have one answer each, and then do nothing: `python -m bench.generator.idle PORT`.

Each line on standard input is how many there shall be; the same number on standard output says that there are. 0 closes
them all; the end of input ends the process.
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from bench.generator.clients import OK, OPENERS, client_context, connect, first_answer, request_head


def main(port: int) -> None:
    """Until the end of input."""
    context = client_context()
    request = request_head(port, "/1")
    opened: list[socket.socket] = []

    def open_one(_number: int) -> socket.socket:
        connected = connect(port, context)
        first_answer(connected, request, OK, 1)
        return connected

    for line in sys.stdin:
        wanted = int(line)
        with ThreadPoolExecutor(OPENERS) as pool:
            opened += pool.map(open_one, range(wanted - len(opened)))
        while len(opened) > wanted:
            opened.pop().close()
        print(wanted, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
