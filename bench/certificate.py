"""The certificate that every front serves: ECDSA P-256, for localhost, from a CA made for the run."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Certificate:
    """PEM files; `chain` and `key` lie in their directory as `tls.crt` and `tls.key`."""

    chain: Path
    key: Path
    ca: Path

    def copy(self, directory: Path) -> "Certificate":
        """The same in a directory that is made for it."""
        directory.mkdir()
        return Certificate(*(Path(shutil.copy(path, directory)) for path in (self.chain, self.key, self.ca)))

    def replace(self, other: "Certificate") -> None:
        """Puts the other's pair in this one's place, each file by a rename; a short moment they do not match."""
        for old, new in ((self.chain, other.chain), (self.key, other.key)):
            fresh = old.with_suffix(".new")
            shutil.copy(new, fresh)
            fresh.rename(old)


def make(directory: Path) -> Certificate:
    """Writes the files into a directory of their own, which must exist and be private."""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = ca.issue_cert(*NAMES, key_type=trustme.KeyType.ECDSA)
    made = Certificate(directory / "tls.crt", directory / "tls.key", directory / "ca.pem")
    made.chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    made.key.write_bytes(leaf.private_key_pem.bytes())
    ca.cert_pem.write_to_path(made.ca)
    return made
