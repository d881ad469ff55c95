"""The images as operators run them: a read-only root, no user, no capabilities, one volume and two variables.

The app is a container beside the proxy's in the same pod, which listens on that pod's loopback address alone. What is
in the images of the companions is looked at here too; their pods have files of their own.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.podman import IMAGE, ROOT, image_of, make_pair, podman, serial, status
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tlsproxy import __version__
from tlsproxy.chassis import environment
from tlsproxy.companions.configsync.settings import Settings as ConfigsyncSettings
from tlsproxy.companions.topz.settings import Settings as TopzSettings
from tlsproxy.settings import Settings

HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
APP_PORT = 9000
MOST_BYTES = 90_000_000  # 25 million more with the symbols of its libraries
SOURCES = "app.json=http://127.0.0.1/"
SETTINGS: Mapping[str, environment.Environment] = {
    "tlsproxy": Settings(),
    "topz": TopzSettings(),
    "configsync": environment.read(ConfigsyncSettings, {"CONFIGSYNC_SOURCES": SOURCES}).settings,
}
"""Of each program, as its image has them where nothing is set but what has to be."""
ONLY_IN = {"psutil": "topz", "yaml": "configsync", "jsonschema": "configsync"}
COMPANIONS = {"topz": {"topz"}, "configsync": {"configsync", "rollout"}}
each = pytest.mark.parametrize("program", SETTINGS)
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
import importlib.util, json, pkgutil, tlsproxy
names = [module.name for module in pkgutil.walk_packages(tlsproxy.__path__, "tlsproxy.")]
for name in names:
    if not name.startswith(("tlsproxy.inject", "tlsproxy.import_nginx")) and not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([name for name in names if name.startswith("tlsproxy.companions.")]))
print(json.dumps([name for name in ("psutil", "yaml", "jsonschema") if importlib.util.find_spec(name)]))
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


def inside(program: str, source: str) -> list[str]:
    """The lines that a program prints that the Python of an image runs."""
    return podman(
        "run", "--rm", "--no-healthcheck", "--entrypoint=python", image_of(program), "-c", source
    ).splitlines()


@each
def test_holds_what_it_runs(program: str) -> None:
    """Every module of it can be imported and is compiled; there is no shell, no pip and no test in it."""
    uncompiled, programs, needless = inside(program, PRINT_CONTENTS)
    assert uncompiled == "[]"
    assert {re.sub(r"^python.*", "python", name) for name in json.loads(programs)} == {"python", program}
    assert needless == "[]"
    companions, libraries = map(json.loads, inside(program, IMPORT_ALL))
    assert {name.split(".")[2] for name in companions} == COMPANIONS.get(program, set())
    assert libraries == [library for library, only in ONLY_IN.items() if only == program]


@each
def test_its_bill_of_materials_is_true(program: str) -> None:
    """The SBOM that `make images` leaves in dist/ names the image's packages, all and no other, with hashes."""
    bill = ROOT / "dist" / f"{image_of(program).rpartition('/')[2]}.cdx.json"
    if not bill.exists():
        pytest.skip(f"{bill} was not made, for cyclonedx-bom could not be installed")
    written = json.loads(bill.read_text())
    assert written["bomFormat"] == "CycloneDX"
    listed = {canonical(one["name"]): one["version"] for one in written["components"]}
    (printed,) = inside(program, PRINT_PACKAGES)
    installed = json.loads(printed)
    assert installed.pop("tlsproxy") == __version__
    assert listed == {canonical(name): version for name, version in installed.items()}
    assert all(one["externalReferences"][0]["hashes"] for one in written["components"])


def canonical(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@each
def test_is_small(program: str) -> None:
    """Bytes without compression, every layer."""
    assert int(podman("image", "inspect", "--format", "{{.Size}}", image_of(program))) < MOST_BYTES


@each
def test_shares_the_system(program: str) -> None:
    """The layer with Python and the system's libraries is that of the proxy: who has one of the images has it."""
    ours, theirs = (
        json.loads(podman("image", "inspect", image))[0]["RootFS"]["Layers"] for image in (IMAGE, image_of(program))
    )
    assert ours[0] == theirs[0]


@each
def test_knows_how_to_ask_itself(program: str) -> None:
    """The HEALTHCHECK is in the image, which is of the format that has one."""
    (found,) = json.loads(podman("image", "inspect", image_of(program)))
    assert found["Healthcheck"]["Test"] == ["CMD", program, "health"]


@each
def test_variables_are_the_images(program: str) -> None:
    """`config` in the image says what it says anywhere: the image's own variables change nothing."""
    settings = SETTINGS[program]
    needed = f"--env=CONFIGSYNC_SOURCES={SOURCES}"
    shown = podman("run", "--rm", needed, image_of(program), "config")
    lines = [line.partition("  ")[0] for line in shown.splitlines() if line.startswith(settings.PREFIX)]
    values = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
    assert values == environment.shown(settings)


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
