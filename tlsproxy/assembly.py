"""What the rooms are made with, from the settings: small frozen values, and the certificates that are named.

The rooms know no settings, and the settings no rooms; what each variable means for a room stands here.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tlsproxy.chassis.app_address import AppAddress
from tlsproxy.chassis.output import LineWriter
from tlsproxy.proxy.conditions import Precondition, certified, directed
from tlsproxy.proxy.fixes import Fixes
from tlsproxy.proxy.limits import Limits, Timeouts
from tlsproxy.proxy.request_log import CombinedLines, JsonLines, RequestLog
from tlsproxy.tls.catalogue import Catalogue, Listed, Supply
from tlsproxy.tls.certificate import Certificate, Checked, recall
from tlsproxy.tls.clients import Clients
from tlsproxy.tls.discovery import FIRST, discover, places
from tlsproxy.tls.files import Material, MaterialError, directories, find, locate, ways
from tlsproxy.tls.steps import Steps
from tlsproxy.tls.store import Known, Source, Store
from tlsproxy.tls.trust import TrustMaterial, find_trust, lists_beside
from tlsproxy.tls.trust_store import TrustStore
from tlsproxy.workers.cpus import granted_cpus
from tlsproxy.workers.shares import fitting

if TYPE_CHECKING:
    from tlsproxy.settings import Settings


def app_address(settings: "Settings") -> AppAddress:
    """Where the app listens."""
    return AppAddress(settings.app_host, settings.app_port, str(settings.app_socket or ""))


def certificates(settings: "Settings", ca_file: Path | None, checked: Checked) -> Catalogue:
    """What the settings name.

    Args:
        settings: read for their attributes alone.
        ca_file: where the CA of a certificate that is made here is written to, if anywhere.
        checked: what need not be checked when it is found as it was; see `recall`.
    """
    default = FIRST if settings.cert_name == ("*",) else settings.cert_name[0]
    listed = _listed(settings, default)

    def source(name: str) -> Source:
        files = partial(find, settings.cert_dir, name)
        if not settings.self_signed or name != default:
            return files
        from tlsproxy.tls.development import Standby  # noqa: PLC0415 - it makes certificates, and loads what that takes

        return Standby(name, files, ca_file)

    def trusted() -> TrustMaterial:
        return find_trust(_bundle(settings, listed(())))

    known, warning = partial(recall, checked), timedelta(seconds=settings.cert_expiry_warning)
    return _catalogue(settings, listed, source, known, trusted, warning)


def supplied(settings: "Settings", supply: Callable[[], Supply]) -> Catalogue:
    """What another process has found good, which tells of it, too."""

    def source(name: str) -> Source:
        return lambda: supply().certificates[name][0]

    def known(material: Material) -> Certificate:
        return supply().certificates[material.name][1]

    def trusted() -> TrustMaterial:
        trust = supply().trust
        assert trust is not None, "asked for only where clients are verified"
        return trust

    return _catalogue(settings, lambda _: tuple(supply().certificates), source, known, trusted, timedelta())


def _catalogue(
    settings: "Settings",
    listed: Listed,
    source: Callable[[str], Source],
    known: Known,
    trusted: Callable[[], TrustMaterial],
    expiry_warning: timedelta,
) -> Catalogue:
    title, profile = ",".join(settings.cert_name), settings.tls_profile
    protocols = settings.alpn if settings.mode == "tcp" else ("http/1.1",)

    def make(name: str) -> Store:
        return Store(name, source(name), profile, protocols, expiry_warning=expiry_warning, known=known)

    verified = settings.client_auth != "off"
    trust = TrustStore(trusted, required=settings.client_auth == "required") if verified else None
    strict, tickets = settings.sni_strict, not settings.client_chain
    return Catalogue(title, listed, make, profile, protocols, strict=strict, trust=trust, tickets=tickets)


def _bundle(settings: "Settings", names: Iterable[str]) -> Path:
    """Where the client CAs lie; beside the first certificate that is there, unless the settings say where."""
    if settings.client_ca is not None:
        return settings.client_ca
    first = next(iter(names), FIRST)
    return locate(settings.cert_dir, first).certificate.with_name("ca.crt")


def clients(settings: "Settings") -> Clients | None:
    """Who judges the certificates of clients; None: they are asked for none."""
    if settings.client_auth == "off":
        return None
    return Clients(
        settings.client_auth, settings.client_allow, exempt=settings.client_exempt, chain=settings.client_chain
    )


def conditions(settings: "Settings", clients: Clients | None) -> list[Precondition]:
    """What requests have to meet before the app hears of them."""
    conditions: list[Precondition] = []
    if clients is not None and settings.client_exempt:
        conditions.append(certified(settings.client_exempt, clients.uncertified))
    if settings.sni_strict:
        conditions.append(directed)
    return conditions


def _listed(settings: "Settings", default: str) -> Listed:
    """Which names to serve: those of the settings, or whatever is there."""
    if settings.cert_name != ("*",):
        return lambda _: settings.cert_name
    if settings.self_signed:
        return lambda known: discover(settings.cert_dir, known) or (default,)
    return partial(discover, settings.cert_dir)


def watched(settings: "Settings", catalogue: Catalogue) -> Steps[frozenset[Path]]:
    """The directories whose entries decide what is served."""
    deciding = yield from directories(settings.cert_dir, *catalogue.stores)
    if settings.cert_name == ("*",):
        deciding |= frozenset(places(settings.cert_dir))
    if settings.client_auth == "off":
        return deciding
    try:
        bundle = _bundle(settings, catalogue.stores)
    except MaterialError:
        return deciding
    return deciding | (yield from ways((bundle, lists_beside(bundle))))


def workers(settings: "Settings") -> int:
    """How many processes serve: as many as are wanted, or fewer where each could not have one of every limit."""
    wanted = settings.workers or granted_cpus()
    return fitting(wanted, settings.max_connections, settings.app_connections)


def limits(settings: "Settings") -> Limits:
    """What requests and connections may take."""
    return Limits(
        head=settings.max_head,
        body=settings.max_body,
        connections=settings.max_connections,
        app_connections=settings.app_connections,
    )


def timeouts(settings: "Settings") -> Timeouts:
    """How long anything may take."""
    return Timeouts(
        head=settings.head_timeout,
        body=settings.body_timeout,
        keepalive=settings.keepalive_timeout,
        connect=settings.connect_timeout,
        app_wait=settings.app_wait,
        response=settings.response_timeout,
        tunnel=settings.tunnel_timeout,
        app_keepalive=settings.app_keepalive_timeout,
    )


def fixes(settings: "Settings", address: AppAddress) -> Fixes:
    """What is put right in the app's answers."""
    return Fixes(
        app_authorities=frozenset(authority.encode() for authority in address.authorities),
        redirects=settings.fix_redirects,
        secure_cookies=settings.cookie_secure,
        transport_security=b"" if settings.hsts is None else b"max-age=%d" % settings.hsts,
    )


def request_log(settings: "Settings", lines: LineWriter) -> RequestLog | None:
    """What writes request lines; None: nobody wants them."""
    if settings.access_log == "off":
        return None
    kind = JsonLines if settings.log_format == "json" else CombinedLines
    return kind(lines.add, errors_only=settings.access_log == "errors", query=settings.log_query)
