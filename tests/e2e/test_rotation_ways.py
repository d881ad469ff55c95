"""Every way in which certificates are renewed in the field: each is noticed by its events alone, and loses nothing."""

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.e2e.certificates import Pair, PrivateKey, issue, issue_with, place, swap_secret
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.test_rotation import NEVER, assert_noticed, drift, reloads
from tests.e2e.traffic import Traffic, echo

pytestmark = pytest.mark.soak

BETWEEN = 0.6
"""Seconds between two writes: longer than a burst of events."""

_numbers = count(1)


# Each of these mounts a pair in CERT_DIR where there is none, and renews it where there is.


def kubelet(directory: Path, pair: Pair) -> None:
    """A Secret, mounted as CERT_DIR."""
    swap_secret(directory, pair)


def cert_manager(directory: Path, pair: Pair) -> None:
    """A Secret of cert-manager's, with the issuer in a file of its own, mounted under the certificate's name."""
    mounted = directory / "tls"
    mounted.mkdir(exist_ok=True)
    swap_secret(mounted, pair)
    (mounted / "..data" / "ca.crt").write_bytes(pair.chain)
    if not (mounted / "ca.crt").is_symlink():
        (mounted / "ca.crt").symlink_to("..data/ca.crt")


def certbot(directory: Path, pair: Pair) -> None:
    """A new version in archive/, then live/'s links one after the other; CERT_DIR is live/."""
    live, archive = directory / "tls", directory.parent / "archive" / "tls"
    for made in (live, archive):
        made.mkdir(parents=True, exist_ok=True)
    number = next(_numbers)
    for kind, content in (("privkey", pair.key), ("fullchain", pair.chain)):
        (archive / f"{kind}{number}.pem").write_bytes(content)
    for kind in ("privkey", "fullchain"):
        (live / f"{kind}.pem").unlink(missing_ok=True)
        (live / f"{kind}.pem").symlink_to(f"../../archive/tls/{kind}{number}.pem")


def key_then_certificate(directory: Path, pair: Pair) -> None:
    """Both files in place, with a pause between."""
    (directory / "tls.key").write_bytes(pair.key)
    time.sleep(BETWEEN)
    (directory / "tls.crt").write_bytes(pair.chain)


def certificate_then_key(directory: Path, pair: Pair) -> None:
    """The same in the other order."""
    (directory / "tls.crt").write_bytes(pair.chain)
    time.sleep(BETWEEN)
    (directory / "tls.key").write_bytes(pair.key)


def delete_and_create(directory: Path, pair: Pair) -> None:
    """The old files are gone for a while."""
    for name in ("tls.crt", "tls.key"):
        (directory / name).unlink(missing_ok=True)
    time.sleep(BETWEEN)
    place(directory, pair)


def rename_over(directory: Path, pair: Pair) -> None:
    """Drafts beside the files, each renamed over its own."""
    for name, content in (("tls.crt", pair.chain), ("tls.key", pair.key)):
        draft = directory / f".{name}.draft"
        draft.write_bytes(content)
        draft.rename(directory / name)


def one_file(directory: Path, pair: Pair) -> None:
    """Key and certificate in one file, as a template of Vault's agent writes it."""
    draft = directory / "tls.pem.draft"
    draft.write_bytes(pair.key + pair.chain)
    draft.rename(directory / "tls.pem")


def directory_made_anew(directory: Path, pair: Pair) -> None:
    """CERT_DIR itself is gone for a while: unmounted, and back."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
        time.sleep(BETWEEN)
    directory.mkdir()
    place(directory, pair)


def directory_exchanged(directory: Path, pair: Pair) -> None:
    """CERT_DIR is renamed away, and another renamed into its place."""
    fresh = directory.with_name(f"fresh{next(_numbers)}")
    fresh.mkdir()
    place(fresh, pair)
    with suppress(FileNotFoundError):
        directory.rename(directory.with_name(f"old{next(_numbers)}"))
    fresh.rename(directory)


def link_above(directory: Path, pair: Pair) -> None:
    """CERT_DIR lies under a link that is renamed over, one level above (a release, a checkout)."""
    release = directory.parent / f"release{next(_numbers)}"
    (release / "certs").mkdir(parents=True)
    place(release / "certs", pair)
    draft = directory.parent / "draft"
    draft.symlink_to(release.name)
    draft.rename(directory.parent / "current")
    if not directory.is_symlink():
        directory.rmdir()
        directory.symlink_to("current/certs")


def directory_above(directory: Path, pair: Pair) -> None:
    """CERT_DIR lies in a plain directory that is renamed away, and another renamed into its place."""
    above = directory.parent
    fresh = above.with_name(f"fresh{next(_numbers)}")
    fresh.mkdir()
    (fresh / directory.name).mkdir()
    place(fresh / directory.name, pair)
    above.rename(above.with_name(f"old{next(_numbers)}"))
    fresh.rename(above)


Way = Callable[[Path, Pair], None]
WAYS: tuple[Way, ...] = (
    kubelet,
    cert_manager,
    certbot,
    key_then_certificate,
    certificate_then_key,
    delete_and_create,
    rename_over,
    one_file,
    directory_made_anew,
    directory_exchanged,
    link_above,
    directory_above,
)


@pytest.fixture
def directory(tmp_path: Path, app: ScriptedApp) -> Path:
    """What is to be CERT_DIR; the app echoes."""
    app.script(echo)
    made = tmp_path / "above" / "certs"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_noticed_under_load(way: Way, directory: Path, sidecar: Launch, authority: trustme.CA) -> None:
    """The new pair is served soon, the next one as well, nothing is lost and nothing is called an error."""
    way(directory, issue(authority))
    process = sidecar(CERT_DIR=directory, CERT_RESYNC_PERIOD=NEVER)
    with Traffic(process):
        for _ in range(2):
            pair = issue(authority)
            way(directory, pair)
            assert_noticed(process, pair)
    assert (reloads(process, "loaded"), reloads(process, "failed"), drift(process)) == (3, 0, 0)
    assert process.told("compared every") == []


def test_the_kind_of_key_changes(directory: Path, sidecar: Launch, authority: trustme.CA) -> None:
    """From ECDSA to RSA, Ed25519 and back: what a client can do is settled by its handshake, nothing else changes."""
    kinds: dict[str, PrivateKey] = {
        "RSA": rsa.generate_private_key(65537, 2048),
        "ECDSA": ec.generate_private_key(ec.SECP256R1()),
        "Ed25519": Ed25519PrivateKey.generate(),
        "ECDSA P-384": ec.generate_private_key(ec.SECP384R1()),
    }
    place(directory, issue(authority))
    process = sidecar(CERT_DIR=directory, CERT_RESYNC_PERIOD=NEVER)
    with Traffic(process):
        for kind in ("RSA", "ECDSA", "Ed25519", "RSA", "Ed25519", "ECDSA P-384"):
            pair = issue_with(authority, kinds[kind])
            rename_over(directory, pair)
            assert_noticed(process, pair)
            assert kind in str(process.certificate()["key_type"])
    assert reloads(process, "failed") == 0


def test_a_hang_up_under_load(directory: Path, sidecar: Launch, authority: trustme.CA) -> None:
    """SIGHUP with nothing new, and at the very moment of a change, loses nothing either."""
    place(directory, issue(authority))
    process = sidecar(CERT_DIR=directory, CERT_RESYNC_PERIOD=NEVER)
    with Traffic(process):
        process.signal(signal.SIGHUP)
        wait_until(lambda: process.told("unchanged: serial"), "an answer to SIGHUP")
        for _ in range(3):
            pair = issue(authority)
            rename_over(directory, pair)
            process.signal(signal.SIGHUP)
            assert_noticed(process, pair)
    assert (reloads(process, "loaded"), reloads(process, "failed")) == (4, 0)
