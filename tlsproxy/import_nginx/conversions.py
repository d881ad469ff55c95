"""From the arguments of nginx directives to values of ours; pure."""

import re
from collections.abc import Iterator, Sequence

from tlsproxy.import_nginx.findings import Convert, Found, Remark, Setting

_UNITS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_LEVELS = {"debug": "debug", "info": "info", "notice": "info", "warn": "warning"}
_LONGEST_TIME = 50  # characters; what nginx takes has less
_KEPT_FIELDS = frozenset(
    {
        "accept-encoding",
        "connection",
        "forwarded",
        "host",
        "proxy",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "x-real-ip",
        "x-request-id",
    }
)


def duration(variable: str) -> Convert:
    """A time of nginx's (`60`, `1m30s`, `500ms`) for a variable."""

    def convert(args: Sequence[str]) -> Iterator[Found]:
        seconds = _seconds(args[0])
        if seconds:
            yield Setting(variable, f"{int(seconds)}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms")
        else:
            yield Remark(f"there is no {variable} of 0", f"set TLSPROXY_{variable} to a time that is long enough")

    return convert


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+)(ms|[smhdwMy]?)", text)
    if (
        not parts
        or len(text) > _LONGEST_TIME
        or "".join(number + unit for number, unit in parts) != text.replace(" ", "")
    ):
        raise ValueError(f"{text!r} is not a time")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def size(variable: str) -> Convert:
    """A size of nginx's, which is written as ours."""
    return lambda args: iter([Setting(variable, _size(args[0]))])


def _size(text: str) -> str:
    if not re.fullmatch(r"\d+[kKmMgG]?", text):
        raise ValueError(f"{text!r} is not a size")
    return text.lower()


def header_buffers(args: Sequence[str]) -> Iterator[Found]:
    """`large_client_header_buffers 4 8k`: the whole head has the size of all of them."""
    number = re.fullmatch(r"(\d+)([kKmM]?)", args[1])
    if number is None:
        raise ValueError(f"{args[1]!r} is not a size")
    yield Setting("MAX_HEAD", f"{int(args[0]) * int(number[1])}{number[2].lower()}")


def chosen(variable: str, values: dict[str, str], **remarks: str) -> Convert:
    """One word for another; a word with nothing for it is what is so by default, or has a remark."""

    def convert(args: Sequence[str]) -> Iterator[Found]:
        word = args[0].lower()
        if word in values:
            yield Setting(variable, values[word])
        elif word in remarks:
            yield Remark(remarks[word])

    return convert


def protocols(args: Sequence[str]) -> Iterator[Found]:
    """`ssl_protocols`: the profile that has the same versions."""
    versions = {arg.lower() for arg in args}
    if versions == {"tlsv1.3"}:
        yield Setting("TLS_PROFILE", "modern")
    old = sorted(versions - {"tlsv1.2", "tlsv1.3"})
    if old:
        yield Remark(f"{', '.join(old)} is not spoken any more", "clients have to speak TLS 1.2 or 1.3")
    if "tlsv1.3" not in versions:
        yield Remark("TLS 1.3 is spoken too")


def header(args: Sequence[str]) -> Iterator[Found]:
    """`add_header`: HSTS has a variable."""
    if args[0].lower() != "strict-transport-security":
        yield Remark("no fields are added to responses", "let the app send it")
        return
    age = re.search(r"max-age\s*=\s*\"?(\d+)", args[1], re.IGNORECASE)
    if age is None:
        raise ValueError("there is no max-age in it")
    yield Setting("HSTS", f"{age[1]}s")
    for word in ("includeSubDomains", "preload"):
        if word.lower() in args[1].lower():
            yield Remark(f"{word} is not sent", "let the app send the field, which is passed on as it is")


def forwarded_field(args: Sequence[str]) -> Iterator[Found]:
    """`proxy_set_header`: what is told of the client is told anyway."""
    name, value = args[0].lower(), args[1] if len(args) > 1 else ""
    if "$ssl_client" in value:
        yield Remark(
            f"{args[0]} is not sent", "the app reads Client-Cert (RFC 9440) or X-Forwarded-Client-Cert in its place"
        )
    elif name == "host" and value not in {"$host", "$http_host", "$host:$server_port"}:
        yield Remark("Host is passed on as the client sent it", "let the app know its public name")
    elif name not in _KEPT_FIELDS:
        yield Remark("no other fields are added to requests", "the app has to do without, or a gateway adds it")


def mapped(args: Sequence[str]) -> Iterator[Found]:
    """`map`: the one that stands in every configuration for WebSockets is not missed."""
    if args[0] != "$http_upgrade":
        yield Remark("requests are passed on as they came", "let the app or a gateway do it")


def cookie_flags(args: Sequence[str]) -> Iterator[Found]:
    """`proxy_cookie_flags` and the older trick with `proxy_cookie_path`."""
    words = re.split(r"[\s;]+", " ".join(args[1:]).lower())
    if "secure" in words:
        yield Setting("COOKIE_SECURE", "on")
    if set(words) & {"httponly", "samesite", "samesite=lax", "samesite=strict", "samesite=none"}:
        yield Remark("HttpOnly and SameSite are not added to cookies", "let the app set them")


def cookie_path(args: Sequence[str]) -> Iterator[Found]:
    """Flags may be hidden in it; the path itself has nothing."""
    if ";" in args[-1]:
        yield from cookie_flags(args)
    elif args[0] != "off":
        yield Remark("cookies keep their path", "let the app be asked for at the path that it knows")


def redirect(args: Sequence[str]) -> Iterator[Found]:
    """`proxy_redirect`."""
    if args[0] == "off":
        yield Setting("FIX_REDIRECTS", "off")
    elif args[0] != "default" and not (args[0].startswith("http://") and args[-1].startswith(("https://", "/"))):
        yield Remark("only http:// addresses of the app's own are put right in redirects", "see TLSPROXY_FIX_REDIRECTS")


def real_ip_from(args: Sequence[str]) -> Iterator[Found]:
    """`set_real_ip_from`."""
    if args[0].startswith("unix"):
        yield Remark("there is no unix socket to listen on")
    else:
        yield Setting("TRUSTED_PROXIES", args[0])


def real_ip_header(args: Sequence[str]) -> Iterator[Found]:
    """`real_ip_header`."""
    name = args[0].lower()
    if name == "proxy_protocol":
        yield Setting("PROXY_PROTOCOL", "accept")
    elif name != "x-forwarded-for":
        yield Remark(f"{args[0]} is not read", "have the proxy in front send X-Forwarded-For or the PROXY protocol")


def access_log(args: Sequence[str]) -> Iterator[Found]:
    """`access_log`: lines go to standard output, whatever file is named."""
    if args[0] == "off":
        yield Setting("ACCESS_LOG", "off")
        return
    if not args[0].startswith(("/dev/stdout", "/proc/self/fd/1", "/dev/fd/1")):
        yield Remark("request lines go to standard output", "the container's runtime keeps them")
    if len(args) < 2 or args[1] == "combined":
        yield Setting("LOG_FORMAT", "text")


def error_log(args: Sequence[str]) -> Iterator[Found]:
    """`error_log`: the level; a stricter one than ours is `error`."""
    if len(args) > 1:
        yield Setting("LOG_LEVEL", _LEVELS.get(args[1], "error"))


def workers(args: Sequence[str]) -> Iterator[Found]:
    """`worker_processes`: a number above one; `auto` stands in every nginx.conf, and asks for nothing."""
    if args[0].isdigit() and int(args[0]) > 1:
        yield Setting("WORKERS", args[0])


def client_ca(args: Sequence[str]) -> Iterator[Found]:
    """`ssl_client_certificate`."""
    yield Setting("CLIENT_CA", args[0])


def client_verification(args: Sequence[str]) -> Iterator[Found]:
    """`ssl_verify_client`."""
    words = {"on": "required", "optional": "optional"}
    if args[0] in words:
        yield Setting("CLIENT_AUTH", words[args[0]])
    elif args[0] == "optional_no_ca":
        yield Remark("a client certificate that nobody verifies is not asked for", "see TLSPROXY_CLIENT_AUTH")


def alpn(args: Sequence[str]) -> Iterator[Found]:
    """`ssl_alpn`, of stream servers."""
    yield Setting("ALPN", ",".join(args))
