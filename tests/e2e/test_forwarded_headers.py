"""What the app is told about the client, and what a client may not tell it."""

import re
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import TlsClient, get
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

TOLD = [
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Forwarded-Port",
    b"Forwarded",
    b"X-Real-IP",
    b"X-Request-ID",
]
ALWAYS_DROPPED = [
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Forwarded-Client-Cert",
    "Client_Cert",
    "client_CERT_chain",
    "X_Forwarded_Client_Cert",
    "X-Forwarded_Client-Cert",
]


@pytest.fixture(scope="module")
def trusting_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that trusts 127.0.0.1 and some others, but not 127.0.0.2, and is reached at another port."""
    trusted = "127.0.0.1/32,127.0.0.4/30,192.0.2.0/24"
    with launch(APP_PORT=session_app.port, TRUSTED_PROXIES=trusted, EXTERNAL_PORT=8443) as process:
        yield process


@pytest.fixture
def ingress(trusting_sidecar: Sidecar, app: ScriptedApp) -> Iterator[TlsClient]:
    """A connection from a trusted proxy."""
    with trusting_sidecar.connect() as connection:
        yield connection


def test_the_app_learns_who_asked_for_what(client: TlsClient, app: ScriptedApp) -> None:
    """Address, scheme, host and port of the request come in each of the usual fields, once."""
    client.ask(get("/", host="shop.example"))
    told = {name: app.request.get(name) for name in TOLD}
    assert told == told | {
        b"X-Forwarded-For": b"127.0.0.1",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"shop.example",
        b"X-Forwarded-Port": b"443",
        b"X-Real-IP": b"127.0.0.1",
    }
    assert told[b"X-Request-ID"]


def test_forwarded_says_the_same(client: TlsClient, app: ScriptedApp) -> None:
    """Forwarded has for and proto (RFC 7239); if it names the host too, quoted where a port follows."""
    client.ask(get("/", host="shop.example:8443"))
    client.ask(get("/", host="shop.example"))
    for request, host in zip(app.requests, ['"shop.example:8443"', "shop.example"], strict=True):
        told = forwarded(request.get(b"Forwarded"))
        assert {"host": host} | told == {"for": "127.0.0.1", "proto": "https", "host": host}


@pytest.mark.parametrize(
    ("host", "port"),
    [("shop.example", b"443"), ("shop.example:8443", b"8443"), ("[::1]", b"443"), ("[::1]:9443", b"9443")],
)
def test_the_forwarded_port_is_that_of_host(client: TlsClient, app: ScriptedApp, host: str, port: bytes) -> None:
    """X-Forwarded-Port is the port that the client's Host names, else 443."""
    client.ask(get("/", host=host))
    assert app.request.get(b"X-Forwarded-Port") == port


def test_the_forwarded_port_may_be_set(ingress: TlsClient, app: ScriptedApp) -> None:
    """X-Forwarded-Port is EXTERNAL_PORT where Host names none."""
    ingress.get()
    assert app.request.get(b"X-Forwarded-Port") == b"8443"


def test_a_request_id_is_made_for_each_request(client: TlsClient, app: ScriptedApp) -> None:
    """Each request has an id of its own, the same in the app's request, the response and the log."""
    answers = [client.get(), client.get()]
    ids = [answer.get(b"X-Request-ID") for answer in answers]
    assert ids == [request.get(b"X-Request-ID") for request in app.requests]
    assert len(set(ids)) == 2


def test_the_request_line_has_the_request_id(client: TlsClient, shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """The log can be searched by the id that the client was given."""
    identifier = client.get("/logged").get(b"X-Request-ID")
    assert identifier
    line = shared_sidecar.wait_for_line(request_id=identifier.decode())
    assert (line["target"], line["status"], line["client"]) == ("/logged", 200, "127.0.0.1")


def test_an_id_of_the_apps_own_gives_way(client: TlsClient, app: ScriptedApp) -> None:
    """The client gets one X-Request-ID, the one that is logged, whatever the app sends."""
    app.answer(response(b"ok", "X-Request-ID: of-the-app"))
    assert client.get().all(b"X-Request-ID") == [app.request.get(b"X-Request-ID")]


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_FORWARDED-for",
        "X-Forwarded-Proto",
        "X_Forwarded_Proto",
        "X-Forwarded-Host",
        "X_FORWARDED_HOST",
        "X-Forwarded-Port",
        "X_Forwarded_Port",
        "Forwarded",
        "forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "x-real_ip",
        "X-Request-ID",
        "X_Request_Id",
        *ALWAYS_DROPPED,
    ],
)
def test_a_client_cannot_speak_for_us(client: TlsClient, app: ScriptedApp, name: str) -> None:
    """A client's own copy of what we tell the app is dropped, spelled with underscores or odd case too."""
    client.get("/", f"{name}: spoofed", "X-After: kept")
    assert b"spoofed" not in app.request.head
    assert app.request.get(b"X-After") == b"kept"
    for told in TOLD:
        assert app.request.get(told), told


@pytest.mark.parametrize("name", ALWAYS_DROPPED)
def test_no_proxy_is_trusted_with_certificates(ingress: TlsClient, app: ScriptedApp, name: str) -> None:
    """A client certificate that somebody else claims to have seen is dropped, a trusted proxy's too."""
    ingress.get("/", f"{name}: spoofed")
    assert b"spoofed" not in app.request.head


def test_a_trusted_proxy_is_believed(ingress: TlsClient, app: ScriptedApp) -> None:
    """Proto, host, port and request id of a trusted proxy are kept."""
    fields = {
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"public.example",
        b"X-Forwarded-Port": b"8080",
        b"X-Request-ID": b"of-the-ingress",
    }
    answer = ingress.get("/", *(f"{name.decode()}: {value.decode()}" for name, value in fields.items()))
    assert {name: app.request.get(name) for name in fields} == fields
    assert answer.get(b"X-Request-ID") == b"of-the-ingress"


def test_what_a_trusted_proxy_leaves_out_is_added(ingress: TlsClient, app: ScriptedApp) -> None:
    """A trusted proxy that says nothing is treated like any client."""
    ingress.ask(get("/", host="shop.example"))
    assert app.request.get(b"X-Forwarded-For") == b"127.0.0.1"
    assert app.request.get(b"X-Forwarded-Proto") == b"https"
    assert app.request.get(b"X-Forwarded-Host") == b"shop.example"
    assert app.request.get(b"X-Real-IP") == b"127.0.0.1"
    assert app.request.get(b"X-Request-ID")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (["203.0.113.9"], b"203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], b"203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], b"203.0.113.9"),
        (["203.0.113.9, 192.0.2.7"], b"203.0.113.9"),
        (["203.0.113.9, 192.0.2.7, 127.0.0.5"], b"203.0.113.9"),
        (["192.0.2.7"], b"192.0.2.7"),
        (["2001:db8::9"], b"2001:db8::9"),
    ],
)
def test_a_trusted_chain_is_extended(ingress: TlsClient, app: ScriptedApp, chain: list[str], client: bytes) -> None:
    """The peer joins X-Forwarded-For; X-Real-IP is its right-most address that is no trusted proxy."""
    ingress.get("/", *(f"X-Forwarded-For: {addresses}" for addresses in chain), "X-Real-IP: 1.1.1.1")
    assert b", ".join(app.request.all(b"X-Forwarded-For")) == (", ".join(chain) + ", 127.0.0.1").encode()
    assert app.request.all(b"X-Real-IP") == [client]


def test_a_trusted_forwarded_is_extended(ingress: TlsClient, app: ScriptedApp) -> None:
    """Our element comes after those of the trusted proxies."""
    ingress.get("/", "Forwarded: for=203.0.113.9;proto=https")
    elements = [element.strip() for value in app.request.all(b"Forwarded") for element in value.split(b",")]
    assert elements[0] == b"for=203.0.113.9;proto=https"
    assert forwarded(elements[1])["for"] == "127.0.0.1"
    assert len(elements) == 2


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Forwarded-Proto", "X_Request_ID", "X_Real_IP"])
def test_underscores_are_dropped_from_a_trusted_proxy_too(ingress: TlsClient, app: ScriptedApp, name: str) -> None:
    """No trusted proxy spells them with underscores, but an app may read them as the same."""
    ingress.get("/", f"{name}: spoofed")
    assert b"spoofed" not in app.request.head


def test_only_the_named_proxies_are_trusted(trusting_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A client outside of TRUSTED_PROXIES is not believed, one inside is."""
    for source in ("127.0.0.2", "127.0.0.5"):
        with trusting_sidecar.connect(source=source) as client:
            client.get("/", "X-Forwarded-For: 203.0.113.9")
    stranger, proxy = (request.get(b"X-Forwarded-For") for request in app.requests)
    assert (stranger, proxy) == (b"127.0.0.2", b"203.0.113.9, 127.0.0.5")


def test_private_stands_for_the_private_ranges(sidecar: Launch, app: ScriptedApp) -> None:
    """TRUSTED_PROXIES=private includes loopback."""
    sidecar(TRUSTED_PROXIES="private").get("/", "X-Forwarded-For: 203.0.113.9")
    assert app.request.get(b"X-Forwarded-For") == b"203.0.113.9, 127.0.0.1"


def test_an_ipv6_client_is_named_as_such(sidecar: Launch, app: ScriptedApp) -> None:
    """An IPv6 address is bare in X-Forwarded-For, bracketed and quoted in Forwarded."""
    sidecar(LISTEN_HOST="::1").get()
    assert app.request.get(b"X-Forwarded-For") == b"::1"
    assert app.request.get(b"X-Real-IP") == b"::1"
    assert forwarded(app.request.get(b"Forwarded"))["for"] == '"[::1]"'


def test_an_ipv4_client_of_a_dual_listener_is_named_as_ipv4(sidecar: Launch, app: ScriptedApp) -> None:
    """With LISTEN_HOST empty an IPv4 client is 127.0.0.1, not ::ffff:127.0.0.1."""
    sidecar(LISTEN_HOST="").get()
    assert app.request.get(b"X-Forwarded-For") == b"127.0.0.1"


def forwarded(element: bytes | None) -> dict[str, str]:
    """The parameters of one element of Forwarded, values with their quotes."""
    assert element is not None
    pairs = re.findall(r'([a-z]+)=("[^"]*"|[^;,"]+)', element.decode())
    return dict(pairs)
