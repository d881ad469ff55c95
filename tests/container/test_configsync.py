"""deploy/podman/configsync.yaml: a change of a configuration API reaches an app that reads its file when it starts."""

import http.client
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent
from urllib.request import Request, urlopen

import pytest

from tests.container.podman import DEPLOY, adapted, hurried, played, podman, resident, status
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

MOST_MEGABYTES = 45.0
API = """\
import hashlib, http.server
class Api(http.server.BaseHTTPRequestHandler):
    body = b'{"greeting": "hello"}'
    def do_GET(self):
        tag = '"' + hashlib.sha256(self.body).hexdigest() + '"'
        known = self.headers["If-None-Match"] == tag
        self.send_response(304 if known else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(b"" if known else self.body)
    def do_PUT(self):
        Api.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
http.server.ThreadingHTTPServer(("", 9100), Api).serve_forever()
"""
"""A configuration API: who asks gets what was put last, with its ETag."""
READ = "print(open('/config/app.json').read(), end='')"
CONTAINER = """\
    - name: api
      image: localhost/tlsproxy
      ports: [{{containerPort: 9100, hostPort: {port}}}]
      command:
        - python
        - -c
        - |
{program}
"""


@dataclass(frozen=True)
class Pod:
    """A running pod: app and configsync, and the API."""

    name: str
    port: int
    api: int

    def greeting(self) -> str:
        """What the app has read when it started; empty: it does not run."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):
            return ""

    def put(self, configuration: str) -> None:
        """Change the configuration."""
        request = Request(f"http://127.0.0.1:{self.api}/", configuration.encode(), method="PUT")
        with urlopen(request, timeout=5):
            pass

    def bring(self, greeting: str) -> float:
        """Seconds until the app has a new configuration; returns when the version is known to be good."""
        began = time.monotonic()
        self.put(json.dumps({"greeting": greeting}))
        wait_until(lambda: self.greeting() == greeting, f"the app says {greeting}", 20)
        took = time.monotonic() - began
        self.wait_for("published")
        return took

    def wait_for(self, outcome: str) -> None:
        """Return when the newest line of the history is of that outcome."""
        wait_until(lambda: self.history()[0].startswith(f"{outcome}, "), f"a version is {outcome}", 30)

    def history(self) -> list[str]:
        """What became of the versions, the newest first."""
        lines = self.configsync("history").splitlines()[2:]
        return [line.split(" ", 2)[2] for line in lines] or [""]

    def configsync(self, *arguments: str) -> str:
        """What a command of it says."""
        return podman("exec", f"{self.name}-configsync", "configsync", *arguments)

    def starts(self) -> int:
        """How often podman has started the app anew."""
        return int(podman("inspect", "--format", "{{.RestartCount}}", f"{self.name}-app").split()[-1])


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose app has its first configuration; it is removed at the end."""
    pod = Pod(f"configsync-test-{os.getpid()}", free_port(), free_port())
    example = (DEPLOY / "podman" / "configsync.yaml").read_text()
    api = CONTAINER.format(program=indent(API, " " * 10), port=pod.api)
    example = example.replace("  volumes:\n", f"{api}  volumes:\n").replace(
        "https://config.example/shop.json", "http://127.0.0.1:9100/"
    )
    assert "WITHIN, value: 30s" in example
    example = hurried(example).replace("WITHIN, value: 30s", "WITHIN, value: 5s")
    directory = tmp_path_factory.mktemp("configsync")
    (directory / "example.yaml").write_text(example)
    with played(adapted(directory / "example.yaml", pod.name, pod.port), directory):
        wait_until(lambda: pod.greeting() == "hello", "the app has its first configuration", 30)
        pod.wait_for("published")
        yield pod


def test_a_change_reaches_the_app(pod: Pod) -> None:
    """The app is asked to end once, podman starts it anew, and it has read the new file."""
    before = pod.starts()
    took = pod.bring("good day")
    print(f"from the change to the app: {took:.1f} s, asked for each second")  # noqa: T201  for who reads the run
    assert pod.starts() == before + 1


def test_what_does_not_parse_is_not_seen(pod: Pod) -> None:
    """The app keeps its file, and is asked nothing."""
    pod.bring("good morning")
    before = pod.starts()
    pod.put('{"greeting": "half of')
    pod.wait_for("rejected")
    assert (pod.greeting(), pod.starts()) == ("good morning", before)
    assert podman("exec", f"{pod.name}-app", "python", "-c", READ) == '{"greeting": "good morning"}'


def test_what_the_app_does_not_live_with_is_taken_back(pod: Pod) -> None:
    """The app gets its former file and comes back with it; the bad version is not tried again."""
    pod.bring("good evening")
    pod.put('{"greeting": 42}')
    wait_until(lambda: pod.greeting() == "", "the app has ended", 20)
    wait_until(lambda: pod.greeting() == "good evening", "the app is back", 30)
    pod.wait_for("restored")
    assert [line.partition(",")[0] for line in pod.history()[:3]] == ["restored", "failed", "published"]
    before = pod.starts()
    pod.bring("good night")
    assert pod.starts() == before + 1


def test_back_by_command(pod: Pod) -> None:
    """The version before is published, the app told, and what comes from the API is not taken meanwhile."""
    pod.bring("one")
    pod.bring("two")
    assert "rolled back" in pod.configsync("rollback")
    assert pod.greeting() == "one"


def test_what_it_takes_and_how_it_ends(pod: Pod) -> None:
    """Its memory is small, and it stops with status 0, without a word of what went wrong inside."""
    assert "[+]version" in pod.configsync("health")
    assert resident(f"{pod.name}-configsync") < MOST_MEGABYTES
    podman("stop", f"{pod.name}-configsync")
    assert status(f"{pod.name}-configsync") == 0
    assert "Traceback" not in podman("logs", f"{pod.name}-configsync")
