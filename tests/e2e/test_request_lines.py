"""Request lines: one for each request, complete, in JSON or as text, and never in the way."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.raw_client import TlsClient, get, post
from tests.e2e.scripted_app import AppConnection, ScriptedApp, response
from tests.e2e.sidecar_process import Line, Sidecar, Start

FIELDS = json.loads((Path(__file__).parents[1] / "contract.json").read_text())["request_line"]
COMBINED = re.compile(
    r"(?P<client>\S+) - - \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "
    r'"(?P<request>(?:[^"\\]|\\x..)*)" (?P<status>\d{3}) (?P<sent>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)


def test_a_line_has_every_field(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """Each field of the contract says what the client and the app saw."""
    app.answer(response(b"x" * 1234, status="201 Created"))
    before = datetime.now(UTC)
    answer = client.ask(post("/orders?id=1", b"y" * 77, "User-Agent: test/1.0", "Referer: https://a.example/b?c"))
    line = shared_sidecar.wait_for_line(target="/orders?id=1")
    cipher = client.tls.cipher()
    assert cipher is not None
    request_id = answer.get(b"X-Request-ID")
    assert request_id is not None
    assert (
        line.items()
        >= {
            "client": "127.0.0.1",
            "method": "POST",
            "protocol": "HTTP/1.1",
            "status": 201,
            "received": 77,
            "sent": 1234,
            "tls": client.tls.version(),
            "cipher": cipher[0],
            "sni": "localhost",
            "request_id": request_id.decode(),
            "user_agent": "test/1.0",
            "referer": "https://a.example/b?c",
            "reason": None,
        }.items()
    )
    assert set(FIELDS) <= set(line)
    assert app.request.get(b"X-Request-ID") == request_id
    when = datetime.fromisoformat(str(line["time"]))
    assert before - timedelta(milliseconds=2) <= when <= datetime.now(UTC)
    assert 0 < number(line, "app_duration") <= number(line, "duration") < 5


def test_durations_are_seconds(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """`duration` spans the request, `app_duration` the app's share of it."""

    def script(connection: AppConnection) -> None:
        connection.read_request()
        threading.Event().wait(0.3)
        connection.send(response())

    app.script(script)
    client.get("/slow")
    line = shared_sidecar.wait_for_line(target="/slow")
    assert 0.3 <= number(line, "app_duration") <= number(line, "duration") < 2


def test_what_is_not_there_is_null(shared_sidecar: Sidecar, app: ScriptedApp) -> None:
    """A client without SNI, user agent and referer leaves null, and a 400 has no app's time."""
    context = shared_sidecar.trust
    with TlsClient(shared_sidecar.port, context, server_name="127.0.0.1") as client:
        client.get("/bare")
        client.ask(b"GET /bad HTTP/1.1\r\n\r\n")
    line = shared_sidecar.wait_for_line(target="/bare")
    assert [line[name] for name in ("sni", "user_agent", "referer", "reason")] == [None] * 4
    bad = shared_sidecar.wait_for_line(status=400)
    assert (bad["reason"], bad["app_duration"], bad["received"]) == ("bad_request", None, 0)


def test_nobody_forges_a_line(client: TlsClient, app: ScriptedApp, shared_sidecar: Sidecar) -> None:
    """Quotes, controls and bytes beyond ASCII are escaped: each request stays one line of JSON."""
    agent = 'a"b\\c\t\xe9\xff'
    client.get('/"quoted"?\\', f"User-Agent: {agent}")
    line = shared_sidecar.wait_for_line(target='/"quoted"?\\')
    assert str(line["user_agent"]).startswith('a"b\\c\t')


def test_errors_alone(sidecar: Launch, app: ScriptedApp) -> None:
    """With ACCESS_LOG=errors only answers from 400 on have a line."""
    app.answer(lambda request: response(status="404 Absent" if request.target == b"/absent" else "200 OK"))
    process = sidecar(ACCESS_LOG="errors")
    with process.connect() as client:
        for target in ("/", "/absent", "/"):
            client.get(target)
    assert process.stop() == 0
    assert [line["target"] for line in process.lines()] == ["/absent"]


def test_none_at_all(sidecar: Launch, app: ScriptedApp) -> None:
    """With ACCESS_LOG=off nothing is written to standard output, and requests are counted all the same."""
    process = sidecar(ACCESS_LOG="off")
    assert process.get("/absent").status == 200
    assert process.metrics().value("tlsproxy_requests_total") == 1
    assert process.stop() == 0
    assert process.stdout() == ""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_queries_may_be_left_out(sidecar: Launch, app: ScriptedApp, log_format: str) -> None:
    """With LOG_QUERY=off the query of target and referer is in no line, and the app gets it."""
    process = sidecar(LOG_QUERY="off", LOG_FORMAT=log_format)
    with process.connect() as client:
        client.get("/login?token=secret", "Referer: https://a.example/?token=secret")
    assert process.stop() == 0
    assert app.request.target == b"/login?token=secret"
    assert "/login" in process.stdout()
    assert "https://a.example/" in process.stdout()
    assert "secret" not in process.stdout() + process.stderr()


def test_text_is_the_combined_log_format(sidecar: Launch, app: ScriptedApp) -> None:
    """With LOG_FORMAT=text a line is what every analyser of web servers' logs reads."""
    app.answer(response(b"x" * 321))
    process = sidecar(LOG_FORMAT="text")
    with process.connect() as client:
        client.get("/a?b", "User-Agent: test/1.0 (x)", "Referer: https://a.example/")
        client.get('/"', 'User-Agent: "\\')
        client.ask(b"garbage\r\n\r\n")
    assert process.stop() == 0
    lines = [COMBINED.fullmatch(line) for line in process.stdout().splitlines()]
    told = [line.group("client", "request", "status", "sent", "referer", "agent") for line in lines if line]
    assert told[0] == ("127.0.0.1", "GET /a?b HTTP/1.1", "200", "321", "https://a.example/", "test/1.0 (x)")
    assert told[1] == ("127.0.0.1", r"GET /\x22 HTTP/1.1", "200", "321", "-", r"\x22\x5C")
    assert told[2][2] == "400"
    assert len(told) == len(lines) == 3
    assert not process.stderr().startswith("{")


def test_none_is_lost_at_the_end(sidecar: Launch, app: ScriptedApp) -> None:
    """SIGTERM right after a thousand requests leaves a whole line for each of them."""
    process = sidecar()
    with process.connect() as client:
        for start in range(0, 1000, 100):
            client.send(b"".join(get(f"/{n}") for n in range(start, start + 100)))
            for _ in range(100):
                client.read_response()
        process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert [line["target"] for line in process.lines()] == [f"/{n}" for n in range(1000)]


# Whoever reads them is slow, or gone.


@contextmanager
def a_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, for reading and for writing."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def into_a_pipe(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp, fork: Start
) -> Iterator[tuple[Sidecar, int]]:
    """A sidecar whose standard output is a pipe, and the pipe's other end."""
    reader, writer = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        settings = {"CERT_DIR": str(certificate_dir), "APP_PORT": str(app.port)}
        try:
            process = Sidecar(tmp_path, authority, settings, output=writer, start=fork)
        finally:
            os.close(writer)
        yield stack.enter_context(process), reader


def ask_much(process: Sidecar, requests: int = 150) -> None:
    """Requests whose lines are more than a pipe holds (64 KiB)."""
    agent = "User-Agent: " + "x" * 400
    with process.connect() as client:
        for _ in range(requests):
            assert client.get("/", agent).status == 200


def test_a_pipe_that_nobody_reads_does_not_stop_serving(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp, fork: Start
) -> None:
    """When the pipe is full requests are answered on, and the lines come once somebody reads."""
    with into_a_pipe(tmp_path, authority, certificate_dir, app, fork) as (process, reader):
        ask_much(process)
        assert process.ask_admin("/livez").status == 200
        text = b""
        while text.count(b"\n") < 150:
            text += os.read(reader, 65536)
        assert {json.loads(line)["status"] for line in text.splitlines()} == {200}
        assert process.status()["request_lines_lost"] == 0


def test_a_pipe_that_nobody_reads_does_not_stop_the_stop(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp, fork: Start
) -> None:
    """When the pipe is full at the end, the process still ends with status 0, and says that lines are lost."""
    with into_a_pipe(tmp_path, authority, certificate_dir, app, fork) as (process, _):
        ask_much(process)
        assert process.stop() == 0
        assert process.told("request lines are being lost")


def test_a_reader_that_has_gone_does_not_stop_serving(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp, fork: Start
) -> None:
    """When whoever read the lines is gone, that is said once, and requests are answered on."""
    with into_a_pipe(tmp_path, authority, certificate_dir, app, fork) as (process, reader):
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, reader)
        os.close(null)
        ask_much(process)
        wait_until(lambda: process.told("request lines are being lost"), "word of it")
        ask_much(process)
        assert len(process.told("request lines are being lost")) == 1
        assert process.stop() == 0


def test_a_full_disk_does_not_stop_serving(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp, fork: Start
) -> None:
    """Where nothing can be written requests are answered, and every line that is lost is counted."""
    settings = {"CERT_DIR": str(certificate_dir), "APP_PORT": str(app.port)}
    with Path("/dev/full").open("wb") as full:
        process = Sidecar(tmp_path, authority, settings, output=full.fileno(), errors=full.fileno(), start=fork)
    with process:
        with process.connect() as client:
            for _ in range(5):
                assert client.get("/").status == 200
        wait_until(lambda: process.status()["request_lines_lost"] == 5, "each line is counted")
        lost = process.metrics().by("tlsproxy_log_lines_lost_total", "stream")
        status = process.status()
        assert lost["stdout",] == 5
        assert lost["stderr",] == status["diagnostics_lost"]
        assert lost["stderr",] >= 2  # the start, and the word about lost lines
        assert process.stop() == 0


def test_diagnostics_that_nobody_reads_stop_nothing(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp
) -> None:
    """With a full pipe for standard error it starts and serves; the lines come once somebody reads, and it ends."""
    settings = {"CERT_DIR": str(certificate_dir), "APP_PORT": str(app.port)}
    with a_pipe() as (reader, writer):
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"." * 4096)
        os.set_blocking(writer, True)
        with Sidecar(tmp_path, authority, settings, errors=writer) as process:
            assert process.get().status == 200
            text = b""
            while b"serving HTTPS" not in text:
                text += os.read(reader, 65536)
            assert process.status()["diagnostics_lost"] == 0
            assert process.stop() == 0


def test_diagnostics_without_a_reader_stop_nothing(
    tmp_path: Path, authority: trustme.CA, certificate_dir: Path, app: ScriptedApp
) -> None:
    """When whoever read standard error is gone, it is served on, and what is lost is counted."""
    settings = {"CERT_DIR": str(certificate_dir), "APP_PORT": str(app.port)}
    with a_pipe() as (reader, writer):
        process = Sidecar(tmp_path, authority, settings, errors=writer)
        with Path(os.devnull).open("rb") as null:
            os.dup2(null.fileno(), reader)
        os.dup2(reader, writer)
        with process:
            process.signal(signal.SIGHUP)
            wait_until(lambda: process.status()["diagnostics_lost"], "a line that is lost")
            assert process.get().status == 200
            assert process.stop() == 0


def number(line: Line, name: str) -> float:
    value = line[name]
    assert isinstance(value, float)
    return value
