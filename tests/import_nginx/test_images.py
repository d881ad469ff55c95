"""The environments of well-known images."""

import pytest

from tlsproxy.chassis.environment import variables
from tlsproxy.import_nginx.findings import PREFIX, Carried, NotImported, Remark, Setting
from tlsproxy.import_nginx.images import IMAGES, import_environment
from tlsproxy.settings import Settings

KNOWN = {variable.name.removeprefix(PREFIX) for variable in variables(Settings)}


@pytest.mark.parametrize("image", IMAGES)
def test_variables_exist(image: str) -> None:
    """Each rule names variables that there are."""
    for name, rule in IMAGES[image].variables.items():
        if isinstance(rule, Carried):
            assert set(rule.variables) <= KNOWN, name
    always = [found.variable for found in IMAGES[image].always if isinstance(found, Setting)]
    assert set(always) <= KNOWN
    assert all(found.why for found in IMAGES[image].always if isinstance(found, Remark))


@pytest.mark.parametrize(
    ("text", "image", "settings"),
    [
        ("PROXY_UPSTREAM_PORT=80", "nginx-tls-terminator", {"APP_PORT": "80"}),
        ("PROXY_LISTEN_PORT=9443", "nginx-tls-terminator", {"APP_PORT": "8080", "LISTEN_PORT": "9443"}),
        ("TARGET_SERVICE=10.0.0.1:81", "nginx-ssl-proxy", {"APP_PORT": "81", "APP_HOST": "10.0.0.1"}),
        ("TARGET_SERVICE=https://app", "nginx-ssl-proxy", {"APP_PORT": "80", "APP_HOST": "app"}),
        ("DOMAINS=a.example -> http://app:81/", "https-portal", {"APP_PORT": "81", "APP_HOST": "app"}),
        ("DOMAINS=a.example\nHSTS_MAX_AGE=60", "https-portal", {"HSTS": "60s"}),
        ("VIRTUAL_HOST=x\nHSTS=off\nHTTPS_METHOD=noredirect", "nginx-proxy", {"APP_PORT": "80"}),
        ("VIRTUAL_HOST=x\nDISABLE_ACCESS_LOGS=true", "nginx-proxy", {"ACCESS_LOG": "off"}),
        ("PROXY_SERVICE_PORT=81\nCLIENT_CERT_REQUIRED=FALSE", "docker-nginx-proxy", {"APP_PORT": "81"}),
        (
            "PROXY_SERVICE_PORT=81\nLOAD_BALANCER_CIDR=10.0.0.0/8 ::1",
            "docker-nginx-proxy",
            {"TRUSTED_PROXIES": "10.0.0.0/8,::1"},
        ),
    ],
)
def test_environments(text: str, image: str, settings: dict[str, str]) -> None:
    """The image is told by its variables, and what it does unasked comes with it."""
    report = import_environment(text)
    assert str(report).startswith(f"# from the environment of {image}\n")
    found = {name.removeprefix(PREFIX): value for name, value in report.environment().items()}
    assert {name: found.get(name) for name in settings} == settings
    if "HSTS" not in settings and image != "nginx-ssl-proxy":
        assert "HSTS" not in found


def test_an_image_that_is_named() -> None:
    """Where variables could be of several, the name decides."""
    assert "KEEPALIVE" not in str(import_environment("CLIENT_MAX_BODY_SIZE=5\nPROXY_SERVICE_PORT=1"))
    assert import_environment("CLIENT_MAX_BODY_SIZE=5", "docker-nginx-proxy").value("MAX_BODY") == "5m"
    assert import_environment("CLIENT_MAX_BODY_SIZE=5", "https-portal").value("MAX_BODY") == "5"


def test_lines() -> None:
    """Comments, blank lines, `export` and quotes are as in env files."""
    report = import_environment("# PROXY_UPSTREAM_PORT=1\n\nexport PROXY_UPSTREAM_PORT='80'\nPATH\nEMPTY=\n")
    assert report.value("APP_PORT") == "80"


def test_an_image_that_nobody_knows() -> None:
    """It is refused with those that are known."""
    with pytest.raises(NotImported, match="no image other is known here; there are nginx-ssl-proxy, "):
        import_environment("A=b", "other")
    with pytest.raises(
        NotImported, match=r"none of the variables is one of nginx-ssl-proxy, .*; name the image by --image"
    ):
        import_environment("A=b")
