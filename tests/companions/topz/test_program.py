"""The whole process: who is let in and where, what browsers, curl and Prometheus get, and how it ends."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.companions.topz.running import Topz, basic, running
from tests.companions.topz.test_detail import UNDUMPABLE, child
from tests.e2e.polling import wait_until
from tests.e2e.sidecar_process import looking_into
from tlsproxy.chassis.secrets import SecretText
from tlsproxy.companions.topz.program import host_of

if TYPE_CHECKING:
    from tlsproxy.companions.topz.settings import Settings

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
}
CURL = {"User-Agent": "curl/8.5.0", "Accept": "*/*"}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text("first\n")
    return path


@pytest.fixture(scope="module")
def topz(token_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topz]:
    settings = {"TOKEN_FILE": token_file, "HOST": "127.0.0.1", "ENVIRONMENT": "on", "REFRESH": "3s", "LIMIT": 5}
    with running(tmp_path_factory.mktemp("topz"), **settings) as process:
        yield process


@pytest.fixture
def token(token_file: Path) -> str:
    token_file.write_text("first\n")
    return "first"


def test_nothing_without_the_token(topz: Topz, token: str) -> None:
    """Whatever is asked for, who has no token or another one gets nothing; a browser asks its user for it."""
    for target in ("/topz", "/topz/1", "/", "/none"):
        answer = topz.get(target)
        assert answer.status == 401
        assert 'Basic realm="topz"' in answer.fields["WWW-Authenticate"]
        assert topz.get(target, "other").status == 401
        assert topz.get(target, fields=basic("other")).status == 401


def test_the_token_is_read_again(topz: Topz, token_file: Path) -> None:
    """A replaced file counts from the next request on; while there is none nobody is let in, and /readyz says so."""
    token_file.write_text("second")
    assert topz.get("/topz/1?format=text", "first").status == 401
    assert topz.get("/topz/1?format=text", "second").status == 200
    assert topz.get("/topz/1?format=text", fields=basic("second")).status == 200
    token_file.unlink()
    assert topz.get("/topz/1", "second").status == 503
    ready = topz.get("/readyz", admin=True)
    assert ready.status == 503
    assert f"[-]token: {token_file}: no such file or directory\n" in ready.body
    token_file.write_text("second")
    assert "[+]token\n" in topz.get("/readyz", admin=True).body


def test_a_browser_gets_a_page(topz: Topz, token: str) -> None:
    """A page that refreshes itself, and lets nothing be loaded or framed."""
    answer = topz.get("/topz", token, BROWSER)
    assert answer.fields["Content-Type"] == "text/html; charset=utf-8"
    assert answer.fields["Vary"] == "Accept, User-Agent"
    assert "default-src 'none'" in answer.fields["Content-Security-Policy"]
    assert answer.fields["Cache-Control"] == "no-store"
    assert '<meta http-equiv="refresh" content="3">' in answer.body
    assert "5 of " in answer.body
    assert topz.get(f"/topz/{os.getpid()}", token, BROWSER).body.startswith("<!doctype html>")


def test_curl_gets_text(topz: Topz, token: str) -> None:
    """The same as text, ordered and cut as asked for."""
    answer = topz.get("/topz?sort=rss&limit=2", token, CURL)
    assert answer.fields["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body.splitlines()[-1].startswith("2 of ")
    assert "PID  USER" in answer.body
    assert topz.get(f"/topz/{os.getpid()}", token, CURL).body.startswith("pid ")


def test_json_has_all(topz: Topz, token: str) -> None:
    """Every process, this one among them, with CPU measured at the first question already."""
    values = json.loads(topz.get("/topz?format=json", token, BROWSER).body)
    seen = {process["pid"]: process for process in values["processes"]}
    assert len(seen) == values["processes_found"] > 5
    assert values["interval_seconds"] >= 0.2
    assert seen[os.getpid()]["cpu_percent"] is not None
    one = json.loads(topz.get(f"/topz/{os.getpid()}", token, {"Accept": "application/json"}).body)
    assert one["pid"] == os.getpid()
    assert one["open_files"] > 2


def test_secrets_are_masked(topz: Topz, token: str) -> None:
    """In a command line and in the environment, whatever the form."""
    with child("print(flush=True); import sys; sys.stdin.read()#--password=hunter2", MY_TOKEN="hunter3") as pid:
        assert topz.get(f"/topz/{pid}", token).status == 200
        said = [
            topz.get(f"/topz{path}?format={form}", token).body
            for path in ("", f"/{pid}")
            for form in ("html", "text", "json")
        ]
    assert not [body for body in said if "hunter" in body]
    assert "MY_TOKEN" in said[4]


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("/topz?sort=size", 400, "sort must be pid, user,"),
        ("/topz/1?limit=x", 400, "limit must be a whole number"),
        ("/topz?x=%3Cscript%3E", 400, "there is no such parameter"),
        ("/topz/4194305", 404, "there is no process 4194305"),
        ("/topz/x", 404, "a process's number stands behind /topz/"),
        ("/topz/1/2", 404, "not found"),
        ("/other", 404, "not found"),
        ("/", 308, "see /topz"),
        ("/topz/", 308, "see /topz"),
    ],
)
def test_other_answers(topz: Topz, token: str, target: str, status: int, said: str) -> None:
    """What can't be answered gets a plain line that says why."""
    answer = topz.get(target, token, BROWSER)
    assert (answer.status, answer.fields["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert said in answer.body
    assert "script" not in answer.body


def test_it_only_reads(topz: Topz, token: str) -> None:
    """There is nothing to be changed."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = topz.get("/topz", token, method=method)
        assert (answer.status, answer.fields["Allow"]) == (405, "GET, HEAD")
    assert topz.get("/topz", token, method="HEAD").body == ""


def test_the_admin_port(topz: Topz) -> None:
    """Probes say yes, metrics tell of each container, and the token is nowhere."""
    for path in ("/livez", "/startupz", "/readyz"):
        assert topz.get(path, admin=True).status == 200
    assert "[+]processes" in topz.get("/readyz", admin=True).body
    metrics = topz.get("/metrics", admin=True).body
    assert "topz_container_cpu_seconds_total{container=" in metrics
    assert "topz_container_memory_rss_bytes{container=" in metrics
    assert 'topz_build_info{version="' in metrics
    status = json.loads(topz.get("/status", admin=True).body)
    assert status["page"] == {"host": "127.0.0.1", "port": topz.port, "token": True}
    assert status["snapshots"]["taken"] > 0


def test_a_process_that_ends_while_it_is_looked_at(topz: Topz, token: str) -> None:
    """Processes that come and go by the dozen never break an answer, nor do zombies among them."""
    stop = threading.Event()
    started: list[int] = []

    def churn() -> None:
        while not stop.is_set():
            children = [subprocess.Popen(["true"]) for _ in range(5)]
            started.extend(child.pid for child in children)
            for process in children:
                process.wait()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(6):
            assert topz.get("/topz?limit=0&format=html", token).status == 200
            assert topz.get(f"/topz/{(started or [1])[-1]}", token).status in {200, 404}
    finally:
        stop.set()
        thread.join()
    assert len(started) > 20


def test_a_process_that_has_only_begun(topz: Topz, token: str) -> None:
    """One that was not there at the last look is looked for once more, and then is none."""
    assert topz.get("/topz", token).status == 200
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            assert topz.get(f"/topz/{process.pid}", token).status == 200
        finally:
            process.kill()


def test_a_process_that_can_not_be_dumped(topz: Topz, token: str) -> None:
    """A sidecar of the family stands in the table like any other."""
    with child(UNDUMPABLE) as pid:
        assert topz.get(f"/topz/{pid}?format=text", token).status == 200
        values = json.loads(topz.get("/topz?format=json", token).body)
        seen = next(process for process in values["processes"] if process["pid"] == pid)
        assert seen["state"] == "sleeping"


@pytest.mark.parametrize(
    ("host", "token", "token_file", "address"),
    [
        (None, None, None, "127.0.0.1"),
        (None, SecretText("x"), None, ""),
        (None, None, Path("/x"), ""),
        ("::1", None, None, "::1"),
        ("10.0.0.7", SecretText("x"), None, "10.0.0.7"),
    ],
)
def test_where_the_page_is(host: str | None, token: SecretText | None, token_file: Path | None, address: str) -> None:
    """Without a token it is for this pod alone."""
    settings = SimpleNamespace(host=host, token=token, token_file=token_file)
    assert host_of(cast("Settings", settings)) == address


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens at a port, as the kernel writes them."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")}


def test_without_a_token_and_with_gaps(tmp_path: Path) -> None:
    """It listens on 127.0.0.1 alone and says so; where there are no processes to be seen it is not ready; it stops."""
    proc = tmp_path / "proc"
    (proc / "1").mkdir(parents=True)
    with running(tmp_path, PROC=proc) as topz:
        assert listening(topz.port) == {"0100007F"}
        told = "\n".join(wait_until(topz.process.diagnostics, "it tells where it is"))
        assert "without a token (TOPZ_TOKEN is not set), on this address alone" in told
        assert topz.get("/topz").status == 200
        (proc / "1").rmdir()
        proc.rmdir()
        wait_until(lambda: topz.get("/topz").status == 503, "there is nothing to be seen")
        ready = topz.get("/readyz", admin=True)
        assert ready.status == 503
        assert f"[-]processes: {proc}: no such file or directory" in ready.body
        os.kill(topz.process._process.pid, signal.SIGTERM)
        wait_until(lambda: topz.process.status is not None, "it has stopped")
        assert topz.process.status == 0


def test_what_serves_is_small(topz: Topz) -> None:
    """It has read its settings elsewhere, and has nothing of pydantic."""
    with looking_into():
        maps = Path(f"/proc/{topz.process._process.pid}/maps").read_text()
    assert "psutil" in maps
    assert "pydantic" not in maps
