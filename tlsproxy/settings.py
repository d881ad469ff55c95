"""The environment contract: every variable of the sidecar, declared once, with what it may hold.

The documents (README's table, `tlsproxy config`, the JSON Schema, the golden file) are made from it by
contract.py. Settings carry no behaviour besides validation; whoever assembles the process hands them down as
small values.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import ValidationInfo, field_validator

from tlsproxy.chassis.environment import About, Conflict, Environment
from tlsproxy.chassis.kinds import (
    CHOICE,
    COUNT,
    SIZE,
    Count,
    Duration,
    DurationOrZero,
    FilePath,
    Port,
    PortOrZero,
    Size,
    Switch,
)
from tlsproxy.client_rules import Rules
from tlsproxy.settings_kinds import (
    APP_CHECK,
    CERT_NAME,
    CLIENT_RULES,
    GRACE,
    HOST,
    HSTS,
    NETWORKS,
    PATHS,
    PROTOCOLS,
    SWITCHED_CHOICE,
    WORKERS,
    Network,
)


class Settings(Environment):
    """The variables in the order of their table; the two that matter come first."""

    PREFIX: ClassVar[str] = "TLSPROXY_"

    cert_name: Annotated[
        tuple[str, ...],
        CERT_NAME,
        About(
            "which certificate to serve. Several, comma-separated: the first is the default, the others are picked by "
            "SNI. `*`: every certificate found in CERT_DIR",
            "shop",
        ),
    ] = ("tls",)
    app_port: Annotated[Port, About("the legacy app's port on APP_HOST", "3000")] = 8080
    app_host: Annotated[
        str, HOST, About("the app's address; a name is resolved again as its answers change", "app.internal")
    ] = "127.0.0.1"
    app_socket: Annotated[
        FilePath | None, About("path of a unix socket to use instead of host and port", "/run/app/http.sock")
    ] = None
    cert_dir: Annotated[FilePath, About("the mounted directory", "/etc/tls")] = Path("/certs")

    listen_host: Annotated[str, HOST, About("address to listen on; empty: all, IPv4 and IPv6", "10.0.0.5")] = ""
    listen_port: Annotated[Port, About("the HTTPS port", "443")] = 8443
    mode: Annotated[
        Literal["http", "tcp"],
        CHOICE,
        About(
            "`http`: an HTTP reverse proxy. `tcp`: TLS is taken off and bytes are relayed, for any protocol "
            "(databases, gRPC as h2c, MQTT)",
            "tcp",
        ),
    ] = "http"
    alpn: Annotated[
        tuple[str, ...],
        PROTOCOLS,
        About("tcp mode: protocols offered, e.g. `h2,http/1.1`; empty: none", "h2,http/1.1"),
    ] = ()
    workers: Annotated[
        int,
        WORKERS,
        About(
            "processes that share the port, each with its own share of MAX_CONNECTIONS and APP_CONNECTIONS; `auto`: "
            "one for each CPU that the cgroup grants",
            "auto",
        ),
    ] = 1
    admin_host: Annotated[str, HOST, About("address of the admin port; empty: all", "127.0.0.1")] = ""
    admin_port: Annotated[PortOrZero, About("plain-HTTP health and metrics; 0 turns it off", "9090")] = 8444
    redirect_port: Annotated[
        Port | None,
        About(
            "a plain-HTTP port that answers 308 to the HTTPS address (GET and HEAD 301), and nothing else; empty: none",
            "8081",
        ),
    ] = None
    external_port: Annotated[Port, About("the port written into redirects (443 is left out of the URL)", "8443")] = 443

    self_signed: Annotated[
        Switch,
        About(
            "for development: when the named certificate is absent, make a CA and a certificate for "
            "localhost in memory",
            "on",
        ),
    ] = False
    self_signed_ca: Annotated[
        FilePath | None, About("where SELF_SIGNED writes its CA; empty: nowhere", "/run/tlsproxy/ca.crt")
    ] = None
    tls_profile: Annotated[
        Literal["modern", "intermediate"],
        CHOICE,
        About("Mozilla's server-side TLS profiles: `modern` (1.3 only), `intermediate` (1.2 and 1.3)", "modern"),
    ] = "intermediate"
    sni_strict: Annotated[
        Switch,
        About(
            "a client that asks by SNI for a name that no certificate is for is refused with `unrecognized_name` in "
            "place of the default; in http mode a request whose Host the connection's certificate is not for gets 421",
            "on",
        ),
    ] = False
    client_auth: Annotated[
        Literal["off", "optional", "observe", "required"],
        SWITCHED_CHOICE,
        About(
            "mutual TLS: `off`, `optional`, `observe` (clients without a certificate or outside CLIENT_ALLOW are let "
            "in, counted and logged; one that cannot be verified still fails, counted), `required`",
            "required",
        ),
    ] = "off"
    client_ca: Annotated[
        FilePath | None,
        About(
            "the CAs that client certificates are verified with, one bundle for the whole listener; empty: `ca.crt` "
            "beside the first certificate. A file beside it that ends in `.crl` in place of its own ending has their "
            "revocation lists. Both are reloaded like the certificate",
            "/etc/clients/ca.crt",
        ),
    ] = None
    client_allow: Annotated[
        Rules,
        CLIENT_RULES,
        About(
            "rules, any of which lets a verified client in: `cn=reports`, `ou=...`, `dns=*.billing.svc`, "
            "`uri=spiffe://example.org/ns/*`; others get 403 (http) or a closed connection (tcp), and an audit line; "
            "empty: any verified client",
            "cn=reports,dns=*.billing.svc",
        ),
    ] = ()
    client_exempt: Annotated[
        tuple[str, ...],
        PATHS,
        About(
            "with CLIENT_AUTH `optional`, the only paths that are served to clients without a certificate, for probes: "
            "compared as a whole, GET and HEAD alone; everything else gets 403 and an audit line. Empty: they are "
            "served on every path",
            "/healthz,/ping",
        ),
    ] = ()
    client_chain: Annotated[
        Switch,
        About(
            "http mode: the app is told in `Client-Cert-Chain` (RFC 9440) by which CAs a client's certificate was "
            "verified; costs session tickets",
            "on",
        ),
    ] = False
    cert_wait: Annotated[
        DurationOrZero,
        About(
            "how long to wait at start for a certificate that is not mounted yet (not ready meanwhile), "
            "before exit status 3",
            "5m",
        ),
    ] = 60.0
    cert_resync_period: Annotated[
        Duration,
        About("besides file events, the files are compared this often, for file systems that send none", "5m"),
    ] = 60.0
    cert_rotation_grace: Annotated[
        float,
        GRACE,
        About(
            "how long after a rotation a connection that began before it may be kept alive; then no client sees the "
            "older certificate any more, except in tunnels; `off`: as long as it likes",
            "10m",
        ),
    ] = 0.0
    cert_expiry_warning: Annotated[
        DurationOrZero,
        About("from when on a soon-expiring certificate is warned about, once a day; 0: never", "7d"),
    ] = 14 * 86400.0

    trusted_proxies: Annotated[
        tuple[Network, ...],
        NETWORKS,
        About(
            "addresses and ranges whose X-Forwarded-*, Forwarded and X-Request-ID are believed and extended; "
            "everyone else's are dropped. With PROXY_PROTOCOL the address that it names is judged. `private` "
            "stands for the private and loopback ranges (an ingress in the same cluster)",
            "private,203.0.113.7",
        ),
    ] = ()
    proxy_protocol: Annotated[
        Literal["off", "accept", "send", "both"],
        SWITCHED_CHOICE,
        About(
            "`accept` v1 or v2 before TLS from TRUSTED_PROXIES; `send` v2 to the app (tcp mode); `both`; `off`",
            "accept",
        ),
    ] = "off"
    hsts: Annotated[
        int | None,
        HSTS,
        About("max-age for Strict-Transport-Security; added only when the app sent none", "365d"),
    ] = None
    fix_redirects: Annotated[
        Switch,
        About(
            "a Location of the app's that names http:// and the request's own host, or the app's own "
            "address, becomes https:// and that host",
            "off",
        ),
    ] = True
    cookie_secure: Annotated[Switch, About("adds `Secure` to the app's cookies that lack it", "on")] = False

    connect_timeout: Annotated[Duration, About("one attempt to connect to the app", "500ms")] = 5.0
    app_wait: Annotated[
        DurationOrZero,
        About(
            "how long a request is held, in order and within APP_CONNECTIONS, while the app refuses "
            "connections (it restarts, or starts later than the sidecar), before 503 with Retry-After; "
            "0: answered at once, 502",
            "10s",
        ),
    ] = 3.0
    response_timeout: Annotated[
        Duration, About("until the app's response head, and between two pieces of its body", "5m")
    ] = 60.0
    handshake_timeout: Annotated[Duration, About("TLS handshake", "5s")] = 10.0
    head_timeout: Annotated[Duration, About("from the first byte of a request head to its end", "5s")] = 10.0
    body_timeout: Annotated[
        Duration,
        About("between two pieces of a request body, and for a client that does not read", "5m"),
    ] = 60.0
    keepalive_timeout: Annotated[Duration, About("an idle client connection", "2m")] = 75.0
    tunnel_timeout: Annotated[
        DurationOrZero, About("a WebSocket or tcp connection with no byte either way; 0: none", "10m")
    ] = 3600.0
    app_keepalive_timeout: Annotated[Duration, About("an idle connection to the app", "4s")] = 30.0

    max_connections: Annotated[
        int,
        COUNT,
        Ge(1),
        About(
            "client connections at once; above it a new one waits in the backlog, and a metric counts it. The limit "
            "of open files is raised to fit at start, or the start says that it can't",
            "500",
        ),
    ] = 10_000
    app_connections: Annotated[
        Count,
        About(
            "requests that the app is given at once; above it they wait in order, up to RESPONSE_TIMEOUT, "
            "then 503 with Retry-After; 0: no limit",
            "4",
        ),
    ] = 0
    max_head: Annotated[int, SIZE, Ge(1024), About("request line and headers together: 414 or 431 above it", "64k")] = (
        32 * 1024
    )
    max_body: Annotated[
        Size,
        About("request body: 413 above it; 0 is no limit (bodies are streamed, never buffered whole)", "100m"),
    ] = 0

    drain_delay: Annotated[
        DurationOrZero,
        About(
            "on SIGTERM keep accepting this long while /readyz says no, for load balancers that are slow to "
            "notice; SIGINT skips it",
            "10s",
        ),
    ] = 5.0
    drain_timeout: Annotated[
        DurationOrZero,
        About(
            "then how long requests under way may take before they are cut; the two together stay under the "
            "30 s that Kubernetes gives (Compose and podman give 10: `stop_grace_period: 30s`)",
            "15s",
        ),
    ] = 20.0
    follow_app: Annotated[
        Switch,
        About(
            "end when the app's port has been closed for longer than APP_WAIT: after SIGTERM keep serving until then; "
            "in a Job, exit 0 then",
            "on",
        ),
    ] = False
    app_check: Annotated[
        str,
        APP_CHECK,
        About("what readiness asks of the app: `tcp`, an HTTP path such as `/healthz`, or `off`", "/healthz"),
    ] = "tcp"

    log_format: Annotated[
        Literal["json", "text"],
        CHOICE,
        About("`json` or `text` (Combined Log Format for requests)", "text"),
    ] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], CHOICE, About("`debug` to `error`", "debug")] = (
        "info"
    )
    access_log: Annotated[Literal["on", "off", "errors"], SWITCHED_CHOICE, About("`on`, `off`, `errors`", "errors")] = (
        "on"
    )
    log_query: Annotated[
        Switch,
        About("`off` writes the target and referer without their query, where queries carry secrets", "off"),
    ] = True

    @field_validator("listen_port", "admin_port", "redirect_port")
    @classmethod
    def _has_its_port_alone(cls, port: int | None, info: ValidationInfo) -> int | None:
        """Two listeners can't share a port, and one in the app's place would forward to itself."""
        host = info.data.get("admin_host" if info.field_name == "admin_port" else "listen_host", "")
        for name, other_host, other_port in _occupied(info.data):
            if port and port == other_port and _meet(host, other_host):
                raise Conflict(f"{cls.PREFIX}{name} is the same port; give one of the two another")
        return port

    @field_validator("client_allow")
    @classmethod
    def _judges_somebody(cls, rules: Rules, info: ValidationInfo) -> Rules:
        """Rules that nobody is held against would be a door that only looks shut."""
        if rules and info.data.get("client_auth") == "off":
            raise Conflict(f"no client is asked for a certificate; set {cls.PREFIX}CLIENT_AUTH to required or observe")
        return rules

    @field_validator("client_exempt")
    @classmethod
    def _frees_somebody(cls, paths: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Paths that are free of what nobody is asked for, or of what the handshake asks already, free nobody."""
        if paths and info.data.get("mode") == "tcp":
            raise Conflict(f"in tcp mode nobody knows of paths; leave it empty, or set {cls.PREFIX}MODE to http")
        if paths and info.data.get("client_auth") in {"off", "observe", "required"}:
            name, use = f"{cls.PREFIX}CLIENT_AUTH", info.data["client_auth"]
            raise Conflict(f"with {name}={use} {_WHOM_NO_PATH_FREES[use]}; set {name} to optional")
        return paths

    @field_validator("client_chain")
    @classmethod
    def _tells_of_somebody(cls, on: bool, info: ValidationInfo) -> bool:
        """There is a chain to be told only where clients are verified, and a header only in http mode."""
        if on and info.data.get("client_auth") == "off":
            raise Conflict(f"no client is asked for a certificate; set {cls.PREFIX}CLIENT_AUTH to required or observe")
        if on and info.data.get("mode") == "tcp":
            raise Conflict(f"in tcp mode the app is sent no headers; leave it off, or set {cls.PREFIX}MODE to http")
        return on

    @field_validator("alpn")
    @classmethod
    def _is_offered_by_a_tunnel(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """The HTTP proxy speaks one protocol, and what it offers is not a choice."""
        if names and info.data.get("mode") == "http":
            raise Conflict(f"http mode speaks http/1.1 only; leave it empty, or set {cls.PREFIX}MODE to tcp")
        return names

    @field_validator("proxy_protocol")
    @classmethod
    def _has_both_ends(cls, use: str, info: ValidationInfo) -> str:
        """A header needs someone whose word counts, and an app that is told of the client by it."""
        if use in {"accept", "both"} and info.data.get("trusted_proxies") == ():
            raise Conflict(
                f"{cls.PREFIX}TRUSTED_PROXIES is empty, and nobody's header would be accepted; "
                "list there the addresses of what connects here"
            )
        if use in {"send", "both"} and info.data.get("mode") == "http":
            instead = "off" if use == "send" else "accept"
            raise Conflict(
                f"in http mode headers tell the app of the client; use {instead}, or set {cls.PREFIX}MODE to tcp"
            )
        return use


_WHOM_NO_PATH_FREES = {
    "off": "no client is asked for a certificate",
    "observe": "clients without a certificate are served on every path",
    "required": "a client without a certificate gets no connection, and no path to ask for",
}


def _occupied(valid: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    """Name, host and port of the fields so far that take a port of this machine."""
    app_host = _address(valid.get("app_host"))
    if not valid.get("app_socket") and (app_host == "::1" or app_host.startswith("127.")):
        yield "APP_PORT", app_host, valid.get("app_port")
    yield "LISTEN_PORT", valid.get("listen_host"), valid.get("listen_port")
    yield "ADMIN_PORT", valid.get("admin_host"), valid.get("admin_port")


def _meet(one: object, other: object) -> bool:
    one, other = _address(one), _address(other)
    return one == other or not {one, other}.isdisjoint({"", "0.0.0.0", "::"})  # noqa: S104  -- compared, not bound


def _address(host: object) -> str:
    return "127.0.0.1" if host == "localhost" else str(host)
