"""The image as operators run it: a read-only root, no user, no capabilities, one volume and two variables.

The app is a container beside it in the same pod, which
listens on that pod's loopback address alone.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.podman import IMAGE, ROOT, make_pair, podman, serial, status
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tlsproxy import __version__
from tlsproxy.chassis import environment
from tlsproxy.settings import Settings

HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
APP_PORT = 9000
MOST_BYTES = 90_000_000  # 25 million more with the symbols of its libraries
KERNELS = ("/proc", "/dev", "/sys")
PRINT_STATUS = "print(open('/proc/1/status').read())"
PRINT_WRITABLE = """
import os
for place, _, _ in os.walk("/"):
    if os.access(place, os.W_OK):
        print(place)
"""
PRINT_SEEN = """
import os
for name in ("environ", "mem", "maps", "root/certs/tls.key", "fd"):
    try:
        os.listdir("/proc/1/fd") if name == "fd" else open("/proc/1/" + name, "rb").read(1)
    except PermissionError:
        continue
    except OSError:
        pass
    print(name)
"""
PRINT_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8444/metrics").read().decode())
"""
PRINT_CONTENTS = """
import importlib.util, json, os, sys
uncompiled, programs, needless = [], [], []
for place, folders, files in os.walk("/"):
    if place == "/":
        folders[:] = [name for name in folders if name not in ("proc", "dev", "sys")]
    for name in files:
        path = os.path.join(place, name)
        compiled = importlib.util.cache_from_source(path) if name.endswith(".py") else ""
        # The bit of PEP 552: by content, and taken without a look at the source.
        if compiled and not (os.path.exists(compiled) and open(compiled, "rb").read(8)[4] == 1):
            uncompiled.append(path)
        if os.path.basename(place) in ("bin", "sbin"):
            programs.append(name)
    needless += [name for name in folders if name in ("pip", "setuptools", "ensurepip", "unittest", "tkinter", "tests")]
print(json.dumps(uncompiled))
print(json.dumps(programs))
print(json.dumps(needless))
"""
IMPORT_ALL = """
import importlib, pkgutil, tlsproxy
for module in pkgutil.walk_packages(tlsproxy.__path__, "tlsproxy."):
    if not module.name.startswith(("tlsproxy.inject", "tlsproxy.import_nginx", "tlsproxy.__main__")):
        importlib.import_module(module.name)
print("imported")
"""
PRINT_PACKAGES = """
import importlib.metadata, json
print(json.dumps({one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}))
"""
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

    def logs(self, container: str) -> str:
        """All that the container has written."""
        return podman("logs", container)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod whose sidecar answers; it is removed at the end."""
    pod = Pod(f"tlsproxy-test-{os.getpid()}", free_port(), tmp_path_factory.mktemp("image") / "certs")
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


def python(container: str, program: str) -> str:
    """What a program prints that the container's own Python runs."""
    return podman("exec", container, "python", "-c", program)


def test_runs_as_nobody(pod: Pod) -> None:
    """The process has no user of the image and no capability, `seccomp` filters its calls, and it can write nowhere."""
    assert podman("inspect", "--format", "{{.Config.User}}", pod.sidecar).strip() == "65532:65532"
    assert privileges(pod.sidecar) == ({"65532"}, 0, "1", "2")
    writable = [place for place in python(pod.sidecar, PRINT_WRITABLE).split() if not place.startswith(KERNELS)]
    assert writable == []


def test_runs_as_anybody(tmp_path: Path) -> None:
    """A user that the image has never heard of, as OpenShift gives each namespace its own, serves as well."""
    make_pair(tmp_path / "certs")
    name = f"tlsproxy-test-anybody-{os.getpid()}"
    volume = f"--volume={tmp_path / 'certs'}:/certs:ro,z"
    podman("run", "--detach", "--name", name, "--user=1000770000:0", *HARDENED, volume, IMAGE)
    try:
        wait_until(lambda: "serving HTTPS" in podman("logs", name), "the sidecar serves", 20)
        assert privileges(name) == ({"1000770000"}, 0, "1", "2")
        assert "Traceback" not in podman("logs", name)
    finally:
        podman("rm", "--force", "--time", "0", name)


def privileges(container: str) -> tuple[set[str], int, str, str]:
    """The users of its first process, its capabilities, whether it can gain more, and the mode of `seccomp`."""
    lines = dict(line.split(":\t", 1) for line in python(container, PRINT_STATUS).splitlines() if ":\t" in line)
    return set(lines["Uid"].split()), int(lines["CapBnd"], 16), lines["NoNewPrivs"], lines["Seccomp"]


def test_cannot_be_looked_into(pod: Pod) -> None:
    """A process of the same user reads neither its memory nor its environment nor its files; its metrics go on."""
    assert python(pod.sidecar, PRINT_SEEN) == ""
    metrics = python(pod.sidecar, PRINT_METRICS)
    for name in ("open_fds", "max_fds", "resident_memory_bytes"):
        assert re.search(rf"^process_{name} [1-9]", metrics, re.MULTILINE), name


def test_holds_what_it_runs(pod: Pod) -> None:
    """Every module of it can be imported and is compiled; there is no shell, no pip and no test in it."""
    uncompiled, programs, needless = python(pod.sidecar, PRINT_CONTENTS).splitlines()
    assert uncompiled == "[]"
    assert {re.sub(r"^python.*", "python", name) for name in json.loads(programs)} == {"python", "tlsproxy"}
    assert needless == "[]"
    assert "imported" in python(pod.sidecar, IMPORT_ALL)


def test_its_bill_of_materials_is_true(pod: Pod) -> None:
    """The SBOM that `make image` leaves in dist/ names the image's packages, all and no other, with hashes."""
    bill = ROOT / "dist" / f"{IMAGE.rpartition('/')[2]}.cdx.json"
    if not bill.exists():
        pytest.skip(f"{bill} was not made, for cyclonedx-bom could not be installed")
    written = json.loads(bill.read_text())
    assert written["bomFormat"] == "CycloneDX"
    listed = {canonical(one["name"]): one["version"] for one in written["components"]}
    installed = json.loads(python(pod.sidecar, PRINT_PACKAGES))
    assert installed.pop("tlsproxy") == __version__
    assert listed == {canonical(name): version for name, version in installed.items()}
    assert all(one["externalReferences"][0]["hashes"] for one in written["components"])


def canonical(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_is_small() -> None:
    """Bytes without compression, every layer."""
    assert int(podman("image", "inspect", "--format", "{{.Size}}", IMAGE)) < MOST_BYTES


def test_knows_how_to_ask_itself() -> None:
    """The HEALTHCHECK is in the image, which is of the format that has one."""
    (found,) = json.loads(podman("image", "inspect", IMAGE))
    assert found["Healthcheck"]["Test"] == ["CMD", "tlsproxy", "health"]


def test_variables_are_the_images() -> None:
    """`config` in the image says what it says anywhere: the image's own variables change nothing."""
    shown = podman("run", "--rm", IMAGE, "config")
    lines = [line.partition("  ")[0] for line in shown.splitlines() if line.startswith("TLSPROXY_")]
    values = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
    assert values == environment.shown(Settings())


def test_two_variables_and_a_volume(pod: Pod) -> None:
    """An app on the pod's loopback gets HTTPS that curl verifies, a rotation, and an end that loses no request."""
    answer = subprocess.run(pod.curl("/"), capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "/ over https\n"), answer.stderr
    assert "[+]app" in podman("exec", pod.sidecar, "tlsproxy", "health")

    before = serial(pod.port)
    make_pair(pod.certificates)
    wait_until(lambda: serial(pod.port) != before, "the new certificate is served", 10)

    slow = subprocess.Popen(pod.curl("/slow"), stdout=subprocess.PIPE, text=True)
    wait_until(lambda: "slow" in pod.logs(pod.app), "the app has the slow request")
    podman("stop", pod.sidecar)
    assert slow.communicate(timeout=20)[0] == "/slow over https\n"
    assert status(pod.sidecar) == 0
    assert "Traceback" not in pod.logs(pod.sidecar)
