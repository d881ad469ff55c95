"""A load generator whose every request is a new connection with a full TLS handshake.

wrk resumes: its next connection offers the session ticket of its last one, and there is no option against it.
Here no session is ever offered, and one that was resumed all the same is counted. The certificate is not
verified, as wrk does not either. Run as `python -m bench.full_handshakes PORT SIZE THREADS SECONDS`.
"""

import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass

TIMEOUT = 10.0


@dataclass
class Counts:
    """One thread's figures; their sum is written at the end."""

    requests: int = 0
    refused: int = 0
    broken: int = 0
    resumed: int = 0


def request_once(context: ssl.SSLContext, port: int, size: int, counts: Counts) -> None:
    """A connection, a handshake, a request, its whole answer, and the end of the connection."""
    request = b"GET /%d HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % (size, port)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(request)
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
            counts.resumed += bool(tls.session_reused)
    except OSError:
        counts.broken += 1
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    if len(body) < size:
        counts.broken += 1
        return
    counts.requests += 1
    counts.refused += not head.startswith(b"HTTP/1.1 200 ")


def repeat(context: ssl.SSLContext, port: int, size: int, until: float, counts: Counts) -> None:
    """Request after request until that moment of the monotonic clock."""
    while time.monotonic() < until:
        request_once(context, port, size, counts)


def main(port: int, size: int, threads: int, seconds: float) -> None:
    """Makes the load and prints the figures as one line of JSON."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    counts = [Counts() for _ in range(threads)]
    began = time.monotonic()
    clients = [threading.Thread(target=repeat, args=(context, port, size, began + seconds, count)) for count in counts]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    figures = {
        "requests": sum(count.requests for count in counts),
        "microseconds": round((time.monotonic() - began) * 1e6),
        "refused": sum(count.refused for count in counts),
        "broken": sum(count.broken for count in counts),
        "resumed": sum(count.resumed for count in counts),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
