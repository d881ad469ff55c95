"""The tables of well-known nginx TLS images, by the variables that they take; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.import_nginx import conversions as to
from tlsproxy.import_nginx.findings import (
    Carried,
    Directive,
    Found,
    Lost,
    Needless,
    NotImported,
    Remark,
    Rule,
    Setting,
)
from tlsproxy.import_nginx.report import Report

_ACME: Final = Lost(Remark("certificates are not ordered here", "have cert-manager or certbot do it"))
_OTHER_APPS: Final = Lost(Remark("one sidecar has one app", "have a sidecar beside each, and route in an ingress"))
_WAF: Final = Lost(Remark("requests are not judged by their content", "put a gateway that does in front"))
_CONFIGURATION: Final = Lost(Remark("there is no nginx to configure", "see `tlsproxy import-nginx` with the file"))
_SUITES: Final = Lost(Remark("suites follow Mozilla's profiles", "see TLSPROXY_TLS_PROFILE"))
_LOGIN: Final = Lost(Remark("nobody logs in here", "let the app do it, or ask for client certificates"))
_RATES: Final = Lost(Remark("there are no rates for each client", "let an ingress keep them"))


@dataclass(frozen=True, slots=True)
class Image:
    """What an image makes of its variables, and what it does unasked."""

    variables: Mapping[str, Rule]
    always: tuple[Found, ...] = field(default=())
    port: str = "80"
    """The app's, where nothing says so."""


def _set(variable: str) -> Carried:
    def convert(args: Sequence[str]) -> Iterator[Found]:
        yield Setting(variable, args[0])

    return Carried((variable,), convert)


def _address(args: Sequence[str]) -> Iterator[Found]:
    """`http://host:port`, with or without the scheme or the port."""
    scheme, _, rest = args[0].rpartition("://")
    if scheme == "https":
        yield Remark("the app is spoken to in plain HTTP", "use the app's plain port")
    host, _, port = rest.partition("/")[0].rpartition(":")
    if not port.isdigit():
        host, port = rest.partition("/")[0], ""
    if port:
        yield Setting("APP_PORT", port)
    if host not in {"", "localhost", "127.0.0.1", "::1"}:
        yield Setting("APP_HOST", host)


def _only_if_true(setting: Setting) -> Carried:
    def convert(args: Sequence[str]) -> Iterator[Found]:
        if args[0].lower() == "true":
            yield setting

    return Carried((setting.variable,), convert)


def _redirected(args: Sequence[str]) -> Iterator[Found]:
    if args[0].lower() in {"true", "redirect"}:
        yield Setting("REDIRECT_PORT", "8081")


def _balancer(args: Sequence[str]) -> Iterator[Found]:
    yield Setting("TRUSTED_PROXIES", ",".join(args[0].replace(",", " ").split()))
    yield Setting("PROXY_PROTOCOL", "accept")


def _body(args: Sequence[str]) -> Iterator[Found]:
    """Megabytes without a unit."""
    yield from to.size("MAX_BODY")([f"{args[0]}m" if args[0].isdigit() else args[0]])


def _domains(args: Sequence[str]) -> Iterator[Found]:
    """`a.example -> http://app:8080, b.example => https://...`."""
    routes = [route.strip() for route in args[0].split(",") if route.strip()]
    passed = [route for route in routes if "->" in route]
    if passed:
        yield from _address([passed[0].rpartition("->")[2].strip()])
    for route in routes:
        if route not in passed[:1]:
            yield Remark(f"{route} is not served", "one sidecar has one app; have one beside each")


def _log_location(args: Sequence[str]) -> Iterator[Found]:
    yield from to.access_log([args[0], "main"])


def _hsts(args: Sequence[str]) -> Iterator[Found]:
    if args[0].isdigit():
        yield Setting("HSTS", f"{args[0]}s")
    elif args[0].lower() != "off":
        yield from to.header(["Strict-Transport-Security", args[0]])


def _policy(args: Sequence[str]) -> Iterator[Found]:
    if args[0] == "Mozilla-Modern":
        yield Setting("TLS_PROFILE", "modern")
    elif args[0] != "Mozilla-Intermediate":
        yield Remark("of Mozilla's profiles there are modern and intermediate", "see TLSPROXY_TLS_PROFILE")


def _trusted(args: Sequence[str]) -> Iterator[Found]:
    if args[0].lower() == "true":
        yield Remark("forwarded fields of just anybody are not believed", "set TLSPROXY_TRUSTED_PROXIES")


IMAGES: Final[Mapping[str, Image]] = {
    "nginx-ssl-proxy": Image(
        {
            "ENABLE_SSL": Needless("the port speaks TLS"),
            "TARGET_SERVICE": Carried(("APP_HOST", "APP_PORT"), _address),
            "SERVICE_HOST_ENV_NAME": Carried(("APP_HOST",), _address),
            "SERVICE_PORT_ENV_NAME": _set("APP_PORT"),
            "ENABLE_BASIC_AUTH": _LOGIN,
        },
        (
            Setting("HSTS", "31536000s"),
            Setting("MAX_BODY", "20m"),
            Setting("CERT_NAME", "proxy"),
            Remark(
                "/etc/secrets/proxycert and proxykey have to be found by a name", "mount a TLS Secret at /certs/proxy"
            ),
            Remark("X-Frame-Options is not sent", "let the app send it"),
        ),
    ),
    "nginx-tls-terminator": Image(
        {
            "PROXY_LISTEN_PORT": _set("LISTEN_PORT"),
            "PROXY_UPSTREAM_PORT": _set("APP_PORT"),
            "ACCESS_LOG_LOCATION": Carried(("ACCESS_LOG",), _log_location),
        },
        (Setting("CERT_DIR", "/etc/nginx/ssl"), Setting("CERT_NAME", "tls")),
        port="8080",
    ),
    "docker-nginx-proxy": Image(
        {
            "PROXY_SERVICE_HOST": Carried(("APP_HOST",), _address),
            "PROXY_SERVICE_PORT": _set("APP_PORT"),
            "HTTPS_LISTEN_PORT": _set("LISTEN_PORT"),
            "HTTP_LISTEN_PORT": Needless("see TLSPROXY_REDIRECT_PORT"),
            "INTERNAL_LISTEN_PORT": Needless("see TLSPROXY_ADMIN_PORT"),
            "CLIENT_CERT_REQUIRED": _only_if_true(Setting("CLIENT_AUTH", "required")),
            "LOAD_BALANCER_CIDR": Carried(("TRUSTED_PROXIES", "PROXY_PROTOCOL"), _balancer),
            "CLIENT_MAX_BODY_SIZE": Carried(("MAX_BODY",), _body),
            "HTTPS_REDIRECT": Carried(("REDIRECT_PORT",), _redirected),
            "HTTPS_REDIRECT_PORT": _set("EXTERNAL_PORT"),
            "LOG_FORMAT_NAME": Carried(("LOG_FORMAT",), to.chosen("LOG_FORMAT", {"text": "text", "json": "json"})),
            "NO_LOGGING_URL_PARAMS": _only_if_true(Setting("LOG_QUERY", "off")),
            "NO_LOGGING_BODY": Needless("bodies are never logged"),
            "NO_LOGGING_RESPONSE": Needless("bodies are never logged"),
            "ERROR_LOG_LEVEL": Carried(("LOG_LEVEL",), lambda args: to.error_log(["", *args])),
            "REQS_PER_MIN_PER_IP": _RATES,
            "REQS_PER_PAGE": _RATES,
            "CONCURRENT_CONNS_PER_IP": _RATES,
            "SSL_PROTOCOLS": Carried(("TLS_PROFILE",), lambda args: to.protocols(args[0].split())),
            "SSL_CIPHERS": _SUITES,
            "ENABLE_WEB_SOCKETS": Needless("WebSockets are passed on"),
            "LOCATIONS_CSV": _OTHER_APPS,
            "ENABLE_UUID_PARAM": Lost(Remark("requests get no parameter", "the app reads X-Request-ID in its place")),
            "NAME_RESOLVER": Needless("names are resolved by the system, and again as their answers change"),
            "SERVER_CERT": _set("CERT_NAME"),
            "SERVER_KEY": Needless("beside the certificate"),
            "BASIC_AUTH": _LOGIN,
            "ALLOW_COUNTRY_CSV": Lost(Remark("no addresses are let in or kept out", "use a NetworkPolicy")),
            "ADD_NGINX_SERVER_CFG": _CONFIGURATION,
            "ADD_NGINX_HTTP_CFG": _CONFIGURATION,
            "ADD_NGINX_LOCATION_CFG": _CONFIGURATION,
            "NAXSI_RULES_URL_CSV": _WAF,
            "NAXSI_RULES_MD5_CSV": _WAF,
            "NAXSI_USE_DEFAULT_RULES": _WAF,
            "EXTRA_NAXSI_RULES": _WAF,
        },
        (
            Setting("CERT_NAME", "proxy"),
            Remark("/etc/keys/crt and key have to be found by a name", "mount a TLS Secret at /certs/proxy"),
        ),
    ),
    "https-portal": Image(
        {
            "DOMAINS": Carried(("APP_HOST", "APP_PORT"), _domains),
            "STAGE": _ACME,
            "PRODUCTION": _ACME,
            "FORCE_RENEW": _ACME,
            "NUMBITS": _ACME,
            "RENEW_MARGIN_DAYS": _ACME,
            "CLIENT_MAX_BODY_SIZE": Carried(("MAX_BODY",), to.size("MAX_BODY")),
            "PROXY_CONNECT_TIMEOUT": Carried(("CONNECT_TIMEOUT",), to.duration("CONNECT_TIMEOUT")),
            "PROXY_READ_TIMEOUT": Carried(("RESPONSE_TIMEOUT",), to.duration("RESPONSE_TIMEOUT")),
            "PROXY_SEND_TIMEOUT": Needless("TLSPROXY_RESPONSE_TIMEOUT bounds that too"),
            "PROXY_BUFFERING": Needless("bodies are streamed"),
            "PROXY_BUFFERS": Needless("bodies are streamed"),
            "PROXY_BUFFER_SIZE": Needless("bodies are streamed"),
            "KEEPALIVE_TIMEOUT": Carried(("KEEPALIVE_TIMEOUT",), to.duration("KEEPALIVE_TIMEOUT")),
            "WORKER_PROCESSES": Carried(("WORKERS",), to.workers),
            "WORKER_CONNECTIONS": Needless("see TLSPROXY_MAX_CONNECTIONS"),
            "SERVER_NAMES_HASH_MAX_SIZE": Needless("has no meaning here"),
            "SERVER_NAMES_HASH_BUCKET_SIZE": Needless("has no meaning here"),
            "GZIP": Lost(Remark("nothing is compressed", "let the app do it, or the ingress")),
            "WEBSOCKET": Needless("WebSockets are passed on"),
            "HSTS_MAX_AGE": Carried(("HSTS",), _hsts),
            "ACCESS_LOG": Carried(("ACCESS_LOG",), lambda args: to.access_log([args[0], "main"])),
            "ERROR_LOG": Needless("everything but request lines goes to standard error"),
        },
        (Setting("REDIRECT_PORT", "8081"),),
    ),
    "nginx-proxy": Image(
        {
            "VIRTUAL_HOST": Needless("the certificate's names count"),
            "VIRTUAL_PORT": _set("APP_PORT"),
            "VIRTUAL_PROTO": Carried(
                (), to.chosen("", {}, https="the app is spoken to in plain HTTP", uwsgi="the app has to speak HTTP/1.1")
            ),
            "VIRTUAL_PATH": _OTHER_APPS,
            "VIRTUAL_DEST": _OTHER_APPS,
            "CERT_NAME": _set("CERT_NAME"),
            "DEFAULT_HOST": Needless("the first certificate is the default"),
            "HTTPS_METHOD": Carried(("REDIRECT_PORT",), _redirected),
            "HTTPS_PORT": _set("EXTERNAL_PORT"),
            "SSL_POLICY": Carried(("TLS_PROFILE",), _policy),
            "HSTS": Carried(("HSTS",), _hsts),
            "TRUST_DOWNSTREAM_PROXY": Carried((), _trusted),
            "ENABLE_HTTP2": Lost(Remark("clients are spoken to in HTTP/1.1")),
            "ENABLE_HTTP3": Lost(Remark("clients are spoken to in HTTP/1.1")),
            "LETSENCRYPT_HOST": _ACME,
            "LETSENCRYPT_EMAIL": _ACME,
            "LOG_FORMAT": Lost(
                Remark("request lines are JSON or in the Combined Log Format", "see TLSPROXY_LOG_FORMAT")
            ),
            "DISABLE_ACCESS_LOGS": _only_if_true(Setting("ACCESS_LOG", "off")),
        },
        (Setting("CERT_DIR", "/etc/nginx/certs"),),
    ),
}
"""By name."""


def import_environment(text: str, image: str = "") -> Report:
    """What the variables of an image become.

    Args:
        text: lines of NAME=VALUE, as `env` prints them and `--env-file` takes them.
        image: the image's name; empty: the one that knows most of the variables.

    Raises:
        NotImported: no image is of that name, or knows any of them.
    """
    given = {directive.name: directive for directive in _lines(text)}
    if image and image not in IMAGES:
        raise NotImported(f"no image {image} is known here; there are {', '.join(IMAGES)}")
    name = image or max(IMAGES, key=lambda one: len(IMAGES[one].variables.keys() & given.keys()))
    rules = IMAGES[name].variables
    if not rules.keys() & given.keys():
        raise NotImported(f"none of the variables is one of {', '.join(IMAGES)}; name the image by --image")
    report = Report(f"from the environment of {name}", names_only=True)
    for directive in _resolved(given):
        if directive.name in rules and directive.args[0]:
            report.apply(directive, rules[directive.name])
    source = Directive(name, (), "what the image does unasked")
    for found in IMAGES[name].always:
        if isinstance(found, Remark) or not report.value(found.variable):
            report.add(source, found)
    if not report.value("APP_PORT") and not report.value("APP_SOCKET"):
        report.add(source, Setting("APP_PORT", IMAGES[name].port))
    if not report.value("CERT_NAME"):
        remark = Remark(
            "the certificate has to be found by its name", "set TLSPROXY_CERT_NAME, and mount it as /certs/NAME"
        )
        report.add(source, remark)
    return report


def _lines(text: str) -> Iterator[Directive]:
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            yield Directive(name.strip(), (value[1:-1] if quoted else value,), f"line {number}")


def _resolved(given: Mapping[str, Directive]) -> Iterator[Directive]:
    """Variables that name another one have its value."""
    for directive in given.values():
        named = given.get(directive.args[0]) if directive.name.endswith("_ENV_NAME") else None
        yield Directive(directive.name, named.args, directive.place) if named else directive
