"""tlsproxy/tls/development.py."""

import logging
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from tests.tls.material import NOW, Request, handshake, material, put, strict, trusting
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.context import build
from tlsproxy.tls.development import LIFETIME, Pair, Standby, make, write
from tlsproxy.tls.files import AbsentError, MaterialError, find


def checked(pair: Pair) -> Certificate:
    """As it is mounted, its CA beside it."""
    mounted = replace(material(pair.chain_pem, pair.key_pem), authorities=pair.ca_pem)
    return check(mounted, datetime.now(UTC))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "app.test", "a.wild.test", "10.1.2.3"])
def test_a_strict_client_that_trusts_the_ca_connects(name: str) -> None:
    """The made certificate is verified for localhost's names and those asked for, by the strict rules."""
    pair = make(("app.test", "*.wild.test", "10.1.2.3"))
    client = strict(x509.load_pem_x509_certificate(pair.ca_pem))
    handshake(build(checked(pair), "intermediate"), client, name)


def test_it_is_made_of_nothing_to_warn_about() -> None:
    """The pair passes the checks without a warning and lives a quarter of a year."""
    certificate = checked(make())
    assert certificate.warnings == ()
    assert certificate.key_type == "ECDSA P-256"
    assert certificate.names == ("localhost", "127.0.0.1", "::1")
    assert certificate.dates(NOW + LIFETIME / 2) == "valid"
    assert certificate.dates(NOW + LIFETIME * 1.1) == "expired"


def test_openssl_verifies_it_strictly(tmp_path: Path) -> None:
    """`openssl verify -x509_strict` has nothing to say against CA and certificate."""
    certificate, _, ca = write(tmp_path)
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        str(ca),
        str(certificate),
    ]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.endswith(": OK\n")


def test_the_key_does_not_show() -> None:
    """The value's printed form has no key."""
    assert "key_pem" not in repr(make())


@pytest.mark.parametrize("name", ["", "*.", "bücher.example", "a b", "https://x", "a,b", "host:443"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """A name that no certificate can carry is named and refused."""
    with pytest.raises(MaterialError, match="is neither a host name nor an address"):
        make((name,))


def test_the_written_directory_is_ready_to_serve(tmp_path: Path) -> None:
    """The files lie in the layout of the default name, the key readable by its owner alone, no draft left."""
    directory = tmp_path / "new" / "certs"
    certificate, key, ca = write(directory, ("app.test",))
    assert {path.name for path in directory.iterdir()} == {"tls.crt", "tls.key", "ca.crt"}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "app.test" in check(find(directory, "tls"), datetime.now(UTC)).names
    assert b"BEGIN CERTIFICATE" in ca.read_bytes()
    assert certificate == directory / "tls.crt"


@pytest.mark.parametrize("existing", ["tls.crt", "tls.key", "ca.crt"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, existing: str) -> None:
    """One file of the three that exists is named, kept, and replaced only when forced."""
    (tmp_path / existing).write_text("mine")
    with pytest.raises(MaterialError, match=f"{existing} exists already"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    write(tmp_path, force=True)
    assert (tmp_path / existing).read_text() != "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A directory that cannot be made is refused by name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MaterialError, match="file/certs cannot be written to: Not a directory"):
        write(tmp_path / "file" / "certs")


def test_standby_makes_one_pair_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While none is mounted one pair is made, announced once, and its CA written."""
    ca = tmp_path / "ca.pem"
    standby = Standby("tls", partial(find, tmp_path / "none", "tls"), ca)
    with caplog.at_level(logging.WARNING, "tlsproxy.certificates"):
        made = standby()
        assert standby() is made
    (record,) = caplog.records
    assert "FOR DEVELOPMENT ONLY" in record.getMessage()
    assert str(ca) in record.getMessage()
    client = trusting(x509.load_pem_x509_certificate(ca.read_bytes()))
    certificate = check(made, datetime.now(UTC))
    assert certificate.warnings == ()
    handshake(build(certificate, "intermediate"), client)


def test_the_real_one_takes_over_for_good(tmp_path: Path) -> None:
    """A mounted certificate ends the standby: its later absence is an error."""
    standby = Standby("tls", partial(find, tmp_path, "tls"))
    assert standby().certificate_file == "(made in memory)"
    put(tmp_path, Request().issue().pair)
    assert standby().certificate_file == str(tmp_path / "tls.crt")
    (tmp_path / "tls.crt").unlink()
    (tmp_path / "tls.key").unlink()
    with pytest.raises(AbsentError):
        standby()


def test_standby_does_not_hide_a_bad_mount(tmp_path: Path) -> None:
    """What is mounted and wrong is an error, not an absence."""
    (tmp_path / "tls.crt").write_text("half")
    with pytest.raises(MaterialError, match=r"tls\.key is missing"):
        Standby("tls", partial(find, tmp_path, "tls"))()


def test_a_ca_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The path for the CA is named with its variable when it cannot be written."""
    standby = Standby("tls", partial(find, tmp_path, "tls"), tmp_path / "no" / "ca.pem")
    with pytest.raises(MaterialError, match=r"no/ca\.pem \(TLSPROXY_SELF_SIGNED_CA\) cannot be written"):
        standby()
