"""topz behind tlsproxy, for clients that show a certificate; and what it costs beside hundreds of processes."""

import os
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests.companions.topz.running import running
from tests.e2e.certificates import mount_certificate
from tests.e2e.client_certificates import issue_client, showing
from tests.e2e.conftest import Launch

pytestmark = pytest.mark.soak

PAGES = 5
MOST_OF_A_CORE = 0.01
REFRESH = 5.0
"""Seconds between two pages, by default."""
MOST_MEMORY = 44 * 1024
"""kB resident, metrics and one process's page included; 40 MB are the aim, and an interpreter's build matters."""


def test_client_certificates_take_the_tokens_place(launch: Launch, authority: trustme.CA, tmp_path: Path) -> None:
    """Who shows a certificate sees the page over HTTPS, whatever it is called there; nobody else does."""
    issuer = trustme.CA(key_type=trustme.KeyType.ECDSA)
    mounted = tmp_path / "certs"
    mounted.mkdir()
    mount_certificate(authority, mounted)
    (mounted / "ca.crt").write_bytes(issuer.cert_pem.bytes())
    context = showing(authority, issue_client(issuer, tmp_path, "operator"), ssl.TLSVersion.TLSv1_3)
    with (
        running(tmp_path) as topz,
        launch(APP_PORT=topz.port, CERT_DIR=mounted, CLIENT_AUTH="required") as sidecar,
    ):
        with sidecar.connect(context) as client:
            answer = client.get("/topz", "User-Agent: Mozilla/5.0", "Accept: text/html")
            assert answer.status == 200
            assert b"<h1>topz: " in answer.body
            assert client.get(f"/topz/{os.getpid()}").status == 200
            assert client.get("/").get(b"Location") == b"/topz"
        with pytest.raises(ssl.SSLError), sidecar.connect() as client:
            client.get("/topz")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_what_a_viewer_costs(tmp_path: Path) -> None:
    """Beside 300 processes a page takes less than a hundredth of the time until the next one, and memory is small."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(300)]
    try:
        with running(tmp_path, SAMPLE="1s") as topz:
            pid = topz.process._process.pid
            browser = {"User-Agent": "Mozilla/5.0"}
            topz.get("/topz", fields=browser)
            before = cpu_seconds(pid)
            for _ in range(PAGES):
                # As far apart as looks are; a wait in between is what a viewer does.
                time.sleep(1.0)
                assert topz.get("/topz", fields=browser).status == 200
            assert (cpu_seconds(pid) - before) / PAGES < MOST_OF_A_CORE * REFRESH
            assert topz.get(f"/topz/{pid}").status == 200
            assert topz.get("/metrics", admin=True).status == 200
            assert resident(pid) < MOST_MEMORY
    finally:
        for sleeper in sleepers:
            sleeper.kill()
        for sleeper in sleepers:
            sleeper.wait()
