"""From nginx's arguments to values of ours."""

import pytest

from tlsproxy.import_nginx import conversions as to
from tlsproxy.import_nginx.findings import Convert, Remark, Setting


def found(convert: Convert, *args: str) -> list[str]:
    """Settings as `NAME=value`, and of remarks the first words."""
    return [f"{one.variable}={one.value}" if isinstance(one, Setting) else f"? {one.why}" for one in convert(args)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60", "60s"),
        ("60s", "60s"),
        ("5m", "300s"),
        ("1h30m", "5400s"),
        ("500ms", "500ms"),
        ("1d", "86400s"),
        ("1500ms", "1500ms"),
        ("3600000", "3600000s"),
        ("1y", "31536000s"),
    ],
)
def test_times(text: str, value: str) -> None:
    """In all of nginx's units, and several of them together."""
    assert found(to.duration("HEAD_TIMEOUT"), text) == [f"HEAD_TIMEOUT={value}"]


def test_no_time() -> None:
    """What is switched off there can't be switched off here."""
    assert found(to.duration("KEEPALIVE_TIMEOUT"), "0") == ["? there is no KEEPALIVE_TIMEOUT of 0"]
    for text in ("soon", f"{'9' * 400}ms"):
        with pytest.raises(ValueError, match="not a time"):
            found(to.duration("KEEPALIVE_TIMEOUT"), text)


@pytest.mark.parametrize(
    ("convert", "args", "findings"),
    [
        (to.size("MAX_BODY"), ["20M"], ["MAX_BODY=20m"]),
        (to.size("MAX_BODY"), ["0"], ["MAX_BODY=0"]),
        (to.header_buffers, ["4", "8k"], ["MAX_HEAD=32k"]),
        (to.header_buffers, ["2", "512"], ["MAX_HEAD=1024"]),
        (to.chosen("SNI_STRICT", {"on": "on"}, off="why"), ["on"], ["SNI_STRICT=on"]),
        (to.chosen("SNI_STRICT", {"on": "on"}, off="why"), ["off"], ["? why"]),
        (to.chosen("SNI_STRICT", {"on": "on"}), ["else"], []),
        (to.protocols, ["TLSv1.3"], ["TLS_PROFILE=modern"]),
        (to.protocols, ["TLSv1.2", "TLSv1.3"], []),
        (to.protocols, ["TLSv1", "TLSv1.2", "TLSv1.3"], ["? tlsv1 is not spoken any more"]),
        (to.protocols, ["TLSv1.2"], ["? TLS 1.3 is spoken too"]),
        (to.header, ["Strict-Transport-Security", "max-age=60", "always"], ["HSTS=60s"]),
        (to.header, ["strict-transport-security", "max-age=60; preload"], ["HSTS=60s", "? preload is not sent"]),
        (to.header, ["X-A", "b"], ["? no fields are added to responses"]),
        (to.mapped, ["$http_upgrade", "$connection_upgrade"], []),
        (to.mapped, ["$uri", "$new"], ["? requests are passed on as they came"]),
        (to.forwarded_field, ["Host", "$host"], []),
        (to.forwarded_field, ["Host", "other"], ["? Host is passed on as the client sent it"]),
        (to.forwarded_field, ["X-Forwarded-Proto", "$scheme"], []),
        (to.forwarded_field, ["X-DN", "$ssl_client_s_dn"], ["? X-DN is not sent"]),
        (to.forwarded_field, ["X-Key", "7"], ["? no other fields are added to requests"]),
        (
            to.cookie_flags,
            ["~", "secure", "samesite=lax"],
            ["COOKIE_SECURE=on", "? HttpOnly and SameSite are not added to cookies"],
        ),
        (to.cookie_path, ["/", "/; Secure"], ["COOKIE_SECURE=on"]),
        (to.cookie_path, ["/a/", "/"], ["? cookies keep their path"]),
        (to.cookie_path, ["off"], []),
        (to.redirect, ["off"], ["FIX_REDIRECTS=off"]),
        (to.redirect, ["default"], []),
        (to.redirect, ["http://", "https://"], []),
        (to.redirect, ["http://app:8080/", "/"], []),
        (to.redirect, ["~^/a", "/b"], ["? only http:// addresses of the app's own are put right in redirects"]),
        (to.real_ip_from, ["10.0.0.0/8"], ["TRUSTED_PROXIES=10.0.0.0/8"]),
        (to.real_ip_from, ["unix:"], ["? there is no unix socket to listen on"]),
        (to.real_ip_header, ["proxy_protocol"], ["PROXY_PROTOCOL=accept"]),
        (to.real_ip_header, ["X-Forwarded-For"], []),
        (to.real_ip_header, ["CF-Connecting-IP"], ["? CF-Connecting-IP is not read"]),
        (to.access_log, ["off"], ["ACCESS_LOG=off"]),
        (to.access_log, ["/dev/stdout", "json"], []),
        (to.access_log, ["/x.log", "combined"], ["? request lines go to standard output", "LOG_FORMAT=text"]),
        (to.error_log, ["/x.log"], []),
        (to.error_log, ["/x.log", "notice"], ["LOG_LEVEL=info"]),
        (to.error_log, ["/x.log", "crit"], ["LOG_LEVEL=error"]),
        (to.workers, ["auto"], []),
        (to.workers, ["1"], []),
        (to.workers, ["4"], ["WORKERS=4"]),
        (to.client_ca, ["/ca.pem"], ["CLIENT_CA=/ca.pem"]),
        (to.client_verification, ["on"], ["CLIENT_AUTH=required"]),
        (to.client_verification, ["optional"], ["CLIENT_AUTH=optional"]),
        (to.client_verification, ["off"], []),
        (to.client_verification, ["optional_no_ca"], ["? a client certificate that nobody verifies is not asked for"]),
        (to.alpn, ["h2", "http/1.1"], ["ALPN=h2,http/1.1"]),
    ],
)
def test_words(convert: Convert, args: list[str], findings: list[str]) -> None:
    """Each word has a setting, a remark, or nothing where it is so anyway."""
    assert found(convert, *args) == findings


@pytest.mark.parametrize(
    ("convert", "args"),
    [
        (to.size("MAX_BODY"), ["much"]),
        (to.header_buffers, ["4", "x"]),
        (to.header, ["Strict-Transport-Security", "off"]),
    ],
)
def test_what_nginx_would_not_take(convert: Convert, args: list[str]) -> None:
    """It is an error, which the report tells."""
    with pytest.raises(ValueError, match=r"."):
        found(convert, *args)


def test_remarks_tell_the_way_out() -> None:
    """Behind what is lost stands what to do instead, where there is something."""
    assert str(Remark("lost", "do this")) == "lost; do this"
    assert str(Remark("lost")) == "lost"
