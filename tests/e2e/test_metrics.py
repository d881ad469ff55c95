"""The metrics count what happened, exactly, and read as Prometheus reads them."""

import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.metrics import Metrics
from tests.e2e.polling import wait_until
from tests.e2e.programs import program
from tests.e2e.raw_client import get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar
from tests.e2e.test_tls_connection import client_hello
from tlsproxy.proxy.tally import METHODS

CONTRACT = json.loads((Path(__file__).parents[1] / "contract.json").read_text())
OF_CLIENT_CERTIFICATES = {
    "tlsproxy_clients_observed_total",
    "tlsproxy_client_ca_drift",
    "tlsproxy_client_crl_expiry_timestamp_seconds",
}
"""Told of where clients are asked for one."""


@pytest.fixture(scope="module")
def counted_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that nobody but these tests asks, and that gives a handshake 300 ms."""
    with launch(APP_PORT=session_app.port, HANDSHAKE_TIMEOUT="300ms", APP_WAIT="0") as process:
        yield process


class Growth:
    """What has been counted since."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._before = sidecar.metrics()

    def of(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """By the values of these labels, what is not 0."""
        before, after = self._before.by(name, *labels), self._sidecar.metrics().by(name, *labels)
        grown = {key: value - before.get(key, 0) for key, value in after.items()}
        return {key: value for key, value in grown.items() if value}


@pytest.fixture
def growth(counted_sidecar: Sidecar, app: ScriptedApp) -> Growth:
    """What the test adds."""
    return Growth(counted_sidecar)


def test_requests_are_counted_by_method_and_code(counted_sidecar: Sidecar, app: ScriptedApp, growth: Growth) -> None:
    """Each answer is one of its method and code; a method that is not HTTP's own, or none, is `other`."""
    app.answer(lambda request: response(status="404 Gone Fishing" if request.target == b"/absent" else "200 OK"))
    with counted_sidecar.connect() as client:
        for request in (get(), get(), get("/absent"), post("/", b"body")):
            client.ask(request)
        for method in ("HEAD", "DELETE", "PROPFIND", "MKCOL"):
            client.ask(get().replace(b"GET", method.encode()), method)
        client.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert growth.of("tlsproxy_requests_total", "method", "code") == {
        ("GET", "200"): 2,
        ("GET", "404"): 1,
        ("POST", "200"): 1,
        ("HEAD", "200"): 1,
        ("DELETE", "200"): 1,
        ("other", "200"): 2,
        ("other", "400"): 1,
    }
    assert growth.of("tlsproxy_request_duration_seconds_count") == {(): 9}
    assert growth.of("tlsproxy_app_connect_seconds_count") == {(): 1}


def test_bytes_of_bodies_are_counted(counted_sidecar: Sidecar, app: ScriptedApp, growth: Growth) -> None:
    """Received are the bytes of request bodies, sent those of responses, whatever their framing."""
    app.answer(
        lambda request: (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            if request.target == b"/chunked"
            else response(b"x" * 1000)
        )
    )
    chunked = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with counted_sidecar.connect() as client:
        client.ask(post("/", b"y" * 70000))
        client.ask(chunked)
    assert growth.of("tlsproxy_received_bytes_total") == {(): 70003}
    assert growth.of("tlsproxy_sent_bytes_total") == {(): 1005}


def test_handshakes_are_counted_by_version_and_resumption(
    counted_sidecar: Sidecar, app: ScriptedApp, growth: Growth
) -> None:
    """Each handshake is one of its protocol version, resumed or not."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cadata=counted_sidecar.authority.cert_pem.bytes().decode())
        context.minimum_version = context.maximum_version = version
        with counted_sidecar.connect(context) as first:
            first.get()
            session = first.tls.session
        for _ in range(2):
            with counted_sidecar.connect(context, session=session) as again:
                again.get()
                session = again.tls.session
    assert growth.of("tlsproxy_handshakes_total", "version", "resumed") == {
        ("TLSv1.2", "no"): 1,
        ("TLSv1.2", "yes"): 2,
        ("TLSv1.3", "no"): 1,
        ("TLSv1.3", "yes"): 2,
    }
    assert growth.of("tlsproxy_handshake_failures_total", "reason") == {}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (get(), "plain_http"),
        (client_hello(0x0302, 0x002F), "unsupported_protocol"),
        (client_hello(0x0303, 0x0000), "no_shared_cipher"),
        (b"\x00" * 50, "not_tls"),
        (b"\x16\x03\x01\x02\x00\x01", "timeout"),
    ],
    ids=["plain_http", "unsupported_protocol", "no_shared_cipher", "not_tls", "timeout"],
)
def test_failed_handshakes_are_counted_by_reason(
    counted_sidecar: Sidecar, growth: Growth, said: bytes, reason: str
) -> None:
    """A handshake that fails is counted once, by its reason, and is no request."""
    with counted_sidecar.connect_plain() as client:
        client.send(said)
        client.read_to_end()
    assert growth.of("tlsproxy_handshake_failures_total", "reason") == {(reason,): 1}
    assert growth.of("tlsproxy_handshakes_total", "version", "resumed") == {}
    assert growth.of("tlsproxy_requests_total", "method", "code") == {}


def test_a_client_that_distrusts_us_is_counted(counted_sidecar: Sidecar, growth: Growth) -> None:
    """A client that does not know the CA shows as `unknown_ca`: with TLS 1.2 it is the handshake that fails."""
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLCertVerificationError):
        counted_sidecar.connect(context)
    wait_until(lambda: growth.of("tlsproxy_handshake_failures_total", "reason") == {("unknown_ca",): 1}, "the failure")


def test_the_apps_failures_are_counted_by_reason(counted_sidecar: Sidecar, app: ScriptedApp, growth: Growth) -> None:
    """A request that fails because of the app is one of its reason."""

    def garble(connection: AppConnection) -> None:
        connection.read_request()
        connection.send(b"garbage\r\n\r\n")

    app.script(garble)
    assert counted_sidecar.get().status == 502
    app.script(lambda connection: connection.read_request())
    with counted_sidecar.connect() as client:
        assert client.ask(post("/", b"body")).status == 502
    assert growth.of("tlsproxy_app_errors_total", "reason") == {("app_invalid",): 1, ("app_reset",): 1}


def test_every_metric_of_the_contract_is_there(counted_sidecar: Sidecar, app: ScriptedApp) -> None:
    """After some traffic every metric has a sample, of the type and with the labels of the contract."""
    counted_sidecar.get()
    with counted_sidecar.connect_plain() as client:
        client.ask(get())
    app.script(lambda connection: connection.read_request())
    with counted_sidecar.connect() as tls_client:
        tls_client.ask(post("/", b"body"))
    metrics = counted_sidecar.metrics()
    # By the defaults nobody can be turned away, nobody is asked for a certificate, and nothing is amiss;
    # test_proxy_protocol.py, test_client_certificates.py and test_bad_material.py have samples.
    sampled = CONTRACT["metrics"].keys() - {
        *OF_CLIENT_CERTIFICATES,
        "tlsproxy_clients_denied_total",
        "tlsproxy_certificate_drift_began_timestamp_seconds",
    }
    assert {name: signature(metrics, name) for name in sampled} == {
        name: (kind, set(labels.rstrip("}").split(",")) - {""})
        for name, (kind, _, labels) in ((n, CONTRACT["metrics"][n].partition("{")) for n in sampled)
    }
    ours = {name for name in metrics.families if name.startswith("tlsproxy_")}
    assert ours == {name.removesuffix("_total") for name in CONTRACT["metrics"].keys() - OF_CLIENT_CERTIFICATES}
    assert {"process_cpu_seconds", "process_open_fds", "process_resident_memory_bytes"} <= set(metrics.families)


def signature(metrics: Metrics, name: str) -> tuple[str, set[str]]:
    """A metric's type and labels."""
    family = metrics.families[name.removesuffix("_total")]
    assert family.documentation
    return family.type, metrics.labels(family.name)


def test_the_certificates_dates_are_shown(counted_sidecar: Sidecar) -> None:
    """Expiry and last reload are seconds since 1970, by the certificate's name."""
    metrics = counted_sidecar.metrics()
    assert metrics.value("tlsproxy_certificate_expiry_timestamp_seconds", name="tls") > 1.7e9
    assert metrics.value("tlsproxy_certificate_last_reload_timestamp_seconds", name="tls") > 1.7e9
    assert metrics.by("tlsproxy_certificate_reloads_total", "name", "result") == {("tls", "loaded"): 1}
    assert metrics.by("tlsproxy_certificate_drift", "name") == {}


def test_promtool_finds_no_fault(counted_sidecar: Sidecar) -> None:
    """Prometheus' own linter accepts all that is scraped: names, units, types and help."""
    text = counted_sidecar.metrics().text
    path = program("promtool", "prometheus")
    done = subprocess.run([path, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_label_values_are_bounded(counted_sidecar: Sidecar, app: ScriptedApp) -> None:
    """Whatever clients and the app make up adds no series: rare methods are one, and codes have three digits."""
    app.answer(lambda request: response(status=f"{request.target[1:].decode()} Odd"))
    with counted_sidecar.connect() as client:
        for code in range(200, 1000, 16):
            client.get(f"/{code}")
    for number in range(20):
        with counted_sidecar.connect() as client:
            client.ask(get("/200").replace(b"GET", b"M%d" % number), "M")
    labels = counted_sidecar.metrics().by("tlsproxy_requests_total", "method", "code")
    assert {method for method, _ in labels} <= METHODS | {"other"}
    assert all(re.fullmatch("[1-9][0-9]{2}", code) for _, code in labels)
