"""testssl.sh against the running process, with each profile: it finds nothing to object to.

It takes a minute a scan, so it is no everyday test: `make test ARGS='-m scan -rP'`, or `.ci/run tls`.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.e2e.conftest import Launch
from tests.e2e.programs import program
from tests.e2e.scripted_app import ScriptedApp, response
from tests.tls.material import Issued, Request, key, pem, put

SCAN_WITHIN = 150
ABOVE_LOW = frozenset({"MEDIUM", "HIGH", "CRITICAL", "FATAL"})
EXPECTED: Mapping[str, frozenset[str]] = {
    # Its suites are all strong, and the guidelines leave the choice to the client.
    "intermediate": frozenset({"cipher_order"}),
    "modern": frozenset(),
}
"""What testssl.sh objects to and the profile wants, by the finding's id."""
OFFERED: Mapping[str, Mapping[str, bool]] = {
    "intermediate": {"SSLv2": False, "SSLv3": False, "TLS1": False, "TLS1_1": False, "TLS1_2": True, "TLS1_3": True},
    "modern": {"SSLv2": False, "SSLv3": False, "TLS1": False, "TLS1_1": False, "TLS1_2": False, "TLS1_3": True},
}
# What a page should say for itself is the app's affair; without it the scan would object to the app.
APPS_OWN = ("X-Frame-Options: DENY", "X-Content-Type-Options: nosniff", "Content-Security-Policy: default-src 'none'")


@pytest.mark.scan
@pytest.mark.timeout(SCAN_WITHIN + 20)
@pytest.mark.parametrize(("profile", "key_type"), [("intermediate", "rsa-2048"), ("modern", "secp256r1")])
def test_nothing_above_low_is_found(
    sidecar: Launch, app: ScriptedApp, profile: str, key_type: str, tmp_path: Path
) -> None:
    """No finding is above LOW, but for those that the profile wants; the versions offered are the profile's."""
    app.answer(lambda _: response(b"hello", *APPS_OWN))
    issuer, leaf = as_a_public_authority_would(key_type)
    put(tmp_path / "certs", leaf.pair)
    (tmp_path / "ca.crt").write_bytes(pem(issuer.certificate))
    process = sidecar(CERT_DIR=tmp_path / "certs", TLS_PROFILE=profile, HSTS="365d")
    findings = scan(process.port, tmp_path)
    tell(profile, key_type, findings)
    assert {name: offers(findings[name]) for name in OFFERED[profile]} == OFFERED[profile]
    assert findings["cert_chain_of_trust"]["severity"] == "OK"
    assert findings["heartbleed"]["severity"] == "OK"
    objections = {name: finding for name, finding in findings.items() if finding["severity"] in ABOVE_LOW}
    assert {name: finding for name, finding in objections.items() if name not in EXPECTED[profile]} == {}


def as_a_public_authority_would(key_type: str) -> tuple[Issued, Issued]:
    """An issuer and a certificate that names a list of revocations, which nobody asks for."""
    issuer = Request("scan", (), ca=True).issue()
    place = x509.DistributionPoint([x509.UniformResourceIdentifier("http://localhost/crl")], None, None, None)
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.CRLDistributionPoints([place]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    )
    return issuer, Request(issuer=issuer, key=key(key_type), extensions=extensions).issue()


def scan(port: int, directory: Path) -> Mapping[str, Mapping[str, str]]:
    """testssl.sh's findings by their ids, without a look at anything but the port."""
    report = directory / "report.json"
    options = ["--quiet", "--warnings=off", "--color=0", "--nodns=none", "--fast", f"--add-ca={directory / 'ca.crt'}"]
    done = subprocess.run(
        [program("testssl", "testssl.sh"), *options, f"--jsonfile={report}", f"localhost:{port}"],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SCAN_WITHIN,
        check=False,  # its status counts what it could not look at as well
    )
    assert report.exists(), done.stdout + done.stderr
    listed: list[dict[str, str]] = json.loads(report.read_text())
    return {finding["id"]: finding for finding in listed}


def offers(finding: Mapping[str, str]) -> bool:
    """Whether a protocol version is offered."""
    return not finding["finding"].startswith("not offered")


def tell(profile: str, key_type: str, findings: Mapping[str, Mapping[str, str]]) -> None:
    """The summary, with the grade where this testssl.sh gives one (3.2 and newer)."""
    grade = findings.get("overall_grade", {"finding": "none given by this version"})["finding"]
    lines = [f"{profile}, {key_type}: {len(findings)} findings, grade: {grade}"]
    for name, finding in findings.items():
        if finding["severity"] not in {"OK", "INFO"}:
            lines.append(f"  {finding['severity']:8} {name}: {finding['finding']}")
    print("\n".join(lines))  # noqa: T201  for who reads the run
