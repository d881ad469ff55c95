"""The demo's story and its transcript: start everything, one request, one rotation, and how to go on by hand."""

import http.client
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tlsproxy.chassis.exits import Exit
from tlsproxy.chassis.terminal import Terminal
from tlsproxy.demo.client import HOST, Client, trusting
from tlsproxy.demo.frame import DemoError, last_words, perform, stay
from tlsproxy.demo.legacy_app import legacy_app
from tlsproxy.demo.mounted_secret import publish
from tlsproxy.demo.sidecar_process import SidecarProcess, reserved_ports, sidecar_process
from tlsproxy.demo.traffic import FRESH, KEPT, SWAP_WITHIN, Traffic
from tlsproxy.tls.development import make

NAME = "legacy-app"


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on."""

    terminal: Terminal
    sidecar: SidecarProcess
    app_port: int
    port: int
    certificates: Path
    """The mounted Secret."""

    @property
    def url(self) -> str:
        """The sidecar's."""
        return f"https://{HOST}:{self.port}/"


def demo(port: int) -> Exit:
    """Show the sidecar at work, in a temporary directory and on loopback alone; nothing is left behind.

    On a terminal it stays up until Ctrl-C; otherwise it ends with the transcript.

    Args:
        port: for HTTPS; 0: a free one.

    Returns:
        FAILED when a request was lost or anything else went wrong, which has been said.
    """
    return perform(lambda terminal, stack: _play(_stage(terminal, stack, port)))


def _stage(terminal: Terminal, stack: ExitStack, port: int) -> Stage:
    """Everything that runs, for as long as the stack lasts."""
    directory = Path(stack.enter_context(TemporaryDirectory(prefix="tlsproxy-demo-")))
    certificates = directory / "certs" / NAME
    certificates.mkdir(parents=True)
    publish(certificates, make())
    app_port = stack.enter_context(legacy_app())
    free_port, admin_port = stack.enter_context(reserved_ports(2))
    settings = {
        "CERT_NAME": NAME,
        "APP_PORT": app_port,
        "CERT_DIR": certificates.parent,
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": port or free_port,
        "EXTERNAL_PORT": port or free_port,
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": admin_port,
        "LOG_FORMAT": "text",
    }
    sidecar = stack.enter_context(sidecar_process(settings, admin_port, directory / "diagnostics"))
    return Stage(terminal, sidecar, app_port, port or free_port, certificates)


def _play(stage: Stage) -> None:
    """The transcript, from the two variables to the end."""
    with last_words(stage.terminal, stage.sidecar):
        _show_start(stage)
        _show_request(stage)
        _show_rotation(stage)
        _show_commands(stage)
        stay(stage.terminal, stage.sidecar)


def _show_start(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("The two variables that matter")
    terminal.code(f"TLSPROXY_CERT_NAME={NAME}\nTLSPROXY_APP_PORT={stage.app_port}")
    terminal.note("All others only keep the demo on loopback, on free ports and out of /certs.")
    terminal.title("Start")
    terminal.tick(f"a legacy app that speaks plain HTTP, on port {stage.app_port}")
    terminal.tick(f"a development CA and certificate, mounted as a Secret at {stage.certificates}")
    stage.sidecar.await_ready()
    terminal.tick(f"the sidecar is ready on {stage.url}")


def _show_request(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("A verified HTTPS request")
    try:
        with Client(stage.port, trusting((stage.certificates / "ca.crt").read_bytes())) as client:
            answer = client.get("/")
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"GET {stage.url}: {error}") from error
    if answer.status != 200:
        raise DemoError(f"GET {stage.url}: {answer.head.splitlines()[0]}")
    terminal.tick(f"{client.version}, the certificate is for {HOST} and from the CA")
    terminal.tick(f"serial {client.serial}")
    terminal.code(f"GET {stage.url}\n\n{answer.head}")
    terminal.title("What the app saw")
    terminal.code(answer.body.decode().rstrip())


def _show_rotation(stage: Stage) -> None:
    """A rotation as Kubernetes makes it, while requests run."""
    terminal = stage.terminal
    terminal.title("A rotation while requests run")
    new = make()
    # As every development certificate has a CA of its own, the clients trust both.
    traffic = Traffic(stage.port, trusting((stage.certificates / "ca.crt").read_bytes(), new.ca_pem))
    rotation = traffic.rotate(
        lambda: publish(stage.certificates, new),
        lambda done, total: terminal.progress(done, total, f"requests on each of {KEPT + FRESH} threads"),
    )
    sent = rotation.kept + rotation.fresh
    if rotation.lost:
        raise DemoError(f"requests lost: {len(rotation.lost)} of {sent} ({'; '.join(rotation.lost)})")
    if not rotation.new:
        raise DemoError(f"the new certificate was not served within {SWAP_WITHIN:g} s, still serial {rotation.old}")
    terminal.tick(f"old serial {rotation.old}")
    terminal.tick(f"new serial {rotation.new}")
    terminal.tick(f"{rotation.seconds * 1000:.0f} ms from the swap to the first handshake with the new one")
    terminal.tick(f"requests sent: {sent} ({rotation.kept} over kept connections, {rotation.fresh} over new ones)")
    terminal.tick("requests lost: 0")


def _show_commands(stage: Stage) -> None:
    terminal = stage.terminal
    terminal.title("By hand")
    terminal.note("A request:")
    terminal.code(shlex.join(["curl", "--cacert", str(stage.certificates / "ca.crt"), stage.url]))
    terminal.note("A rotation; it brings a new CA too, in the file that the request trusts:")
    terminal.code(shlex.join([sys.executable, "-m", "tlsproxy", "dev-cert", str(stage.certificates), "--force"]))
