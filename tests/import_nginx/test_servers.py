"""Which servers, apps and certificates one sidecar can be of."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.import_nginx import corpus
from tlsproxy.chassis.environment import read as read_settings
from tlsproxy.import_nginx.directives import DIRECTIVES
from tlsproxy.import_nginx.findings import NotImported, Structure
from tlsproxy.import_nginx.reading import read
from tlsproxy.import_nginx.report import Report
from tlsproxy.import_nginx.servers import import_servers
from tlsproxy.settings import Settings

SERVER = (
    "server { listen 443 ssl; ssl_certificate /c/tls.crt; ssl_certificate_key /c/tls.key; client_max_body_size 1m; %s }"
)


def imported(path: Path, text: str, wanted: str = "") -> Report:
    (path / "nginx.conf").write_text(text)
    directives, _ = read(str(path / "nginx.conf"))
    return import_servers(directives, "nginx.conf", wanted)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_outcomes(name: str) -> None:
    """Each configuration becomes what is kept beside it."""
    assert str(corpus.imported(name)) == corpus.golden(name).read_text()


@pytest.mark.parametrize("name", corpus.NAMES)
def test_outcomes_are_settings(name: str) -> None:
    """What is printed is what the sidecar takes, and holds no secret of the original."""
    report = corpus.imported(name)
    assert read_settings(Settings, report.environment()).warnings == ()
    assigned = [line for line in str(report).splitlines() if not line.startswith("#") and line]
    assert assigned == [f"{name}={value}" for name, value in report.environment().items()]
    assert "c2VjcmV0" not in str(report)
    assert "hush" not in str(report)


@pytest.mark.parametrize(
    ("proxied", "settings"),
    [
        ("location / { proxy_pass http://127.0.0.1:3000; }", {"APP_PORT": "3000"}),
        ("location / { proxy_pass http://localhost; }", {"APP_PORT": "80"}),
        ("location / { proxy_pass http://[::1]:81; }", {"APP_PORT": "81"}),
        ("location / { proxy_pass http://app.internal:3000; }", {"APP_PORT": "3000", "APP_HOST": "app.internal"}),
        ("location / { proxy_pass http://unix:/a.sock:/; }", {"APP_SOCKET": "/a.sock"}),
        (
            "location /b { proxy_pass http://b:1; } location / { proxy_pass http://a:2; }",
            {"APP_PORT": "2", "APP_HOST": "a"},
        ),
        (
            "location /b { proxy_pass http://b:1; } location /c { proxy_pass http://c:2; }",
            {"APP_PORT": "1", "APP_HOST": "b"},
        ),
        ("location / { location /a { proxy_pass http://127.0.0.1:5; } }", {"APP_PORT": "5"}),
        ("location / { proxy_pass http://$host; }", {}),
        ("location / { root /srv; }", {}),
    ],
)
def test_the_app(tmp_path: Path, proxied: str, settings: dict[str, str]) -> None:
    """It is where `location /` leads, else the first that leads anywhere; where none does, that is told."""
    report = imported(tmp_path, SERVER % proxied)
    found = {name.removeprefix("TLSPROXY_"): value for name, value in report.environment().items()}
    assert {name: value for name, value in found.items() if name.startswith("APP")} == settings
    assert ("set TLSPROXY_APP_PORT" in str(report)) is (not settings)


@pytest.mark.parametrize(
    ("proxied", "said"),
    [
        (
            "location / { proxy_pass http://a:1; } location /b { proxy_pass http://b:1; }",
            "requests for /b go elsewhere",
        ),
        ("location / { proxy_pass http://a:1/x/; }", "the path is changed on the way"),
        ("location / { proxy_pass https://a:1; }", "the app is spoken to in plain HTTP"),
        ("location / { proxy_pass http://a:1; } location /s { root /srv; }", "requests for it go to the app like all"),
        ("location / { proxy_pass http://a:1; } location /r { return 200 hi; }", "nothing is answered in the app's"),
        ("location / { proxy_pass http://a:1; if ($x) { return 403; } }", "requests are passed on as they came"),
    ],
)
def test_what_one_app_is_not(tmp_path: Path, proxied: str, said: str) -> None:
    """Whatever a location does besides is told."""
    assert said in str(imported(tmp_path, SERVER % proxied))


@pytest.mark.parametrize(
    "proxied", ["location / { proxy_pass http://a:1/; }", "location / { proxy_pass http://unix:/s:/; }"]
)
def test_a_path_that_stays(tmp_path: Path, proxied: str) -> None:
    """`/` in the place of `/` changes nothing."""
    assert "Not carried over:\n#\n# - listen" in str(imported(tmp_path, SERVER % proxied))
    assert "path is changed" not in str(imported(tmp_path, SERVER % proxied))


@pytest.mark.parametrize(
    ("certificate", "key", "settings"),
    [
        ("/c/tls.crt", "/c/tls.key", ("/c", "tls")),
        ("/c/shop.crt", "/c/shop.key", ("/c", "shop")),
        ("/c/shop.pem", "/c/shop.pem", ("/c", "shop")),
        ("/c/shop/fullchain.pem", "/c/shop/privkey.pem", ("/c", "shop")),
        ("ssl/shop.crt", "ssl/shop.key", ("/etc/nginx/ssl", "shop")),
        ("/c/shop.pem", "/c/shop.key", (None, "shop")),
        ("/c/a.crt", "/d/a.key", (None, "a")),
        ("/c/$ssl_server_name.crt", "/c/$ssl_server_name.key", (None, "ssl_server_name")),
        ("/c/*.example.crt", "/c/*.example.key", (None, "wildcard.example")),
    ],
)
def test_certificates(tmp_path: Path, certificate: str, key: str, settings: tuple[str | None, str]) -> None:
    """A pair in a known layout is found where it is; another one has to be mounted, and is told how."""
    text = SERVER.replace("/c/tls.crt", certificate).replace("/c/tls.key", key) % ""
    report = imported(tmp_path, text)
    found = report.environment()
    assert (found.get("TLSPROXY_CERT_DIR"), found["TLSPROXY_CERT_NAME"]) == settings
    assert ("/tls.crt and /certs/" in str(report)) is (settings[0] is None)


def test_certificates_of_several_servers(tmp_path: Path) -> None:
    """They are found together, where one directory has them all."""
    other = SERVER.replace("/c/tls", "/c/shop/tls") % "location / { proxy_pass http://a:1; }"
    one = SERVER.replace("/c/tls", "/c/blog/tls") % "location / { proxy_pass http://a:1; }"
    found = imported(tmp_path, one + other).environment()
    assert (found["TLSPROXY_CERT_DIR"], found["TLSPROXY_CERT_NAME"]) == ("/c", "blog,shop")


@pytest.mark.parametrize(
    ("listen", "settings"),
    [
        ("8443 ssl", {}),
        ("443 ssl", {}),
        ("[::]:9443 ssl", {"LISTEN_PORT": "9443"}),
        ("*:9443 ssl", {"LISTEN_PORT": "9443"}),
        ("10.0.0.5:9443 ssl", {"LISTEN_PORT": "9443", "LISTEN_HOST": "10.0.0.5"}),
        ("[fd00::5]:443 ssl", {"LISTEN_HOST": "fd00::5"}),
        ("443 ssl proxy_protocol", {"PROXY_PROTOCOL": "accept", "TRUSTED_PROXIES": "private"}),
    ],
)
def test_ports(tmp_path: Path, listen: str, settings: dict[str, str]) -> None:
    """A port that needs a privilege becomes the default; of an address nothing is lost."""
    found = imported(tmp_path, SERVER.replace("443 ssl", listen) % "").environment()
    names = ("LISTEN", "PROXY_PROTOCOL", "TRUSTED")
    assert {
        name.removeprefix("TLSPROXY_"): value
        for name, value in found.items()
        if name.removeprefix("TLSPROXY_").startswith(names)
    } == settings


@pytest.mark.parametrize("number", ["9" * 5000, "²", "٣", "-1"])
def test_no_number_is_too_long(tmp_path: Path, number: str) -> None:
    """What is no port for nginx is none here, and nothing that would have to be computed with."""
    text = SERVER.replace("443 ssl", f"{number} ssl") % f"proxy_pass http://app:{number};"
    assert number in str(imported(tmp_path, text))


def test_a_trusting_proxy_header_is_told(tmp_path: Path) -> None:
    """nginx believes everybody, and here somebody has to be named."""
    assert "put your load balancer's addresses" in str(
        imported(tmp_path, SERVER.replace("ssl;", "ssl proxy_protocol;") % "")
    )


@pytest.mark.parametrize(
    ("server", "port", "said"),
    [
        ("server { listen 80; return 301 https://$host$request_uri; }", "8081", "the port is 8081 in place of 80"),
        ("server { listen 8080; location / { return 308 https://x; } }", "8080", ""),
        ("server { listen 80; rewrite ^ https://x permanent; }", "8081", "publish it as 80"),
        ("server { listen 80; location / { proxy_pass http://a; } }", None, "it has no TLS"),
    ],
)
def test_servers_in_plain_http(tmp_path: Path, server: str, port: str | None, said: str) -> None:
    """One that sends clients to https:// is what REDIRECT_PORT is; another one is no matter of a sidecar's."""
    report = imported(tmp_path, server + SERVER % "")
    assert report.environment().get("TLSPROXY_REDIRECT_PORT") == port
    assert said in str(report)


def test_other_apps(tmp_path: Path) -> None:
    """A server with another app is told, with the command for its own sidecar, which works."""
    one = SERVER % "server_name one.example; location / { proxy_pass http://a:1; }"
    two = SERVER % "server_name two.example; location / { proxy_pass http://b:2; }"
    assert "see `tlsproxy import-nginx --server two.example`" in str(imported(tmp_path, one + two))
    assert imported(tmp_path, one + two, "two.example").environment()["TLSPROXY_APP_PORT"] == "2"


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        ("server { listen 80; }", "", "there is no server with `listen ... ssl` (TLS servers: none at all)"),
        ("", "", "there is no server"),
        (
            SERVER % "server_name a;",
            "b",
            "no TLS server has the name or port b (TLS servers: server a (line 1)); name one by --server",
        ),
    ],
)
def test_no_server(tmp_path: Path, text: str, wanted: str, said: str) -> None:
    """It is refused with those that there are."""
    with pytest.raises(NotImported) as refused:
        imported(tmp_path, text, wanted)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("listen; server_name;", ""),
        ("ssl_certificate; ssl_certificate_key;", ""),
        ("proxy_pass; location { }", ""),
        ("location / { proxy_pass http://[::1; }", ""),
        ("location /x { proxy_pass http://a:1/[; }", ""),
        ("listen \u00b2;", ""),
        (f"listen {'9' * 5000}; location / {{ proxy_pass http://a:{'9' * 5000}; }}", ""),
        ("listen a//b:1 ssl; listen c/d:2 ssl;", ""),
        ("upstream;", "upstream { } upstream a { } map { } geo $x; server { listen; } server { }"),
    ],
)
def test_what_nginx_would_not_take(tmp_path: Path, inside: str, outside: str) -> None:
    """It has a report too: the importer judges no configuration, and ends with no traceback."""
    assert str(imported(tmp_path, SERVER % inside + outside)).startswith("# from nginx.conf, server ")


READ_TOGETHER = [name for name, rule in DIRECTIVES.items() if isinstance(rule, Structure)]
ODD = (
    "",
    "on",
    "443 ssl",
    "9443 ssl",
    "[::",
    "unix:/s ssl",
    "9" * 5000,
    "$a",
    "http://[::1",
    "''",
    "/a.crt",
    "a//b:1",
    "\u00b2",
)


@pytest.mark.parametrize("seed", [*range(18), 47, 131, 153, 179, 183])
def test_whatever_it_is_made_of(seed: int, tmp_path: Path) -> None:
    """Directives in odd places with odd arguments: there is a report, or it is refused in words."""
    choice = random.Random(seed)  # noqa: S311  -- no secret
    lines = (corpus.FOLDER / "whole.conf").read_text().splitlines()
    for _ in range(4):
        lines.insert(choice.randrange(len(lines)), f"{choice.choice(READ_TOGETHER)} {choice.choice(ODD)};")
    with suppress(NotImported):
        assert str(imported(tmp_path, "\n".join(lines)))


def test_conditions_around_a_server(tmp_path: Path) -> None:
    """A map or geo of http's is told, but for the one that WebSockets need in nginx."""
    conditions = "map $http_upgrade $connection { default upgrade; } map $uri $new { } geo $near { }"
    said = str(imported(tmp_path, f"http {{ {conditions} {SERVER % ''} }}"))
    assert "# - map $uri (line 1)" in said
    assert "# - geo $near (line 1)" in said
    assert "http_upgrade" not in said


def test_a_server_is_chosen_by_its_port(tmp_path: Path) -> None:
    """A stream's server has no name."""
    stream = "stream { server { listen 5432 ssl; proxy_pass db:5433; } }"
    text = SERVER % "location / { proxy_pass http://a:1; }" + stream
    assert "see `tlsproxy import-nginx --server 5432`" in str(imported(tmp_path, text))
    assert imported(tmp_path, text, "5432").environment()["TLSPROXY_APP_PORT"] == "5433"


def test_what_holds_around_a_server(tmp_path: Path) -> None:
    """A directive of http's holds for its servers, but for those that have their own."""
    text = "http { keepalive_timeout 9s; send_timeout 9s; %s }" % (SERVER % "keepalive_timeout 8s;")
    found = imported(tmp_path, text).environment()
    assert (found["TLSPROXY_KEEPALIVE_TIMEOUT"], found["TLSPROXY_BODY_TIMEOUT"]) == ("8s", "9s")


def test_nginxs_own_limit_is_told(tmp_path: Path) -> None:
    """Where nothing is written about bodies, nginx has a limit and the sidecar none."""
    without = (SERVER % "").replace("client_max_body_size 1m;", "")
    assert "nginx takes bodies of 1m where nothing is written" in str(imported(tmp_path, without))
    assert "nginx takes bodies" not in str(imported(tmp_path, SERVER % ""))
    assert "nginx takes bodies" not in str(imported(tmp_path, f"stream {{ {without} }}"))
