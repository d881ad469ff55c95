"""Whether a context agrees on a post-quantum key exchange: asked of OpenSSL itself, by a handshake in memory.

Before Python 3.15 no program can name the groups of a context: they are OpenSSL's own, or its configuration file's.
"""

import ssl
from contextlib import suppress

# The server's share of X25519MLKEM768 holds an ML-KEM ciphertext of so many bytes (FIPS 203, table 3), with which no
# other ServerHello is as long.
_CIPHERTEXT = 1088
_RECORD_HEADER = 5


def is_post_quantum(context: ssl.SSLContext) -> bool:
    """Whether a client of the same OpenSSL gets X25519MLKEM768, which OpenSSL 3.5 and newer prefer by default.

    Args:
        context: a server's, with a certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _anyones_friend().wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        with suppress(ssl.SSLError):  # one flight each is all that is asked for
            side.do_handshake()
    # ServerHello is the first of it, in a record of its own (RFC 8446 section 5.1: keys change behind it).
    return int.from_bytes(to_client.read(_RECORD_HEADER)[3:]) > _CIPHERTEXT


def _anyones_friend() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
