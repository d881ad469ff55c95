"""The TLS connection as clients meet it: failures are told, bytes may be cut anywhere, ends are clean."""

import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Launch
from tests.e2e.raw_client import TIMEOUT, RawClient, TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

ALERT = 21
PROTOCOL_VERSION, HANDSHAKE_FAILURE, BAD_RECORD_MAC, UNEXPECTED_MESSAGE = 70, 40, 20, 10
AES_128_SHA, TLS_NULL, ECDHE_ECDSA_AES_128_GCM = 0x002F, 0x0000, 0xC02B
UNFINISHED = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"]
"""What a client has said of its hello: nothing, a byte, half of it."""


@pytest.fixture(scope="module")
def brisk_sidecar(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar that gives a handshake half a second."""
    with launch(APP_PORT=session_app.port, HANDSHAKE_TIMEOUT="500ms") as process:
        yield process


@pytest.fixture
def plain(shared_sidecar: Sidecar) -> Iterator[RawClient]:
    """A connection without TLS."""
    with shared_sidecar.connect_plain() as connection:
        yield connection


@pytest.mark.parametrize("request_bytes", [get(), post("/", b"body"), b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS *"])
def test_plain_http_is_told_to_use_https(plain: RawClient, app: ScriptedApp, request_bytes: bytes) -> None:
    """A request in the clear gets a 400 in plain text that says so, and never reaches the app."""
    answer = plain.ask(request_bytes)
    assert answer.status == 400
    assert (answer.get(b"Content-Type") or b"").startswith(b"text/plain")
    assert b"HTTPS" in answer.body
    assert plain.read_to_end() == b""
    assert app.connections == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken(shared_sidecar: Sidecar, app: ScriptedApp, version: ssl.TLSVersion) -> None:
    """The intermediate profile has TLS 1.2 and 1.3."""
    with shared_sidecar.connect(only(shared_sidecar, version)) as client:
        assert client.tls.version() == version.name.replace("v1_", "v1.")
        assert client.get().status == 200


def test_an_old_version_gets_an_alert(plain: RawClient) -> None:
    """A client that knows nothing newer than TLS 1.1 is told protocol_version (RFC 8446 section 6.2)."""
    plain.send(client_hello(0x0302, AES_128_SHA))
    assert alert(plain) == PROTOCOL_VERSION


def test_an_unknown_cipher_gets_an_alert(plain: RawClient) -> None:
    """A client with which no cipher is shared is told handshake_failure."""
    plain.send(client_hello(0x0303, TLS_NULL))
    assert alert(plain) == HANDSHAKE_FAILURE


def test_an_odd_server_name_is_nobody_elses_affair(plain: RawClient, shared_sidecar: Sidecar) -> None:
    """A server name that is no ASCII ends its own connection with an alert, and leaves no traceback."""
    plain.send(client_hello(0x0303, ECDHE_ECDSA_AES_128_GCM, server_name=b"sh\xf6p"))
    alert(plain)
    assert "Traceback" not in shared_sidecar.stderr()
    assert "Exception ignored" not in shared_sidecar.stderr()
    assert shared_sidecar.get().status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        bytes(range(256)),
        b"\x00" * 50,
        b"\x17\x03\x03\x00\x01x",
    ],
)
def test_garbage_is_hung_up_on(plain: RawClient, garbage: bytes, app: ScriptedApp) -> None:
    """What is no handshake ends the connection at once, with an alert at most."""
    plain.send(garbage)
    answer = plain.read_to_end()
    assert answer == b"" or answer[0] == ALERT
    assert app.connections == []


def test_a_handshake_has_a_deadline(brisk_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A client that does not finish its handshake within HANDSHAKE_TIMEOUT is closed, however far it has come."""
    with ExitStack() as clients:
        began = time.monotonic()
        unfinished = {said: clients.enter_context(brisk_sidecar.connect_plain()) for said in UNFINISHED}
        for said, client in unfinished.items():
            client.send(said)
        for said, client in unfinished.items():
            client.read_to_end()
            assert 0.4 < time.monotonic() - began < 3, said


def test_a_trickle_buys_no_time(brisk_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A client that says a little of its handshake all the time is closed at the same deadline."""
    with brisk_sidecar.connect_plain() as client:
        began = time.monotonic()
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        while time.monotonic() - began < 3 and client.is_silent(0.1):
            client.send(b"\x03")
        assert 0.4 < time.monotonic() - began < 3


def test_a_finished_handshake_has_no_deadline(brisk_sidecar: Sidecar, app: ScriptedApp) -> None:
    """HANDSHAKE_TIMEOUT ends with the handshake: an idle client stays connected."""
    with brisk_sidecar.connect() as client:
        assert client.get().status == 200
        assert client.is_silent(1.3)
        assert client.get().status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_may_be_dribbled(shared_sidecar: Sidecar, app: ScriptedApp, version: ssl.TLSVersion) -> None:
    """A handshake that comes a byte at a time succeeds."""
    with shared_sidecar.connect(only(shared_sidecar, version), handshake=False) as client:
        client.handshake(piece=1)
        assert client.get().status == 200


def test_a_request_may_come_with_the_finished(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A request in the same packet as the client's Finished is answered."""
    with shared_sidecar.connect(only(shared_sidecar, ssl.TLSVersion.TLSv1_3), handshake=False) as client:
        client.handshake(unsent=True)
        assert client.get().status == 200


def test_a_record_may_be_dribbled(client: TlsClient, app: ScriptedApp) -> None:
    """A request whose record comes a byte at a time is answered."""
    client.tls.write(get())
    record = client.outgoing.read()
    for index in range(len(record)):
        client.socket.sendall(record[index : index + 1])
    assert client.read_response().status == 200


def test_a_request_may_take_many_records(client: TlsClient, app: ScriptedApp) -> None:
    """A record for each byte, all in one packet, makes the same request."""
    for byte in get("/records"):
        client.tls.write(bytes([byte]))
    client.socket.sendall(client.outgoing.read())
    assert client.read_response().status == 200
    assert app.request.target == b"/records"


@pytest.mark.parametrize(
    ("offered", "selected"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)]
)
def test_http_1_1_is_selected(
    shared_sidecar: Sidecar, app: ScriptedApp, offered: list[str], selected: str | None
) -> None:
    """ALPN selects http/1.1, also for a client that would rather have h2."""
    context = only(shared_sidecar, ssl.TLSVersion.TLSv1_3)
    if offered:
        context.set_alpn_protocols(offered)
    with shared_sidecar.connect(context) as client:
        assert client.tls.selected_alpn_protocol() == selected
        assert client.get().status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(shared_sidecar: Sidecar, app: ScriptedApp, version: ssl.TLSVersion) -> None:
    """A client that comes back with its ticket resumes its session."""
    context = only(shared_sidecar, version)
    with shared_sidecar.connect(context) as first:
        assert first.get().status == 200
        session = first.tls.session
    with shared_sidecar.connect(context, session=session) as second:
        assert second.tls.session_reused
        assert second.get().status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_half_closed_client_gets_its_answer(
    shared_sidecar: Sidecar, app: ScriptedApp, version: ssl.TLSVersion
) -> None:
    """A client that says close_notify after its request still gets the whole response."""
    body = b"x" * 300000
    said = threading.Event()

    def script(connection: AppConnection) -> None:
        connection.read_request()
        assert said.wait(TIMEOUT)
        connection.send(response(body))

    app.script(script)
    with shared_sidecar.connect(only(shared_sidecar, version)) as client:
        client.send(get())
        app.wait_for_requests(1)
        client.finish_sending()
        said.set()
        answer = client.read_response()
        assert answer.body == body
        assert client.read_to_end() == b""
        assert client.ended == "close_notify"


def test_a_request_and_close_notify_may_come_together(client: TlsClient, app: ScriptedApp) -> None:
    """close_notify in the same packet as the requests costs none of the answers."""
    client.tls.write(get("/1") + get("/2"))
    client.finish_sending()
    assert [client.read_response().status for _ in range(2)] == [200, 200]
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"


def test_many_chunks_and_close_notify_may_come_together(client: TlsClient, app: ScriptedApp) -> None:
    """It costs no part of a body that is not read at one go."""
    app.answer(lambda request: response(b"%d" % len(request.body)))
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.tls.write(head + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n")
    client.finish_sending()
    assert client.read_response().body == b"2000"


def test_the_end_is_announced(client: TlsClient, app: ScriptedApp) -> None:
    """The sidecar says close_notify before FIN, so that a client can tell an end from a cut."""
    client.get("/", "Connection: close")
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"
    assert client.read_fin() == "fin"


def test_an_idle_clients_goodbye_is_returned(client: TlsClient, app: ScriptedApp) -> None:
    """close_notify on an idle connection is answered with close_notify and FIN."""
    client.get()
    client.finish_sending()
    assert client.read_to_end() == b""
    assert client.ended == "close_notify"
    assert client.read_fin() == "fin"


def test_a_forged_record_ends_the_connection(client: TlsClient, app: ScriptedApp) -> None:
    """Bytes that are no record of this connection get an alert, and nobody else notices."""
    client.get()
    client.socket.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 64)
    with pytest.raises(ssl.SSLError) as alerted:
        client.read_to_end()
    assert "BAD_RECORD_MAC" in str(alerted.value).upper().replace(" ", "_")


def test_the_certificate_is_the_mounted_one(client: TlsClient) -> None:
    """The client sees the certificate of CERT_DIR and can verify it."""
    certificate = client.tls.getpeercert()
    assert certificate is not None
    assert ("DNS", "localhost") in certificate["subjectAltName"]


def only(sidecar: Sidecar, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's context that speaks one version."""
    context = ssl.create_default_context(cadata=sidecar.authority.cert_pem.bytes().decode())
    context.minimum_version = context.maximum_version = version
    return context


def client_hello(version: int, cipher: int, server_name: bytes = b"") -> bytes:
    """A ClientHello of up to that version, with one cipher suite and no extension but the server's name."""
    body = struct.pack(">H", version) + bytes(32) + b"\0" + struct.pack(">HH", 2, cipher) + b"\1\0"
    if server_name:
        size = len(server_name)
        body += struct.pack(">HHHHBH", size + 9, 0, size + 5, size + 3, 0, size) + server_name
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def alert(client: RawClient) -> int:
    """The description of the fatal alert with which the server ends the connection."""
    record = client.read_to_end()
    assert record[0] == ALERT, record
    assert record[5] == 2, record
    assert len(record) == 7, record
    return record[6]
