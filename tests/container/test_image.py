"""The image as operators run it: a read-only root, no user, no capabilities, one volume and two variables.

`make test-image` runs them; TLSPROXY_IMAGE names the image. The app is a container beside it in the same pod, which
listens on that pod's loopback address alone.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import console
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port

IMAGE = os.environ["TLSPROXY_IMAGE"]
README = Path(__file__).parents[2] / "README.md"
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
APP_PORT = 9000
# GET /slow takes longer than the default DRAIN_DELAY of 5 s, so that it is under way when the draining begins.
APP = f"""
import http.server, time
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            print("slow", flush=True)
            time.sleep(6)
        body = (self.path + " over " + self.headers["X-Forwarded-Proto"] + "\\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", {APP_PORT}), App).serve_forever()
"""


def podman(*arguments: str | Path) -> str:
    """What the command printed on both streams; AssertionError with it when the command fails."""
    command = ["podman", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Pod:
    """A running pod: the sidecar and its app, one network namespace."""

    name: str
    port: int
    certificates: Path

    @property
    def sidecar(self) -> str:
        """The sidecar's container."""
        return f"{self.name}-tlsproxy"

    @property
    def app(self) -> str:
        """The app's container."""
        return f"{self.name}-app"

    def curl(self, path: str) -> list[str]:
        """A client that trusts the development CA and nobody else."""
        authority = str(self.certificates / "ca.crt")
        url = f"https://localhost:{self.port}{path}"
        return ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", "--cacert", authority, url]

    def serial(self) -> str:
        """The serial of the certificate that a new connection is shown."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port))
        shown = subprocess.run(
            ["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True
        )
        return shown.stdout.strip().removeprefix("serial=")

    def logs(self, container: str) -> str:
        """All that the container has written."""
        return podman("logs", container)


def make_pair(directory: Path) -> None:
    """A development pair that the image's user can read, made anew if there is one."""
    subprocess.run([sys.executable, "-m", "tlsproxy", "dev-cert", directory, "--force"], check=True)
    (directory / "tls.key").chmod(0o644)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod whose sidecar answers; it is removed at the end."""
    pod = Pod(f"tlsproxy-test-{os.getpid()}", free_port(), tmp_path / "certs")
    make_pair(pod.certificates)
    podman("pod", "create", "--name", pod.name, f"--publish=127.0.0.1:{pod.port}:8443")
    try:
        beside = ("--detach", "--pod", pod.name)
        podman("run", *beside, "--name", pod.app, "--entrypoint", "python", IMAGE, "-c", APP)
        variables = ("--env=TLSPROXY_CERT_NAME=tls", f"--env=TLSPROXY_APP_PORT={APP_PORT}")
        volume = f"--volume={pod.certificates}:/certs:ro,z"
        podman("run", *beside, "--name", pod.sidecar, *HARDENED, *variables, volume, IMAGE)
        wait_until(lambda: "serving HTTPS" in pod.logs(pod.sidecar), "the sidecar serves", 20)
        yield pod
    finally:
        podman("pod", "rm", "--force", "--time", "0", pod.name)


def test_two_variables_and_a_volume(pod: Pod) -> None:
    """An app on the pod's loopback gets HTTPS that curl verifies, a rotation, and an end that loses no request."""
    answer = subprocess.run(pod.curl("/"), capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "/ over https\n"), answer.stderr
    assert "[+]app" in podman("exec", pod.sidecar, "tlsproxy", "health")

    before = pod.serial()
    make_pair(pod.certificates)
    wait_until(lambda: pod.serial() != before, "the new certificate is served", 10)

    slow = subprocess.Popen(pod.curl("/slow"), stdout=subprocess.PIPE, text=True)
    wait_until(lambda: "slow" in pod.logs(pod.app), "the app has the slow request")
    podman("stop", pod.sidecar)
    assert slow.communicate(timeout=20)[0] == "/slow over https\n"
    assert podman("inspect", "--format", "{{.State.ExitCode}}", pod.sidecar).strip() == "0"
    assert "Traceback" not in pod.logs(pod.sidecar)


def test_runs_as_nobody(pod: Pod) -> None:
    """The process has no user of the image, no capability, and no pip beside it."""
    assert podman("inspect", "--format", "{{.Config.User}}", pod.sidecar).strip() == "65532:65532"
    status = podman("exec", pod.sidecar, "cat", "/proc/1/status")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["Uid"].split() == ["65532"] * 4
    assert lines["CapEff"].strip("0") == ""
    assert lines["NoNewPrivs"] == "1"
    listing = podman("exec", pod.sidecar, "ls", "/opt/tlsproxy/bin").split()
    assert "tlsproxy" in listing
    assert not [name for name in listing if name.startswith("pip")]


@pytest.mark.timeout(90)
@pytest.mark.skipif(IMAGE != "tlsproxy", reason="README's image is called tlsproxy")
def test_readme_shows_what_happens(tmp_path: Path) -> None:
    """The pod of README, under a name that nobody has, answers and ends as it is shown there."""
    shop = f"shop-{os.getpid()}"
    try:
        console.run(README.read_text().replace("shop", shop), tmp_path, "run with podman")
    finally:
        podman("pod", "rm", "--force", "--ignore", "--time", "0", shop)
