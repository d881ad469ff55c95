"""Which servers, certificates and apps a configuration has, and what one sidecar can be of them; pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tlsproxy.import_nginx.directives import rule_for
from tlsproxy.import_nginx.findings import Directive, NotImported, Remark, Setting
from tlsproxy.import_nginx.report import Report

_CONTEXTS: Final = frozenset({"http", "stream"})
# Blocks whose directives hold under a condition that nothing here can keep.
_CONDITIONAL: Final = frozenset({"if", "limit_except", "map", "geo", "split_clients", "types", "events"})
# What relative paths are relative to, as nginx is usually built.
_NGINX: Final = PurePosixPath("/etc/nginx")
_HTTPS: Final = "https://"
_PORT: Final = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Server:
    """A server block, with what holds for it from around it."""

    directive: Directive
    around: tuple[Directive, ...]
    stream: bool

    @property
    def names(self) -> tuple[str, ...]:
        """As in `server_name`."""
        return tuple(name for one in self.directive.named("server_name") for name in one.args)

    @property
    def title(self) -> str:
        """Its first name and its place."""
        return f"server {self.names[0] if self.names else 'without a name'} ({self.directive.place})"

    def all(self, *names: str) -> tuple[Directive, ...]:
        """The directives of these names that say something: its own, or where it has none those from around it."""
        own = tuple(one for one in self.directive.named(*names) if one.args)
        return own or tuple(one for one in self.around if one.name in names and one.args)

    @property
    def called(self) -> tuple[str, ...]:
        """What it may be chosen by: its names, and its ports, since a stream's server has no name."""
        return (*self.names, *(_endpoint(one.args[0])[1] for one in self.all("listen")))

    def speaks_tls(self) -> bool:
        """Whether any of its ports does."""
        listens = any("ssl" in one.args or "quic" in one.args for one in self.all("listen"))
        return listens or any(one.args == ("on",) for one in self.all("ssl"))


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the directive that says so."""

    directive: Directive
    host: str = ""
    port: int = 0
    socket: str = ""

    @property
    def address(self) -> tuple[str, int, str]:
        """What two directives for one app have in common."""
        return self.host, self.port, self.socket


def servers(directives: Sequence[Directive], *, stream: bool = False) -> Iterator[Server]:
    """Every server block, in order."""
    around = tuple(one for one in directives if one.block is None or one.name in _CONDITIONAL)
    for one in directives:
        if one.name == "server" and one.block is not None:
            yield Server(one, around, stream)
        elif one.name in _CONTEXTS:
            yield from servers(one.block or (), stream=one.name == "stream")


def upstreams(directives: Sequence[Directive]) -> dict[str, Directive]:
    """Every upstream block by its name."""
    found = {one.args[0]: one for one in directives if one.name == "upstream" and one.args}
    for one in directives:
        if one.name in _CONTEXTS:
            found |= upstreams(one.block or ())
    return found


def import_servers(directives: Sequence[Directive], file: str, wanted: str = "") -> Report:
    """What one sidecar can be of a configuration: the first TLS server and all others that have the same app.

    Args:
        directives: the configuration.
        file: its name, for the report.
        wanted: name or port of the server to begin with; empty: the first.

    Raises:
        NotImported: there is no TLS server, or none of that name.
    """
    found = list(servers(directives))
    encrypted = [server for server in found if server.speaks_tls()]
    chosen = [server for server in encrypted if not wanted or wanted in server.called]
    if not chosen:
        listed = ", ".join(server.title for server in encrypted) or "none at all"
        what = f"no TLS server has the name or port {wanted}" if wanted else "there is no server with `listen ... ssl`"
        raise NotImported(f"{file}: {what} (TLS servers: {listed}); name one by --server, or the file that has it")
    known = upstreams(directives)
    first = chosen[0]
    report = Report(f"from {file}, {first.title}")
    app = _app(first, known, report)
    same = [first, *(one for one in encrypted if one is not first and _address(one, known) == (app and app.address))]
    _certificates(same, report)
    for server in same:
        _server(server, app, known, report)
    for server in found:
        if server not in same:
            _other(server, report)
    _completed(first, report)
    return report


# --- One server --------------------------------------------------------------------------------------------


def _server(server: Server, app: Target | None, known: dict[str, Directive], report: Report) -> None:
    for one in server.all("listen"):
        _listen(one, report)
    for one in _inherited(server):
        report.apply(one, rule_for(one.name))
    for one in _inside(server.directive):
        report.apply(one, rule_for(one.name))
    for location, target in _targets(server, known):
        if app is not None and target.address != app.address:
            what = f"requests for {location} go elsewhere" if location else "requests go elsewhere"
            report.add(
                target.directive, Remark(f"{what}, and one sidecar has one app", "let the app or an ingress route")
            )
        elif location and _path(target.directive) not in {"", location}:
            report.add(
                target.directive, Remark("the path is changed on the way", "let the app be asked as clients ask")
            )
    for block in server.directive.named("location"):
        if not any(block.named("proxy_pass", "return")):
            report.add(block, Remark("requests for it go to the app like all others"))
    for answer in _returns(server.directive):
        report.add(answer, Remark("nothing is answered in the app's place", "let the app or an ingress answer"))


def _inherited(server: Server) -> Iterator[Directive]:
    own = {one.name for one in server.directive.block or ()}
    return (one for one in server.around if one.name not in own)


def _inside(directive: Directive) -> Iterator[Directive]:
    """A server's directives and those of its locations; of conditional blocks the block itself."""
    for one in directive.block or ():
        yield one
        if one.name not in _CONDITIONAL:
            yield from _inside(one)


def _returns(directive: Directive) -> Iterator[Directive]:
    return (one for one in _inside(directive) if one.name == "return")


def _listen(listen: Directive, report: Report) -> None:
    address, *flags = listen.args
    if address.startswith("unix:"):
        report.add(listen, Remark("there is no unix socket to listen on", "use a port"))
        return
    host, port = _endpoint(address)
    if _is_unprivileged(port):
        report.add(listen, Setting("LISTEN_PORT", port))
    elif "ssl" in flags:
        what = f"the port is TLSPROXY_LISTEN_PORT's default in place of {port}, which would take a privilege"
        report.add(listen, Remark(what, f"publish it as {port}, or have the Service's targetPort lead there"))
    if host not in {"", "*", "0.0.0.0", "[::]"}:  # noqa: S104  -- compared, not bound
        report.add(listen, Setting("LISTEN_HOST", host.strip("[]")))
    if "proxy_protocol" in flags:
        report.add(listen, Setting("PROXY_PROTOCOL", "accept"))
    if {"http2", "quic", "spdy"} & set(flags):
        report.apply(listen, rule_for("http2"))


def _endpoint(address: str) -> tuple[str, str]:
    """Host and port of `443`, `*:443`, `[::]:443` or an address alone."""
    host, colon, port = address.rpartition(":")
    if address.isdecimal():
        return "", address
    return (host, port) if colon and port.isdecimal() and not host.endswith(":") else (address, "80")


def _is_unprivileged(port: str) -> bool:
    return _PORT.fullmatch(port) is not None and int(port) >= 1024


def _other(server: Server, report: Report) -> None:
    ports = [_endpoint(one.args[0])[1] for one in server.all("listen")]
    redirects = [one for one in _inside(server.directive) if one.name in {"return", "rewrite"} and _to_https(one)]
    if server.speaks_tls():
        name = next(iter(server.called), "NAME")
        remark = Remark("it has another app, and one sidecar has one", f"see `tlsproxy import-nginx --server {name}`")
        report.add(Directive("server", server.names, server.directive.place), remark)
    elif redirects and ports:
        port = ports[0] if _is_unprivileged(ports[0]) else "8081"
        report.add(redirects[0], Setting("REDIRECT_PORT", port))
        if port != ports[0]:
            what = f"the port is {port} in place of {ports[0]}, which would take a privilege"
            report.add(redirects[0], Remark(what, f"publish it as {ports[0]}"))
    else:
        remark = Remark("it has no TLS", "nothing has to be in front of the app for that")
        report.add(Directive("server", server.names, server.directive.place), remark)


def _to_https(directive: Directive) -> bool:
    return any(arg.startswith(_HTTPS) for arg in directive.args)


def _completed(server: Server, report: Report) -> None:
    """What follows from what is there, and from what is not."""
    if server.stream:
        report.add(Directive("stream", (), server.directive.place), Setting("MODE", "tcp"))
    elif not report.value("MAX_BODY"):
        remark = Remark(
            "nginx takes bodies of 1m where nothing is written, and here there is no limit", "see TLSPROXY_MAX_BODY"
        )
        report.add(Directive("client_max_body_size", ("1m",), "nginx's default"), remark)
    if report.value("PROXY_PROTOCOL") == "accept" and not report.value("TRUSTED_PROXIES"):
        source = Directive("listen", ("proxy_protocol",), server.directive.place)
        report.add(source, Setting("TRUSTED_PROXIES", "private"))
        report.add(
            source, Remark("nginx believes anybody's PROXY header", "put your load balancer's addresses for private")
        )


# --- Its app -----------------------------------------------------------------------------------------------


def _app(server: Server, known: dict[str, Directive], report: Report) -> Target | None:
    """The app of `location /`, else of the first; its settings go into the report."""
    targets = list(_targets(server, known))
    if not targets:
        what = "there is no proxy_pass to an address in it"
        report.add(Directive("server", server.names, server.directive.place), Remark(what, "set TLSPROXY_APP_PORT"))
        return None
    _, target = next((found for found in targets if found[0] in {"", "/"}), targets[0])
    if target.socket:
        report.add(target.directive, Setting("APP_SOCKET", target.socket))
    else:
        report.add(target.directive, Setting("APP_PORT", str(target.port)))
        if target.host not in {"127.0.0.1", "localhost", "[::1]"}:
            report.add(target.directive, Setting("APP_HOST", target.host))
    if target.directive.args[0].startswith(_HTTPS):
        report.apply(target.directive, rule_for("proxy_ssl"))
    _upstream(known.get(_authority(target.directive)), report)
    return target


def _address(server: Server, known: dict[str, Directive]) -> tuple[str, int, str] | None:
    targets = list(_targets(server, known))
    return next((target.address for location, target in targets if location in {"", "/"}), None) or next(
        (target.address for _, target in targets), None
    )


def _targets(server: Server, known: dict[str, Directive]) -> Iterator[tuple[str, Target]]:
    """Each location with where it leads; the location is empty for the server's own."""
    for location, directive in _passes(server.directive, ""):
        target = _target(directive, known)
        if target is not None:
            yield location, target


def _passes(directive: Directive, location: str) -> Iterator[tuple[str, Directive]]:
    for one in directive.block or ():
        if one.name == "proxy_pass" and one.args:
            yield location, one
        elif one.name == "location":
            yield from _passes(one, one.args[-1] if one.args else "")


def _authority(directive: Directive) -> str:
    return directive.args[0].rpartition("://")[2].partition("/")[0]


def _path(directive: Directive) -> str:
    """What takes the place of the location's own path; empty: nothing does."""
    address = directive.args[0].partition("?")[0]
    if "unix:" in address:
        return address.partition("unix:")[2].partition(":")[2]
    _, slash, path = address.rpartition("://")[2].partition("/")
    return slash + path


def _target(directive: Directive, known: dict[str, Directive]) -> Target | None:
    address, authority = directive.args[0], _authority(directive)
    secure = address.startswith(_HTTPS)
    if authority in known:
        address = next((one.args[0] for one in known[authority].named("server") if one.args), "")
        authority = address
    if "unix:" in address:
        return Target(directive, socket=address.partition("unix:")[2].partition(":")[0])
    host, _, port = authority.rpartition(":")
    if not _PORT.fullmatch(port):
        host, port = authority, "443" if secure else "80"
    return None if "$" in authority or not host else Target(directive, host=host, port=int(port))


def _upstream(upstream: Directive | None, report: Report) -> None:
    servers = list(upstream.named("server")) if upstream else []
    for other in servers[1:]:
        report.add(other, Remark("one sidecar has one app", "have a sidecar beside each, and a Service in front"))
    for flag in servers[0].args[1:] if servers else ():
        name, _, value = flag.partition("=")
        if name == "max_conns":
            report.add(servers[0], Setting("APP_CONNECTIONS", value))
    for one in upstream.named("keepalive_timeout") if upstream else ():
        report.add(one, Setting("APP_KEEPALIVE_TIMEOUT", one.args[0]))


# --- Its certificates --------------------------------------------------------------------------------------


def _certificates(found: Iterable[Server], report: Report) -> None:
    pairs = [pair for server in found for pair in _pairs(server)]
    layouts = [_layouts(certificate.args[0], key.args[0] if key else "") for certificate, key in pairs]
    directories = [directory for directory in layouts[0] if all(directory in one for one in layouts)] if layouts else []
    for (certificate, _), layout in zip(pairs, layouts, strict=True):
        if directories:
            report.add(certificate, Setting("CERT_NAME", layout[directories[0]]))
            report.add(certificate, Setting("CERT_DIR", directories[0]))
        else:
            name = PurePosixPath(certificate.args[0]).stem.replace("*", "wildcard").replace("$", "").replace(",", "-")
            report.add(certificate, Setting("CERT_NAME", name))
            what = f"the pair has to be found by its name {name}"
            report.add(certificate, Remark(what, f"mount it as /certs/{name}/tls.crt and /certs/{name}/tls.key"))


def _pairs(server: Server) -> list[tuple[Directive, Directive | None]]:
    certificates, keys = server.all("ssl_certificate"), server.all("ssl_certificate_key")
    return [(one, keys[number] if number < len(keys) else None) for number, one in enumerate(certificates) if one.args]


def _layouts(certificate: str, key: str) -> dict[str, str]:
    """CERT_DIR and the name in it, for each known layout that the pair has."""
    path, key_path = _NGINX / certificate, _NGINX / (key or certificate)
    if path.parent != key_path.parent or "$" in certificate or not set("*,").isdisjoint(certificate):
        return {}
    names = path.name, key_path.name
    in_folder = {str(path.parent.parent): path.parent.name} if path.parent.name else {}
    if names == ("tls.crt", "tls.key"):
        return {str(path.parent): "tls"} | in_folder
    if names == ("fullchain.pem", "privkey.pem"):
        return in_folder
    if names in {(f"{path.stem}.crt", f"{path.stem}.key"), (f"{path.stem}.pem", f"{path.stem}.pem")}:
        return {str(path.parent): path.stem}
    return {}
