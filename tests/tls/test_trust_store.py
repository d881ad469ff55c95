"""tlsproxy/tls/trust_store.py."""

import logging
from datetime import datetime, timedelta

import pytest

from tests.tls.material import DAY, NOW, pem
from tests.tls.test_trust_checks import CA, LEAF, OTHER, revocation_list
from tlsproxy.tls.files import AbsentError
from tlsproxy.tls.trust import TrustMaterial
from tlsproxy.tls.trust_store import TrustStore


class Mount:
    """What lies on disk, and the time."""

    def __init__(self, bundle: bytes | None = pem(CA.certificate), lists: bytes | None = None) -> None:
        self.bundle, self.lists = bundle, lists
        self.now = NOW
        self.store = TrustStore(self._read, required=True, clock=self._clock)

    def _read(self) -> TrustMaterial:
        if self.bundle is None:
            raise AbsentError("ca.crt is not there")
        return TrustMaterial("ca.crt", "ca.crl", self.bundle, self.lists)

    def _clock(self) -> datetime:
        return self.now


def drift(mount: Mount) -> object:
    return {measure.name: measure.samples for measure in mount.store.measures()}["tlsproxy_client_ca_drift"][()]


def test_what_is_good_and_new_is_taken() -> None:
    """A first and a changed bundle are loaded, the same one is left alone."""
    mount = Mount()
    assert mount.store.load().kind == "loaded"
    first = mount.store.trust
    assert mount.store.load().kind == "unchanged"
    assert mount.store.trust is first
    mount.bundle = pem(OTHER.certificate)
    assert mount.store.load().kind == "loaded"
    assert mount.store.trust is not None
    assert mount.store.trust.authorities == ("CN=others",)


@pytest.mark.parametrize("bad", [None, b"", pem(LEAF.certificate)])
def test_what_is_bad_changes_nothing(bad: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    """The last good trust stays; the error is logged once and is over when the files are good again."""
    mount = Mount()
    mount.store.load()
    first, good, mount.bundle = mount.store.trust, mount.bundle, bad
    assert mount.store.load(provisional=True).kind == "failed"
    assert drift(mount) == 0
    assert [mount.store.load().kind for _ in range(2)] == ["failed", "failed"]
    assert mount.store.trust is first
    assert drift(mount) == 1
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    mount.bundle = good
    assert mount.store.load().kind == "unchanged"
    assert drift(mount) == 0


def test_what_was_revoked_stays_so() -> None:
    """A list that is lost, or gives way to one that is over, is used on."""
    mount = Mount(lists=revocation_list(CA, LEAF))
    mount.store.load()
    first = mount.store.trust
    for lists in (None, revocation_list(CA, LEAF, ends=-DAY)):
        mount.lists = lists
        assert mount.store.load().kind == "failed"
        assert mount.store.trust is first


def test_a_list_that_is_over_is_better_than_none_at_the_start() -> None:
    """It refuses everyone, and is told of; nobody comes in who is on it."""
    mount = Mount(lists=revocation_list(ends=-DAY))
    assert mount.store.load().kind == "loaded"


def test_the_end_of_a_list_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """In the last quarter of its life once a day, and loudly once it is over."""
    mount = Mount(lists=revocation_list(ends=6 * DAY))
    said = []
    for hours in (0, 95, 97, 98, 122, 143, 145, 146, 170):
        caplog.clear()
        mount.now = NOW + timedelta(hours=hours)
        mount.store.load()
        told = [record.levelname for record in caplog.records if "a revocation list is over" in record.message]
        said.append((hours, *told))
    assert said == [
        (0,), (95,), (97, "WARNING"), (98,), (122, "WARNING"), (143,), (145, "ERROR"), (146,), (170, "ERROR"),
    ]  # fmt: skip


def test_the_end_of_a_list_ends_sessions() -> None:
    """What verifies clients is made anew then, once, so that who resumes is refused like everybody."""
    mount = Mount(lists=revocation_list(CA, ends=DAY))
    mount.store.load()
    first = mount.store.trust
    mount.now += 2 * DAY
    mount.bundle = None
    assert mount.store.load().kind == "failed"
    second = mount.store.trust
    assert second is not first
    assert second == first
    mount.store.load()
    assert mount.store.trust is second


def test_a_list_that_was_over_when_it_came_ends_nothing() -> None:
    """Nobody has come in by it."""
    mount = Mount(lists=revocation_list(CA, ends=-DAY))
    mount.store.load()
    first = mount.store.trust
    mount.store.load()
    assert mount.store.trust is first


def test_the_end_is_a_metric() -> None:
    """In seconds since 1970; nothing where no list ends."""
    mount = Mount(lists=revocation_list())
    mount.store.load()
    (samples,) = [m.samples for m in mount.store.measures() if m.name == "tlsproxy_client_crl_expiry_timestamp_seconds"]
    assert samples == {(): (NOW + DAY).replace(microsecond=0).timestamp()}
    (samples,) = [m.samples for m in Mount().store.measures() if "crl" in m.name]
    assert samples == {}


def test_status() -> None:
    """Who is believed, what is revoked until when, and what is wrong since when."""
    mount = Mount(lists=revocation_list(CA, LEAF))
    mount.store.load()
    told = mount.store.status()
    assert (told["authorities"], told["revoked"], told["error"]) == (["CN=clients"], 1, None)
    mount.bundle = b""
    mount.store.load()
    told = mount.store.status()
    assert told["error"] == "ca.crt holds no certificate in PEM: no client could be verified"
    assert told["error_since"] == NOW.isoformat("T", "seconds")
