"""The commands: what each says and with which status it ends."""

import json
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.e2e.certificates import issue, place
from tests.e2e.commands import run
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.ports import free_port
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import PROJECT
from tlsproxy import __version__

VERBS = ["run", "check", "health", "config", "demo", "dev-cert"]


def ports() -> dict[str, object]:
    """Free ones, on loopback."""
    return {
        "LISTEN_HOST": "127.0.0.1",
        "ADMIN_HOST": "127.0.0.1",
        "LISTEN_PORT": free_port(),
        "ADMIN_PORT": free_port(),
    }


# check


def test_check_finds_everything_well(app: ScriptedApp, certificate_dir: Path) -> None:
    """check tells settings, certificate, ports and app, and ends with status 0."""
    done = run("check", **ports(), CERT_DIR=certificate_dir, APP_PORT=app.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[-]" not in done.stdout
    for part in (
        "[+] settings",
        "[+] certificate tls: ",
        "valid until",
        "TLSPROXY_LISTEN_PORT=",
        f"127.0.0.1:{app.port}",
    ):
        assert part in done.stdout


def test_check_finds_a_bad_certificate(app: ScriptedApp, authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate that can't be served is what run would end with: status 3, and its reason."""
    place(tmp_path, issue(authority))
    (tmp_path / "tls.key").write_bytes(issue(authority).key)
    done = run("check", **ports(), CERT_DIR=tmp_path, APP_PORT=app.port)
    assert done.returncode == 3
    assert "[-] certificate tls: " in done.stdout
    assert "does not match" in done.stdout


def test_check_finds_a_port_taken(app: ScriptedApp, certificate_dir: Path) -> None:
    """A port that can't be had is status 4, and all else is told as well."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run("check", **ports() | {"LISTEN_PORT": port}, CERT_DIR=certificate_dir, APP_PORT=app.port)
    assert done.returncode == 4
    assert f"[-] TLSPROXY_LISTEN_PORT={port}: another process listens there" in done.stdout
    assert "[+] certificate tls: " in done.stdout


def test_check_only_notes_an_absent_app(certificate_dir: Path) -> None:
    """An app that does not answer would stop nothing, so the status is 0."""
    port = free_port()
    done = run("check", **ports(), CERT_DIR=certificate_dir, APP_PORT=port)
    assert done.returncode == 0
    assert f"app at 127.0.0.1:{port}: connection refused" in done.stdout


# config


def test_config_shows_what_counts_and_why() -> None:
    """config prints each variable as one would set it in a shell, and where its value comes from."""
    done = run("config", APP_PORT=3000, CERT_NAME="shop", MAX_BODY="10m")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {line.partition("  # ")[0].strip(): line.rpartition("  # ")[2] for line in done.stdout.splitlines()}
    assert shown["TLSPROXY_APP_PORT=3000"] == "environment"
    assert shown["TLSPROXY_MAX_BODY=10m"] == "environment"
    assert shown["TLSPROXY_APP_HOST=127.0.0.1"] == "default"
    assert all(len(shlex.split(line)) == 1 for line in shown)


def test_config_prints_a_schema() -> None:
    """config --schema is JSON Schema with every variable, whatever the environment holds."""
    done = run("config", "--schema", APP_PORT="bad")
    schema = json.loads(done.stdout)
    assert done.returncode == 0
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["TLSPROXY_APP_PORT"]["default"] == "8080"


def test_config_prints_the_readmes_table() -> None:
    """config --docs is the table that stands in the README."""
    done = run("config", "--docs")
    assert done.returncode == 0
    assert done.stdout.strip() in (PROJECT / "README.md").read_text()


# health


def test_health_asks_the_running_sidecar(sidecar: Launch) -> None:
    """health prints /readyz and ends with status 0 when it is ready, else with 1."""
    port = free_port()
    process = sidecar(APP_PORT=port, APP_CHECK="tcp")
    variables = {"ADMIN_PORT": process.admin_port, "ADMIN_HOST": "127.0.0.1"}
    unready = run("health", **variables)
    assert (unready.returncode, unready.stderr) == (1, "")
    assert "[-]app: connection refused" in unready.stdout
    with ScriptedApp(port=port):
        wait_until(lambda: process.ask_admin("/readyz").status == 200, "ready")
        ready = run("health", **variables)
    assert (ready.returncode, ready.stderr) == (0, "")
    assert "[+]app\n" in ready.stdout


def test_health_without_a_sidecar() -> None:
    """health says where nobody answered, or that the port is off, and ends with status 1."""
    port = free_port()
    done = run("health", ADMIN_PORT=port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in done.stderr
    off = run("health", ADMIN_PORT=0)
    assert off.returncode == 1
    assert "TLSPROXY_ADMIN_PORT=0" in off.stderr


# dev-cert


def test_dev_cert_writes_what_the_sidecar_serves(sidecar: Launch, app: ScriptedApp, tmp_path: Path) -> None:
    """dev-cert makes a directory that serves as CERT_DIR, with a key that its owner alone may read."""
    directory = tmp_path / "certs"
    done = run("dev-cert", str(directory), "shop.test")
    assert (done.returncode, done.stderr) == (0, "")
    written = [Path(line) for line in done.stdout.splitlines()]
    assert written == [directory / name for name in ("tls.crt", "tls.key", "ca.crt")]
    assert stat.S_IMODE((directory / "tls.key").stat().st_mode) == 0o600
    process = sidecar(CERT_DIR=directory)
    with process.connect(ssl.create_default_context(cafile=str(directory / "ca.crt"))) as client:
        assert client.get().status == 200
    assert process.certificate()["names"] == ["localhost", "shop.test", "127.0.0.1", "::1"]


def test_dev_cert_overwrites_only_when_forced(tmp_path: Path) -> None:
    """dev-cert leaves files that exist alone and says so, unless --force is given."""
    (tmp_path / "tls.crt").write_text("mine")
    refused = run("dev-cert", str(tmp_path))
    assert refused.returncode == 1
    assert str(tmp_path / "tls.crt") in refused.stderr
    assert "force" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tls.crt"]
    assert (tmp_path / "tls.crt").read_text() == "mine"
    assert run("dev-cert", str(tmp_path), "--force").returncode == 0
    assert (tmp_path / "tls.crt").read_text() != "mine"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (package openssl)")
def test_dev_cert_verifies_with_openssl(tmp_path: Path) -> None:
    """OpenSSL verifies the certificate strictly for each of its names."""
    assert run("dev-cert", str(tmp_path), "shop.test").returncode == 0
    for name in (["-verify_hostname", "shop.test"], ["-verify_hostname", "localhost"], ["-verify_ip", "::1"]):
        verified = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *name, "-CAfile", "ca.crt", "tls.crt"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("name", ["a b", "https://shop.test"])
def test_dev_cert_refuses_what_is_no_name(tmp_path: Path, name: str) -> None:
    """A name that no certificate can hold is named, and nothing is written."""
    done = run("dev-cert", str(tmp_path / "certs"), name)
    assert done.returncode == 1
    assert name in done.stderr
    assert not (tmp_path / "certs").exists()


# The command line itself


def test_version() -> None:
    """--version prints name and version."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"tlsproxy {__version__}\n")


def test_help_names_every_verb() -> None:
    """--help lists the verbs and the two variables that matter."""
    done = run("--help")
    assert done.returncode == 0
    for word in (*VERBS, "TLSPROXY_CERT_NAME", "TLSPROXY_APP_PORT"):
        assert word in done.stdout


def test_help_is_instant() -> None:
    """--help loads none of what the verbs need."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tlsproxy", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tlsproxy.cli" in loaded
    assert loaded.isdisjoint({"aiohttp", "asyncio", "ssl", "pydantic", "cryptography", "uvloop", "prometheus_client"})


@pytest.mark.parametrize(
    "arguments", [("serve",), ("run", "--port", "1"), ("config", "--schema", "--docs"), ("dev-cert",)]
)
def test_a_wrong_command_line_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """What is no command ends with status 2, a usage line and the offending words."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: tlsproxy")
    assert "error: " in done.stderr
