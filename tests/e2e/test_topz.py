"""topz behind tlsproxy: without a token of its own, for clients that show a certificate."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from tests.companions.topz.running import running
from tests.e2e.certificates import mount_certificate
from tests.e2e.client_certificates import issue_client, showing
from tests.e2e.conftest import Launch

pytestmark = pytest.mark.soak


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
