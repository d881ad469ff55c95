"""The sidecar's own variables: defaults, what they take, and what is refused together."""

import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from tlsproxy.chassis.environment import BadSettings, Variable, read, variables
from tlsproxy.settings import Settings
from tlsproxy.settings_kinds import PRIVATE


def settings(**given: str) -> Settings:
    """Read the variables, named without their prefix."""
    return read(Settings, {f"TLSPROXY_{name}": value for name, value in given.items()}).settings


def complaint(**given: str) -> str:
    """The message for variables that can't be used; it has to be about one of them."""
    with pytest.raises(BadSettings) as caught:
        settings(**given)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


def test_imports_are_lean() -> None:
    """Whoever reads settings, and is gone soon after, loads nothing of what serving needs."""
    code = "import sys, tlsproxy.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"aiohttp", "cryptography", "uvloop", "httptools", "watchfiles", "prometheus_client"}.isdisjoint(loaded)


def test_the_two_that_matter_come_first() -> None:
    """The table begins with the certificate's name and the app's port."""
    assert [variable.name for variable in variables(Settings)][:2] == [
        "TLSPROXY_CERT_NAME",
        "TLSPROXY_APP_PORT",
    ]


BESIDE = {
    "TLSPROXY_ALPN": {"TLSPROXY_MODE": "tcp"},
    "TLSPROXY_PROXY_PROTOCOL": {"TLSPROXY_TRUSTED_PROXIES": "private"},
    "TLSPROXY_CLIENT_ALLOW": {"TLSPROXY_CLIENT_AUTH": "required"},
    "TLSPROXY_CLIENT_EXEMPT": {"TLSPROXY_CLIENT_AUTH": "optional"},
    "TLSPROXY_CLIENT_CHAIN": {"TLSPROXY_CLIENT_AUTH": "required"},
}
"""What a variable's example means nothing without."""


@pytest.mark.parametrize("variable", variables(Settings), ids=lambda variable: variable.name)
def test_every_variable_is_sound(variable: Variable) -> None:
    """A default reads back from how it is written, and the example is accepted and is not the default."""
    if written := variable.kind.spell(variable.default):
        assert variable.kind.parse(written) == variable.default
    beside = BESIDE.get(variable.name, {})
    reading = read(Settings, {variable.name: variable.about.example, **beside})
    value = getattr(reading.settings, variable.field)
    assert value != variable.default
    assert reading.warnings == ()
    again = variable.kind.spell(value)
    assert getattr(read(Settings, {variable.name: again, **beside}).settings, variable.field) == value
    if variable.kind.pattern:
        assert re.fullmatch(variable.kind.pattern, variable.about.example)


# The certificate and the app.


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (",", "there is no name in it"),
        ("*,shop", "no part of a name or of a list"),
        ("*.example.org", "no part of a name or of a list"),
        ("../etc", "can't lead out of it"),
        ("shop,../etc", "'../etc' is looked up in CERT_DIR"),
        ("a/b", "can't lead out of it"),
        ("..data", "can't lead out of it"),
        (".", "can't lead out of it"),
    ],
)
def test_cert_name(name: str, reason: str) -> None:
    """Names can't lead out of the directory, and `*` stands alone."""
    assert reason in complaint(CERT_NAME=name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("shop.example.org", ("shop.example.org",)),
        ("shop, blog,,shop", ("shop", "blog")),
        ("*", ("*",)),
    ],
)
def test_cert_names(text: str, names: tuple[str, ...]) -> None:
    """Several names stand in their order, each once; `*` is every certificate that is there."""
    assert settings(CERT_NAME=text).cert_name == names


@pytest.mark.parametrize(
    ("host", "read_as"),
    [
        ("localhost", "localhost"),
        ("app1", "app1"),
        ("10.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
        ("[fd00::7]", "fd00::7"),
        ("my_app.svc.cluster.local", "my_app.svc.cluster.local"),
    ],
)
def test_hosts(host: str, read_as: str) -> None:
    """A host is a name or an address; brackets of an IPv6 address are taken off."""
    assert settings(APP_HOST=host).app_host == read_as


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("http://app", "a host alone"),
        ("app:8080", "a host alone, without a port"),
        ("[::1]:8080", "a host alone, without a port"),
        ("10.0.0.0/8", "a host alone"),
        ("10.0.0.256", "not an IPv4 address"),
        ("two words", "must be an address or a host name"),
        ("*", "must be an address or a host name"),
        ("[]", "must be an address or a host name"),
        ("[::1", "a host alone, without a port"),
    ],
)
def test_bad_hosts(host: str, reason: str) -> None:
    """A URL, a host with a port and the like are refused with the reason."""
    assert reason in complaint(APP_HOST=host)


def test_paths() -> None:
    """Paths are paths, and absent ones None."""
    assert settings(APP_SOCKET="/run/app.sock").app_socket == Path("/run/app.sock")
    assert settings().app_socket is None
    assert settings().self_signed_ca is None


# Ports that meet.


@pytest.mark.parametrize(
    ("given", "blamed", "other"),
    [
        ({"LISTEN_PORT": "8444"}, "ADMIN_PORT", "LISTEN_PORT"),
        ({"REDIRECT_PORT": "8443"}, "REDIRECT_PORT", "LISTEN_PORT"),
        ({"REDIRECT_PORT": "8444", "ADMIN_HOST": "127.0.0.1"}, "REDIRECT_PORT", "ADMIN_PORT"),
        (
            {"ADMIN_PORT": "8443", "LISTEN_HOST": "10.0.0.5", "ADMIN_HOST": "::"},
            "ADMIN_PORT",
            "LISTEN_PORT",
        ),
        ({"LISTEN_PORT": "8080"}, "LISTEN_PORT", "APP_PORT"),
        ({"APP_PORT": "8443", "APP_HOST": "localhost"}, "LISTEN_PORT", "APP_PORT"),
        ({"APP_PORT": "8444", "APP_HOST": "::1"}, "ADMIN_PORT", "APP_PORT"),
        ({"REDIRECT_PORT": "8080"}, "REDIRECT_PORT", "APP_PORT"),
        ({"APP_PORT": "8443", "LISTEN_HOST": "127.0.0.1"}, "LISTEN_PORT", "APP_PORT"),
    ],
)
def test_ports_that_meet(given: dict[str, str], blamed: str, other: str) -> None:
    """Two listeners on one port are refused, and a listener in the place of the app; both names are given."""
    message = complaint(**given)
    assert message.startswith(f"TLSPROXY_{blamed}=")
    assert f"TLSPROXY_{other} is the same port" in message
    assert ("(the default)" in message) == (blamed not in given)


@pytest.mark.parametrize(
    "given",
    [
        {"LISTEN_PORT": "8444", "ADMIN_PORT": "0"},
        {"ADMIN_PORT": "8443", "LISTEN_HOST": "10.0.0.5", "ADMIN_HOST": "127.0.0.1"},
        {"APP_PORT": "8443", "APP_HOST": "10.0.0.7"},
        {"APP_PORT": "8443", "APP_SOCKET": "/run/app.sock"},
        {"APP_PORT": "8443", "LISTEN_HOST": "10.0.0.5"},
    ],
)
def test_ports_that_do_not_meet(given: dict[str, str]) -> None:
    """The same port on another address, or one that nobody listens on, is no conflict."""
    settings(**given)


# What means something in one mode, or beside another value.


def test_protocols() -> None:
    """In tcp mode the names are offered in their order and as they are written; none is the default."""
    assert settings(MODE="TCP", ALPN="h2, http/1.1,X-ours").alpn == ("h2", "http/1.1", "X-ours")
    assert settings(MODE="tcp").alpn == ()
    assert settings(MODE="tcp", ALPN="x" * 255).alpn == ("x" * 255,)


@pytest.mark.parametrize("name", ["x" * 256, "h\N{SUPERSCRIPT TWO}"])
def test_bad_protocols(name: str) -> None:
    """A name that does not fit into an ALPN extension, or that no client can mean, is refused."""
    assert "is no protocol's name" in complaint(MODE="tcp", ALPN=f"h2,{name}")


def test_protocols_are_for_tunnels() -> None:
    """The HTTP proxy's one protocol is no choice, and the message tells both ways out."""
    assert complaint(ALPN="h2").endswith(
        "http mode speaks http/1.1 only; leave it empty, or set TLSPROXY_MODE to tcp",
    )


@pytest.mark.parametrize(
    ("text", "use"), [("false", "off"), ("off", "off"), ("0", "off"), ("Accept", "accept"), ("both", "both")]
)
def test_proxy_protocol(text: str, use: str) -> None:
    """A word, and what YAML makes of off is understood."""
    assert settings(PROXY_PROTOCOL=text, TRUSTED_PROXIES="private", MODE="tcp").proxy_protocol == use


@pytest.mark.parametrize("text", ["on", "v2"])
def test_bad_proxy_protocol(text: str) -> None:
    """What does not say who sends a header to whom is refused."""
    assert "must be off, accept, send or both" in complaint(PROXY_PROTOCOL=text, TRUSTED_PROXIES="private")


@pytest.mark.parametrize("use", ["accept", "both"])
def test_proxy_protocol_needs_someone_to_trust(use: str) -> None:
    """To accept headers from nobody would refuse every connection."""
    message = complaint(PROXY_PROTOCOL=use, MODE="tcp")
    assert "TLSPROXY_TRUSTED_PROXIES is empty" in message
    assert "list there the addresses" in message


@pytest.mark.parametrize(("use", "instead"), [("send", "off"), ("both", "accept")])
def test_proxy_protocol_is_sent_in_tcp_mode(use: str, instead: str) -> None:
    """In http mode the app has its headers; what can be had there is named."""
    message = complaint(PROXY_PROTOCOL=use, TRUSTED_PROXIES="private")
    assert f"use {instead}, or set TLSPROXY_MODE to tcp" in message
    assert settings(PROXY_PROTOCOL="send", MODE="tcp").proxy_protocol == "send"
    assert settings(PROXY_PROTOCOL="accept", TRUSTED_PROXIES="private").proxy_protocol == "accept"


def test_a_bad_mode_is_told_alone() -> None:
    """What depends on a value that is refused itself is not judged by it."""
    complaint(MODE="udp", ALPN="h2", PROXY_PROTOCOL="send")
    complaint(TRUSTED_PROXIES="nobody", PROXY_PROTOCOL="accept")


# The rest, where it is more than a kind.


def test_max_connections() -> None:
    """There is a limit, and room for one."""
    assert ", at least 1" in complaint(MAX_CONNECTIONS="0")
    assert settings(MAX_CONNECTIONS="1").max_connections == 1


@pytest.mark.parametrize(("text", "workers"), [("1", 1), ("4", 4), ("1024", 1024), ("auto", 0), ("AUTO", 0)])
def test_workers(text: str, workers: int) -> None:
    """A number, or whatever the machine grants."""
    assert settings(WORKERS=text).workers == workers


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "all", "1025"])
def test_bad_workers(text: str) -> None:
    """At least one, and no number with a digit too many."""
    assert "a whole number of at least 1, or auto" in complaint(WORKERS=text)


def test_trusted_proxies() -> None:
    """Ranges and single addresses, and `private` for the private and loopback ranges."""
    networks = settings(TRUSTED_PROXIES="Private, 203.0.113.7,2001:db8::/32, 10.1.2.3/8").trusted_proxies
    assert networks == (
        *PRIVATE,
        ip_network("203.0.113.7/32"),
        ip_network("2001:db8::/32"),
        ip_network("10.0.0.0/8"),
    )
    assert settings().trusted_proxies == ()
    assert "'example.org' is neither" in complaint(TRUSTED_PROXIES="private,example.org")


@pytest.mark.parametrize(
    ("text", "seconds"), [("off", None), ("false", None), ("365d", 31536000), ("0", 0), ("1.5s", 1)]
)
def test_hsts(text: str, seconds: int | None) -> None:
    """Off, or whole seconds; 0 is a max-age, which makes browsers forget."""
    assert settings(HSTS=text).hsts == seconds


@pytest.mark.parametrize(("text", "seconds"), [("off", 0), ("FALSE", 0), ("0", 0), ("10m", 600), ("500ms", 0.5)])
def test_cert_rotation_grace(text: str, seconds: float) -> None:
    """Off, or a time; no time at all is off as well, since nothing could end gently in it."""
    assert settings(CERT_ROTATION_GRACE=text).cert_rotation_grace == seconds
    assert settings().cert_rotation_grace == 0


@pytest.mark.parametrize(
    ("text", "check"), [("TCP", "tcp"), ("off", "off"), ("false", "off"), ("/Healthz?a=B", "/Healthz?a=B")]
)
def test_app_check(text: str, check: str) -> None:
    """A word, or a path as it came."""
    assert settings(APP_CHECK=text).app_check == check


@pytest.mark.parametrize("text", ["healthz", "http://app/", "/two words", "/ä", "/a\r\nX: y", "on"])
def test_bad_app_check(text: str) -> None:
    """What could not be a request target is refused."""
    assert "must be tcp, off or a path that starts with /" in complaint(APP_CHECK=text)


@pytest.mark.parametrize(("text", "log"), [("true", "on"), ("0", "off"), ("Errors", "errors")])
def test_access_log(text: str, log: str) -> None:
    """What YAML makes of on and off is understood."""
    assert settings(ACCESS_LOG=text).access_log == log


ZERO_ALLOWED = {
    "CERT_WAIT",
    "CERT_EXPIRY_WARNING",
    "CERT_ROTATION_GRACE",
    "APP_WAIT",
    "TUNNEL_TIMEOUT",
    "DRAIN_DELAY",
    "DRAIN_TIMEOUT",
    "HSTS",
}


@pytest.mark.parametrize(
    "name",
    [variable.field.upper() for variable in variables(Settings) if variable.kind.name == "duration"],
)
def test_zero(name: str) -> None:
    """A duration of 0 is taken only where the contract says what it means."""
    if name in ZERO_ALLOWED:
        assert getattr(settings(**{name: "0"}), name.lower()) == 0
    else:
        assert ", above 0" in complaint(**{name: "0"})


def test_max_head() -> None:
    """A head needs room."""
    assert "at least 1k" in complaint(MAX_HEAD="1023")
    assert settings(MAX_HEAD="1k").max_head == 1024


# Client certificates.


@pytest.mark.parametrize(
    ("text", "use"), [("off", "off"), ("false", "off"), ("0", "off"), ("Required", "required"), ("observe", "observe")]
)
def test_client_auth(text: str, use: str) -> None:
    """The word `off` survives YAML, which makes `false` of it; case does not count."""
    assert settings(CLIENT_AUTH=text).client_auth == use


def test_bad_client_auth() -> None:
    """What YAML makes of `on` is no use of client certificates."""
    assert "must be off, optional, observe or required" in complaint(CLIENT_AUTH="true")


def test_a_bad_client_rule_is_refused() -> None:
    """The message names the rule, what is wrong with it, and what is allowed."""
    message = complaint(CLIENT_AUTH="required", CLIENT_ALLOW="cn=reports,dns=a.*.svc")
    assert "'a.*.svc' is no DNS name" in message
    assert "must be rules separated by commas" in message


def test_client_rules_need_clients_that_are_asked() -> None:
    """Rules without client certificates are a mistake, and not an open door."""
    assert "set TLSPROXY_CLIENT_AUTH to required" in complaint(CLIENT_ALLOW="cn=reports")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("/healthz", ("/healthz",)),
        (" /healthz , /ping,,/healthz", ("/healthz", "/ping")),
        ("/", ("/",)),
        ("/a/.well-known/x.y/..z/", ("/a/.well-known/x.y/..z/",)),
        ("/A-b_c~d!$&'()+=:@1", ("/A-b_c~d!$&'()+=:@1",)),
    ],
)
def test_exempt_paths(text: str, paths: tuple[str, ...]) -> None:
    """Whole paths as a request names them, each once."""
    assert settings(CLIENT_AUTH="optional", CLIENT_EXEMPT=text).client_exempt == paths


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (",", "there is no path in it"),
        ("/health/*", "* stands for nothing"),
        ("*", "* stands for nothing"),
        *(
            (path, f"{path!r} is no plain path")
            for path in ["healthz", "https://shop/healthz", "//healthz", "/a//b", "/..", "/a/../b", "/.", "/a/./b"]
        ),
        *(
            (path, f"{path!r} is no plain path")
            for path in ["/a?b", "/a#b", "/a;b", "/%61", "/a b", "/a\\b", "/\u00e9", "/a//", "//"]
        ),
    ],
)
def test_bad_exempt_paths(path: str, reason: str) -> None:
    """What some app could read otherwise than it looks is refused by name, with what is allowed."""
    message = complaint(CLIENT_AUTH="optional", CLIENT_EXEMPT=f"/ok,{path}" if path != "," else path)
    assert reason in message
    assert "must be whole paths separated by commas" in message


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ({}, "no client is asked for a certificate; set TLSPROXY_CLIENT_AUTH to optional"),
        ({"CLIENT_AUTH": "required"}, "gets no connection, and no path to ask for; set TLSPROXY_CLIENT_AUTH to opt"),
        ({"CLIENT_AUTH": "observe"}, "are served on every path; set TLSPROXY_CLIENT_AUTH to optional"),
        ({"CLIENT_AUTH": "optional", "MODE": "tcp"}, "in tcp mode nobody knows of paths"),
    ],
)
def test_exempt_paths_need_somebody_to_free(given: dict[str, str], way_out: str) -> None:
    """Where no path could make a difference the start says so, and what would."""
    assert way_out in complaint(CLIENT_EXEMPT="/healthz", **given)


def test_a_chain_needs_clients_and_headers() -> None:
    """There is none to be told where nobody is verified, and no header in tcp mode."""
    assert "set TLSPROXY_CLIENT_AUTH to required" in complaint(CLIENT_CHAIN="on")
    assert "the app is sent no headers" in complaint(CLIENT_CHAIN="on", CLIENT_AUTH="required", MODE="tcp")
