"""tlsproxy/tls/key_exchange.py."""

import ssl

import pytest

from tests.tls.material import NOW, Request, key, material
from tlsproxy.tls.checks import check
from tlsproxy.tls.context import PROFILES, ProfileName, build
from tlsproxy.tls.key_exchange import is_post_quantum

PAIR = Request(key=key("secp256r1")).issue().pair


def context(profile: ProfileName = "intermediate") -> ssl.SSLContext:
    return build(check(material(*PAIR), NOW), profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_new_openssl_is_post_quantum(profile: ProfileName) -> None:
    """OpenSSL 3.5 and newer agree on X25519MLKEM768 with whoever has it, older ones do not have it."""
    assert is_post_quantum(context(profile)) is (ssl.OPENSSL_VERSION_INFO >= (3, 5))


def test_a_context_of_one_curve_is_not() -> None:
    """What counts is what the context agrees on, not what OpenSSL could do."""
    narrow = context()
    narrow.set_ecdh_curve("X25519")
    assert not is_post_quantum(narrow)


def test_a_context_that_serves_nobody_is_not() -> None:
    """A handshake that fails is no post-quantum one."""
    assert not is_post_quantum(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
