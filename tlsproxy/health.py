"""`tlsproxy health`: asks /readyz, for a HEALTHCHECK in an image that has no curl."""

import http.client
import sys

from tlsproxy.exits import Exit

WITHIN = 5.0  # seconds; HEALTHCHECK's own default is 30


def ask_ready(host: str, port: int) -> Exit:
    """Ask the admin port of this machine whether the sidecar is ready, and show its answer.

    Args:
        host: where the admin port listens; empty or a wildcard: everywhere, so the loopback address is asked.
        port: of the admin port; 0: it is off.
    """
    if not port:
        print("the admin port is off (TLSPROXY_ADMIN_PORT=0): there is nothing to ask", file=sys.stderr)
        return Exit.FAILED
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(everywhere.get(host, host), port, timeout=WITHIN)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        print(response.read().decode(errors="replace"), end="")
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from {connection.host}:{port}: {error}", file=sys.stderr)
        return Exit.FAILED
    finally:
        connection.close()
    return Exit.STOPPED if response.status == 200 else Exit.FAILED
