"""Where the app is asked or told over the network: URLs, as far as they are spoken here."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tlsproxy.chassis.app_address import AppAddress

_PLAIN = "TLS is not spoken here: the app is in the same pod, name its plain port"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """What is asked over HTTP/1.1, without TLS."""

    address: AppAddress
    path: str
    """With its query."""

    def __str__(self) -> str:
        return f"http://{self.address}{self.path.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class TcpPort:
    """A port that is to open."""

    address: AppAddress

    def __str__(self) -> str:
        return f"tcp://{self.address}"


def parse_http_url(text: str) -> HttpUrl:
    """From `http://127.0.0.1:8080/-/reload?all=1`.

    Raises:
        ValueError: it is no such URL, with a plain reason that doesn't repeat it.
    """
    if text.startswith("https:"):
        raise ValueError(_PLAIN)
    if not re.fullmatch(r"http://[!-~]+", text):
        raise ValueError("it is no URL that begins with http://, in ASCII and without blanks")
    host, port, path = _split(text)
    return HttpUrl(AppAddress(host, port or 80), path if path.startswith("/") else f"/{path}")


def parse_probe(text: str) -> HttpUrl | TcpPort:
    """From `http://127.0.0.1:8080/healthz` or `tcp://127.0.0.1:5432`.

    Raises:
        ValueError: it is neither, with a plain reason that doesn't repeat it.
    """
    if not text.startswith("tcp://"):
        return parse_http_url(text)
    host, port, path = _split(text)
    if not port or path:
        raise ValueError("behind tcp:// there is a host, a port and nothing else")
    return TcpPort(AppAddress(host, port))


def _split(text: str) -> tuple[str, int | None, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it has no host, or a port that is not from 1 to 65535") from None
    if not host or port == 0:
        raise ValueError("it has no host, or a port that is not from 1 to 65535")
    if parts.username is not None:
        raise ValueError("a user or a password in it would not be sent")
    return host, port, parts.path + (f"?{parts.query}" if parts.query else "")
