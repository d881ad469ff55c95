"""What is shown to be let in: read anew, checked, and in no message."""

import ssl
from pathlib import Path

import pytest
import trustme

from tests.companions.configsync.sources.serving import AUTHORITY, authority_file
from tlsproxy.companions.configsync.sources.content import SourceError
from tlsproxy.companions.configsync.sources.credentials import Credentials, TlsContext


def test_a_token_goes_before_a_password() -> None:
    """One field is sent, and none where there are no credentials."""
    assert Credentials(token=lambda: " t\n", login=lambda: ("u", "p")).authorization() == "Bearer t"
    assert Credentials(login=lambda: ("u", "p")).authorization() == "Basic dTpw"
    assert Credentials().authorization() is None


def test_strangers_get_the_authority_alone(tmp_path: Path) -> None:
    """Trust is no secret; all else is."""
    given = Credentials(lambda: "t", lambda: ("u", "p"), tmp_path / "c", tmp_path / "k", tmp_path / "a")
    assert given.for_strangers() == Credentials(authority=tmp_path / "a")
    assert given.for_tls() == Credentials(None, None, tmp_path / "c", tmp_path / "k", tmp_path / "a")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(SourceError, match=r"the token can't be read: .*/token: No such file"):
        Credentials(token=(tmp_path / "token").read_text).authorization()


def test_what_can_not_be_decoded(tmp_path: Path) -> None:
    """It is not quoted."""
    (tmp_path / "token").write_bytes(b"secret\xff")
    with pytest.raises(SourceError, match=r"^the token can't be read: what is there is no text$"):
        Credentials(token=(tmp_path / "token").read_text).authorization()


@pytest.mark.parametrize("login", [("", "p"), ("a:b", "p"), ("u", "p\r\nX: y")])
def test_logins_that_can_not_be_sent(login: tuple[str, str]) -> None:
    """RFC 7617: no colon in a user, and no control characters."""
    with pytest.raises(SourceError, match="can't be sent"):
        Credentials(login=lambda: login).authorization()


def test_without_files_the_systems_authorities_are_trusted() -> None:
    """By a context of our own, which is made once: the library's have read none (chassis/imports)."""
    tls = TlsContext(Credentials())
    assert tls.current().verify_mode is ssl.CERT_REQUIRED
    assert tls.current() is tls.current()


def test_a_context_is_made_once(tmp_path: Path) -> None:
    """And anew when its file has changed; a file that can't be used in between leaves the last good one in place."""
    tls = TlsContext(Credentials(authority=authority_file(tmp_path)))
    first = tls.current()
    assert tls.current() is first
    (tmp_path / "ca.pem").write_text("half of a")
    assert tls.current() is first
    (tmp_path / "ca.pem").unlink()
    assert tls.current() is first
    authority_file(tmp_path, trustme.CA())
    assert tls.current() is not first


def test_files_that_never_worked(tmp_path: Path) -> None:
    """They are named, and what is in them is not quoted; a key with a passphrase asks nobody."""
    authority_file(tmp_path)
    missing = Credentials(authority=tmp_path / "none.pem")
    with pytest.raises(SourceError, match=r"none\.pem: No such file"):
        TlsContext(missing).current()
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(SourceError, match=r"bad\.pem: "):
        TlsContext(Credentials(certificate=tmp_path / "bad.pem")).current()
    assert AUTHORITY.cert_pem.bytes() not in str(missing).encode()
