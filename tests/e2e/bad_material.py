"""Everything that can be wrong with mounted material, as a table: how it is made of a good pair, and what is said."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.e2e.certificates import Pair, place
from tests.tls import material

BEYOND = 2 * 1024 * 1024
"""Bytes: more than any file of a certificate has."""


@dataclass(frozen=True)
class Fault:
    """One way of being wrong."""

    make: Callable[[Path], object]
    """Spoils a directory in which a good tls.crt and tls.key lie."""
    said: str
    """A part of the message."""


def change(file: str, how: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Other content in the file's place."""
    return lambda directory: (directory / file).write_bytes(how((directory / file).read_bytes()))


def instead(file: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else than a file at the file's path."""

    def replace(directory: Path) -> None:
        (directory / file).unlink()
        make(directory / file)

    return replace


def pair(request: material.Request) -> Callable[[Path], object]:
    """A pair that belongs together, as whoever asked for it gets it."""
    return lambda directory: place(directory, Pair(*request.issue().pair))


def garbled(content: bytes) -> bytes:
    """PEM's first and last line around something else."""
    first, *_, last = content.splitlines(keepends=True)
    return first + b"A" * 64 + b"\n" + last


def certificate_in_der(content: bytes) -> bytes:
    return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)


def key_in_der(content: bytes) -> bytes:
    return load_pem_private_key(content, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def encrypted(form: PrivateFormat) -> Callable[[bytes], bytes]:
    locked = BestAvailableEncryption(b"secret")
    return lambda content: load_pem_private_key(content, None).private_bytes(Encoding.PEM, form, locked)


def unreadable(path: Path) -> None:
    """A file that can't be read, by root neither: the kernel answers EIO at offset 0 (proc(5))."""
    path.symlink_to("/proc/self/mem")


def signed_with_sha1(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        place(directory, Pair(*material.signed_with_sha1(Path(elsewhere), selfsigned=False)))


def a_file(directory: Path) -> None:
    """The directory is one no more."""
    shutil.rmtree(directory)
    directory.write_bytes(b"")


def nothing(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


CRT, KEY = "tls.crt", "tls.key"
OTHER = Pair(*material.Request().issue().pair)
NOT_PEM = b"\x00\xff no PEM\n"

BAD: dict[str, Fault] = {
    "another-key": Fault(change(KEY, lambda _: OTHER.key), "they are of different pairs"),
    "another-certificate": Fault(change(CRT, lambda _: OTHER.chain), "they are of different pairs"),
    "key-for-certificate": Fault(change(CRT, lambda _: OTHER.key), "holds a private key only"),
    "certificate-for-key": Fault(change(KEY, lambda _: OTHER.chain), "holds no private key"),
    "truncated-certificate": Fault(change(CRT, lambda content: content[:300]), "tls.crt is cut off"),
    "truncated-key": Fault(change(KEY, lambda content: content[:100]), "tls.key is cut off"),
    "truncated-chain": Fault(change(CRT, lambda content: content + content[:300]), "tls.crt is cut off"),
    "empty-certificate": Fault(change(CRT, lambda _: b""), "tls.crt is empty"),
    "empty-key": Fault(change(KEY, lambda _: b"\n"), "tls.key is empty"),
    "garbage-for-certificate": Fault(change(CRT, lambda _: NOT_PEM), "tls.crt is not PEM"),
    "garbage-for-key": Fault(change(KEY, lambda _: NOT_PEM), "tls.key is not PEM"),
    "garbage-in-certificate": Fault(change(CRT, garbled), "holds a damaged certificate"),
    "garbage-in-key": Fault(change(KEY, garbled), "holds a damaged private key"),
    "garbage-in-chain": Fault(change(CRT, lambda content: content + garbled(content)), "holds a damaged certificate"),
    "der-certificate": Fault(change(CRT, certificate_in_der), "tls.crt is binary (DER or PKCS#12)"),
    "der-key": Fault(change(KEY, key_in_der), "tls.key is binary (DER or PKCS#12)"),
    "utf-16": Fault(change(CRT, lambda content: content.decode().encode("utf-16")), "tls.crt is UTF-16"),
    "trust-store": Fault(
        change(CRT, lambda _: b"".join(material.Request().issue().pair[0] for _ in range(20))), "holds 20 certificates"
    ),
    "two-keys": Fault(change(KEY, lambda content: content + OTHER.key), "holds 2 private keys"),
    "encrypted-key": Fault(change(KEY, encrypted(PrivateFormat.PKCS8)), "is encrypted"),
    "encrypted-old-key": Fault(change(KEY, encrypted(PrivateFormat.TraditionalOpenSSL)), "is encrypted"),
    "huge-certificate": Fault(change(CRT, lambda content: content.ljust(BEYOND, b"\n")), "tls.crt is larger than"),
    "huge-key": Fault(change(KEY, lambda content: content.ljust(BEYOND, b"\n")), "tls.key is larger than"),
    "endless-certificate": Fault(instead(CRT, lambda path: path.symlink_to("/dev/zero")), "is not a regular file"),
    "directory-for-certificate": Fault(instead(CRT, Path.mkdir), "tls.crt is not a regular file"),
    "directory-for-key": Fault(instead(KEY, Path.mkdir), "tls.key is not a regular file"),
    "fifo-for-certificate": Fault(instead(CRT, os.mkfifo), "tls.crt is not a regular file"),
    "fifo-for-key": Fault(instead(KEY, os.mkfifo), "tls.key is not a regular file"),
    "link-in-a-circle": Fault(instead(CRT, lambda path: path.symlink_to(path.name)), "Too many levels of symbolic"),
    "link-to-nowhere": Fault(instead(KEY, lambda path: path.symlink_to("absent")), "links to absent"),
    "unreadable-certificate": Fault(instead(CRT, unreadable), "tls.crt cannot be read"),
    "unreadable-key": Fault(instead(KEY, unreadable), "tls.key cannot be read"),
    "missing-certificate": Fault(instead(CRT, lambda _: None), "tls.key is there, but"),
    "missing-key": Fault(instead(KEY, lambda _: None), "tls.crt is there, but"),
    "missing-files": Fault(nothing, "no certificate named"),
    "missing-directory": Fault(shutil.rmtree, "no certificate named"),
    "file-for-directory": Fault(a_file, "no certificate named"),
    "rsa-1024": Fault(pair(material.Request(key=material.key("rsa-1024"))), "RSA key of 1024 bits"),
    "p-521": Fault(pair(material.Request(key=material.key("secp521r1"))), "on the curve secp521r1"),
    "sha-1": Fault(signed_with_sha1, "is signed with SHA-1"),
    "not-for-signing": Fault(
        pair(material.Request(extensions=((material.NOT_FOR_SIGNING, True),))), "no client could connect"
    ),
}
"""What is never served."""

OUT_OF_DATES: dict[str, Fault] = {
    "expired": Fault(
        pair(material.Request(not_before=material.NOW - 9 * material.DAY, not_after=material.NOW - material.DAY)),
        "holds a certificate that is expired",
    ),
    "not-yet-valid": Fault(
        pair(material.Request(not_before=material.NOW + material.DAY)), "holds a certificate that is not yet valid"
    ),
}
"""What is served only where nothing valid has been."""


def wrong_order(directory: Path) -> None:
    chain = material.chain()
    content = material.pem(chain.upper.certificate, chain.leaf.certificate, chain.lower.certificate)
    place(directory, Pair(content, chain.leaf.pair[1]))


def missing_intermediate(directory: Path) -> None:
    place(directory, Pair(*material.chain().leaf.pair))


FLAWED: dict[str, Fault] = {
    "wrong-order": Fault(wrong_order, "the chain is not in order"),
    "missing-intermediate": Fault(missing_intermediate, "comes without its issuer, CN=lower"),
}
"""What is served, mended where that can be done, with a warning."""
