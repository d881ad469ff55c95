"""tcp mode in front of programs that know nothing of TLS, and behind their own clients, which do."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import grpc  # type: ignore[import-untyped]  # it ships no types
import httpx
import pytest
import trustme

from tests import console
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.programs import program, running
from tests.e2e.raw_client import get
from tests.e2e.scripted_app import OK, AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import PROJECT, Sidecar

WITHIN = 10.0
"""Seconds for one client's run, or for what one waits for."""


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The authority's certificate in a file."""
    path = str(tmp_path_factory.mktemp("authority") / "ca.pem")
    authority.cert_pem.write_to_path(path)
    return path


def printed(arguments: list[str], text: bytes = b"") -> bytes:
    """What a client that is given this text prints; it must end well."""
    done = subprocess.run(arguments, input=text, capture_output=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def listening(arguments: list[str], output: Path, sign: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A client that has printed `sign`, line by line, and goes on until the block ends."""
    with output.open("wb") as file:
        line_by_line = [program("stdbuf", "coreutils"), "--output=L"]
        process = subprocess.Popen([*line_by_line, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_for(output, sign)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(output: Path, sign: bytes) -> None:
    """Wait until a client has printed `sign`."""
    wait_until(lambda: sign in output.read_bytes(), f"{sign!r} in {output.name}", WITHIN)


# redis: many small commands and answers, and messages that nobody asked for.


@pytest.fixture(scope="module")
def redis(launch: Launch, authority_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command of a redis-cli that speaks TLS to redis-server."""
    server, client = program("redis-server", "redis-server"), program("redis-cli", "redis-tools")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with (
        running([server, *options], port, tmp_path_factory.mktemp("redis")),
        launch(MODE="tcp", APP_PORT=port) as sidecar,
    ):
        yield [client, "-h", "localhost", "-p", str(sidecar.port), "--tls", "--cacert", authority_file]


def test_redis_values(redis: list[str]) -> None:
    """What is set is there, and so is a value of 5 MB, byte for byte."""
    large = os.urandom(5_000_000)
    assert printed([*redis, "SET", "small", "a value"]) == b"OK\n"
    assert printed([*redis, "GET", "small"]) == b"a value\n"
    assert printed([*redis, "-x", "SET", "large"], large) == b"OK\n"
    assert printed([*redis, "GET", "large"]) == large + b"\n"


def test_redis_transaction(redis: list[str]) -> None:
    """A transaction over one connection is queued and run as one."""
    commands = b"MULTI\nSET counter 1\nINCR counter\nGET counter\nEXEC\n"
    assert printed(redis, commands).split() == b"OK QUEUED QUEUED QUEUED OK 2 2".split()


def test_redis_pipeline(redis: list[str]) -> None:
    """Of 20,000 commands sent without waiting, each is answered."""
    told = printed([*redis, "--pipe"], b"*2\r\n$4\r\nINCR\r\n$5\r\npiped\r\n" * 20_000)
    assert b"errors: 0, replies: 20000" in told
    assert printed([*redis, "GET", "piped"]) == b"20000\n"


def test_redis_messages(redis: list[str], tmp_path: Path) -> None:
    """What is published comes to a client that waits in silence."""
    heard = tmp_path / "heard"
    with listening([*redis, "SUBSCRIBE", "news"], heard, b"subscribe\n"):
        for word in ("first", "second"):
            assert printed([*redis, "PUBLISH", "news", word]) == b"1\n"
            wait_for(heard, b"message\nnews\n%s\n" % word.encode())


# MQTT: long connections, handshakes of its own within them, and an end that means something.


@pytest.fixture(scope="module")
def mqtt(launch: Launch, authority_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The options of mosquitto's clients for speaking TLS to mosquitto."""
    server, port = program("mosquitto", "mosquitto"), free_port()
    program("mosquitto_sub", "mosquitto-clients")
    directory = tmp_path_factory.mktemp("mosquitto")
    settings = directory / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
    with running([server, "-c", str(settings)], port, directory), launch(MODE="tcp", APP_PORT=port) as sidecar:
        yield ["-h", "localhost", "-p", str(sidecar.port), "--cafile", authority_file]


def test_mqtt_qualities_of_service(mqtt: list[str], tmp_path: Path) -> None:
    """Messages come at each of the three levels of certainty, with the packets that these need."""
    heard = tmp_path / "heard"
    with listening(["mosquitto_sub", *mqtt, "-d", "-v", "-q", "2", "-t", "orders/#"], heard, b"Subscribed"):
        for level in (b"0", b"1", b"2"):
            printed(["mosquitto_pub", *mqtt, "-q", level.decode(), "-t", f"orders/{level.decode()}", "-m", "an order"])
            wait_for(heard, b"orders/%s an order" % level)
            wait_for(heard, b"PUBLISH (d0, q%s" % level)


def test_mqtt_retained(mqtt: list[str], tmp_path: Path) -> None:
    """A message of 1 MB that is kept comes to who subscribes later, byte for byte."""
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1_000_000))
    printed(["mosquitto_pub", *mqtt, "-r", "-q", "1", "-t", "kept", "-f", str(large)])
    assert printed(["mosquitto_sub", *mqtt, "-C", "1", "-N", "-t", "kept"]) == large.read_bytes()


def test_mqtt_will(mqtt: list[str], tmp_path: Path) -> None:
    """A client that dies has its last will published: the broker sees its connection end."""
    heard = tmp_path / "heard"
    mortal = ["mosquitto_sub", *mqtt, "-d", "-t", "nothing", "--will-topic", "wills", "--will-payload", "my last"]
    with (
        listening(["mosquitto_sub", *mqtt, "-d", "-v", "-t", "wills"], heard, b"Subscribed"),
        listening(mortal, tmp_path / "mortal", b"Subscribed") as process,
    ):
        process.kill()
        wait_for(heard, b"wills my last")


# gRPC: HTTP/2, which the sidecar does not read, for a server that speaks it in plain text.

METHODS = {
    "echo": "unary_unary",
    "count": "unary_stream",
    "join": "stream_unary",
    "talk": "stream_stream",
    "refuse": "unary_unary",
    "wait": "unary_unary",
}
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]


class Service:
    """A gRPC service whose messages are plain bytes, so that no code need be generated."""

    def __init__(self) -> None:
        self.waiting, self.left = Event(), Event()
        """Set when a call of `wait` has come, and when its client has given it up."""

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        token = dict(context.invocation_metadata()).get("token", "")
        context.send_initial_metadata((("seen", token),))
        context.set_trailing_metadata((("size-bin", len(request).to_bytes(4, "big")),))
        return request

    def count(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    def join(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b" ".join(requests)

    def talk(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()

    def refuse(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("why", "sold out"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no b\u00fccher here")
        return b""

    def wait(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.left.clear()
        context.add_callback(self.left.set)
        self.waiting.set()
        self.left.wait(WITHIN)
        return b""

    def handler(self) -> grpc.GenericRpcHandler:
        """Its methods, for a server."""
        methods = {name: getattr(grpc, f"{kind}_rpc_method_handler") for name, kind in METHODS.items()}
        handlers = {name: make(getattr(self, name)) for name, make in methods.items()}
        return grpc.method_handlers_generic_handler("tests.Bytes", handlers)


class Stub:
    """The same methods, for a client."""

    def __init__(self, channel: grpc.Channel) -> None:
        methods = {name: getattr(channel, kind)(f"/tests.Bytes/{name}") for name, kind in METHODS.items()}
        self.echo, self.count, self.join, self.talk, self.refuse, self.wait = methods.values()


@pytest.fixture(scope="module")
def service() -> Service:
    """What the gRPC server serves."""
    return Service()


@pytest.fixture(scope="module")
def stub(launch: Launch, authority: trustme.CA, service: Service) -> Iterator[Stub]:
    """A gRPC client that speaks TLS to a server that does not."""
    server = grpc.server(ThreadPoolExecutor(4), [service.handler()], options=UNLIMITED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with (
        launch(MODE="tcp", ALPN="h2", APP_PORT=port) as sidecar,
        grpc.secure_channel(f"localhost:{sidecar.port}", trust, UNLIMITED) as channel,
    ):
        yield Stub(channel)
    server.stop(0).wait()


def test_grpc_call(stub: Stub) -> None:
    """A message of 5 MB is echoed, and metadata come before and behind it."""
    large = os.urandom(5_000_000)
    answer, call = stub.echo.with_call(large, metadata=[("token", "abc")], timeout=WITHIN)
    assert answer == large
    assert ("seen", "abc") in call.initial_metadata()
    assert ("size-bin", len(large).to_bytes(4, "big")) in call.trailing_metadata()


def test_grpc_streams(stub: Stub) -> None:
    """A stream from the server is whole and in order, and so is one from the client."""
    assert list(stub.count(b"1000", timeout=WITHIN)) == [b"%d" % number for number in range(1000)]
    words = [b"%d" % number for number in range(1000)]
    assert stub.join(iter(words), timeout=WITHIN) == b" ".join(words)


def test_grpc_conversation(stub: Stub) -> None:
    """In a stream both ways, each word is answered before the next is spoken."""
    spoken: SimpleQueue[bytes | None] = SimpleQueue()
    heard = stub.talk(iter(spoken.get, None), timeout=WITHIN)
    for word in (b"one", b"two", b"three"):
        spoken.put(word)
        assert next(heard) == word.upper()
    spoken.put(None)
    assert list(heard) == []


def test_grpc_status(stub: Stub) -> None:
    """A refusal has its code, its words and its trailers."""
    with pytest.raises(grpc.RpcError) as refused:
        stub.refuse(b"", timeout=WITHIN)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "no b\u00fccher here"
    assert ("why", "sold out") in refused.value.trailing_metadata()


def test_grpc_deadline(stub: Stub) -> None:
    """A call that takes too long ends at its deadline."""
    with pytest.raises(grpc.RpcError) as late:
        stub.wait(b"", timeout=0.2)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_grpc_cancel(stub: Stub, service: Service) -> None:
    """The server is told of a call that its client gives up."""
    service.waiting.clear()
    call = stub.wait.future(b"")
    assert service.waiting.wait(WITHIN)
    call.cancel()
    assert service.left.wait(WITHIN)


def test_grpc_parallel_calls(stub: Stub) -> None:
    """A hundred calls at once over the one connection do not mix."""
    messages = [b"%d " % number * 5000 for number in range(100)]
    calls = [stub.echo.future(message, timeout=WITHIN) for message in messages]
    assert [call.result() for call in calls] == messages


# What else begins with TLS, and what does not.


@pytest.fixture(scope="module")
def session_tunnel(launch: Launch, session_app: ScriptedApp) -> Iterator[Sidecar]:
    """A sidecar in tcp mode that offers two protocols, in front of the scripted app."""
    with launch(MODE="tcp", ALPN="h2,http/1.1", APP_PORT=session_app.port) as sidecar:
        yield sidecar


@pytest.fixture
def tunnel(session_tunnel: Sidecar, app: ScriptedApp) -> Sidecar:
    """The same with an app that has forgotten what came before."""
    return session_tunnel


def test_http_is_bytes(tunnel: Sidecar, app: ScriptedApp) -> None:
    """HTTP passes as it is: a kept connection is kept to the app, and no field is added or dropped."""
    app.answer(lambda request: response(request.body))
    fields = {"Keep-Alive": "timeout=9", "X_Forwarded_For": "192.0.2.7"}
    with httpx.Client(base_url=f"https://localhost:{tunnel.port}", verify=tunnel.trust, headers=fields) as client:
        for body in (b"one", b"two" * 100_000, b"three"):
            answer = client.post("/", content=body)
            assert answer.content == body
            assert list(answer.headers) == ["content-length"]
    assert len(app.connections) == 1
    for request in app.requests:
        names = {name.lower() for name, _ in request.fields}
        assert {b"keep-alive", b"x_forwarded_for"} <= names
        assert {b"x-forwarded-for", b"x-request-id", b"forwarded"}.isdisjoint(names)


def greet(connection: AppConnection) -> None:
    """Speak first, as servers of mail and of some databases do."""
    connection.send(b"220 ready\r\n")
    connection.send(connection.receive().upper())


def test_greetings(tunnel: Sidecar, app: ScriptedApp) -> None:
    """An app that speaks as soon as it is connected is heard each time, and so is the client that answers."""
    app.script(greet)
    for _ in range(200):
        with tunnel.connect() as client:
            assert client.reader.through(b"\r\n") == b"220 ready\r\n"
            client.send(b"helo\r\n")
            assert client.read_to_end() == b"HELO\r\n"


def answer_once(connection: AppConnection) -> None:
    """Answer a request and close."""
    connection.read_request()
    connection.send(OK)


@pytest.mark.parametrize(
    ("offered", "told"),
    [
        ("h2", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("spdy/1,http/1.1", "ALPN protocol: http/1.1"),
        ("mqtt", "No ALPN negotiated"),
    ],
)
def test_openssl_is_told_the_protocol(
    tunnel: Sidecar, app: ScriptedApp, authority_file: str, offered: str, told: str
) -> None:
    """The first of ALPN that the client offers too is chosen; without one the connection goes on without."""
    app.script(answer_once)
    connect = ["-connect", f"localhost:{tunnel.port}", "-4", "-servername", "localhost", "-alpn", offered, "-ign_eof"]
    verify = ["-CAfile", authority_file, "-verify_return_error"]
    shown = printed([program("openssl", "openssl"), "s_client", *connect, *verify], get()).decode()
    assert told in shown
    assert OK.decode() in shown


def test_psql_asks_before_tls(tunnel: Sidecar, app: ScriptedApp) -> None:
    """A PostgreSQL client that asks for TLS in plain text is turned away at once and counted; the app sees nothing."""
    before = tunnel.metrics().value("tlsproxy_handshake_failures_total", reason="not_tls")
    where = f"host=localhost hostaddr=127.0.0.1 port={tunnel.port} sslmode=require connect_timeout={WITHIN:.0f}"
    done = subprocess.run(
        [program("psql", "postgresql-client"), where], capture_output=True, text=True, timeout=WITHIN, check=False
    )
    assert done.returncode == 2
    assert "server closed the connection unexpectedly" in done.stderr
    assert tunnel.metrics().value("tlsproxy_handshake_failures_total", reason="not_tls") == before + 1
    assert app.connections == []


@pytest.mark.parametrize(
    ("mark", "needed"),
    [
        ("run with redis", {"redis-server": "redis-server", "redis-cli": "redis-tools"}),
        ("run with mosquitto", {"mosquitto": "mosquitto", "mosquitto_pub": "mosquitto-clients"}),
    ],
)
def test_examples_of_the_page(tmp_path: Path, mark: str, needed: dict[str, str]) -> None:
    """What docs/tcp.md shows of these programs is what happens."""
    for name, package in {"bash": "bash", **needed}.items():
        program(name, package)
    page = (PROJECT / "docs" / "tcp.md").read_text()
    assert console.commands(page, mark)
    console.run(page, tmp_path, mark)
