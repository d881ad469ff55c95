"""tlsproxy/tls/store.py."""

import json
import logging
import ssl
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.tls.material import (
    DAY,
    NOT_FOR_SIGNING,
    NOW,
    Request,
    handshake,
    key,
    key_pem,
    pem,
    put,
    serial,
    trusting,
)
from tlsproxy.chassis.measures import Measure
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.files import Material, find
from tlsproxy.tls.store import Store

HOUR = timedelta(hours=1)
LOGGER = "tlsproxy.certificates"


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(autouse=True)
def _logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def store(directory: Path, clock: Clock | None = None, expiry_warning: timedelta = timedelta()) -> Store:
    source = partial(find, directory, "tls")
    return Store("tls", source, "intermediate", ("http/1.1",), clock or Clock(), expiry_warning)


def presented(context: ssl.SSLContext) -> bytes | None:
    client, _ = handshake(context)
    return client.getpeercert(binary_form=True)


def measured(held: Store) -> dict[str, Measure]:
    return {measure.name.removeprefix("tlsproxy_certificate_"): measure for measure in held.measures()}


def test_what_checks_take_is_loaded_once_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look asks for a call that loads it, and no later look does."""
    monkeypatch.delitem(sys.modules, "tlsproxy.tls.checks")
    put(tmp_path, Request().issue().pair)
    held = store(tmp_path)
    steps = held.look()
    load = next(steps)
    assert load is not None
    assert "tlsproxy.tls.checks" not in sys.modules
    load()
    assert "tlsproxy.tls.checks" in sys.modules
    assert list(steps) == []
    put(tmp_path, Request().issue().pair)
    assert list(held.look()) == []
    assert held.generation is not None
    assert held.generation.number == 2


def test_what_is_known_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served as it was found, and nothing is loaded for it; what is not known is checked."""
    first, second = Request().issue(), Request().issue()
    put(tmp_path, first.pair)
    material = find(tmp_path, "tls")
    known = {material: check(material, NOW)}
    monkeypatch.delitem(sys.modules, "tlsproxy.tls.checks")

    def look_up(material: Material) -> Certificate | None:
        return known.get(material)

    held = Store("tls", partial(find, tmp_path, "tls"), "intermediate", clock=Clock(), known=look_up)
    assert list(held.look()) == []
    handshake(held.context, trusting(first.certificate))
    assert "tlsproxy.tls.checks" not in sys.modules
    put(tmp_path, second.pair)
    assert held.load().kind == "loaded"
    handshake(held.context, trusting(second.certificate))


def test_the_first_load_serves_and_says_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the first load a client connects, and one line has serial, names, expiry and file."""
    issued = Request().issue()
    put(tmp_path, issued.pair)
    held = store(tmp_path)
    assert held.load().kind == "loaded"
    handshake(held.context, trusting(issued.certificate))
    expiry = f"{issued.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    (line,) = caplog.messages
    assert line == (
        f"certificate tls: serial {serial(issued.pair)}, for localhost, ECDSA P-256, valid until {expiry}, "
        f"from {tmp_path / 'tls.crt'}"
    )


def test_nothing_is_served_before_the_first_load(tmp_path: Path) -> None:
    """The context of a store that has loaded nothing is asked for in vain."""
    with pytest.raises(LookupError, match="no certificate 'tls'"):
        _ = store(tmp_path).context


def test_a_rotation_is_one_line_and_touches_no_context(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """New material makes a new context; the old one goes on as it was, and the log has both serials."""
    old, new = Request().issue(), Request().issue()
    put(tmp_path, old.pair)
    held = store(tmp_path)
    held.load()
    before = held.context
    put(tmp_path, new.pair)
    caplog.clear()
    assert held.load().kind == "loaded"
    assert presented(held.context) != presented(before)
    (line,) = caplog.messages
    assert f"serial {serial(old.pair)} -> {serial(new.pair)}" in line
    assert held.generation is not None
    assert held.generation.number == 2


def test_tickets_of_an_older_generation_do_not_resume(tmp_path: Path) -> None:
    """A session resumes within its generation and starts anew in the next."""
    put(tmp_path, Request().issue().pair)
    held = store(tmp_path)
    held.load()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    session = handshake(held.context, client)[0].session
    assert resumed(held.context, client, session)
    put(tmp_path, Request().issue().pair)
    held.load()
    assert not resumed(held.context, client, session)


def resumed(server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up, session=session)
    other = server.wrap_bio(up, down, server_side=True)
    for side in (one, other, one, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return bool(one.session_reused)


def test_unchanged_bytes_do_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same bytes, written again, leave the generation, the counts and the log alone."""
    pair = Request().issue().pair
    put(tmp_path, pair)
    held = store(tmp_path)
    held.load()
    generation = held.generation
    put(tmp_path, pair)
    caplog.clear()
    result = held.load()
    assert result.kind == "unchanged"
    assert serial(pair) in result.message
    assert held.generation is generation
    assert held.reloads == {"loaded": 1}
    assert caplog.messages == []


def test_a_broken_pair_keeps_the_last_good_one_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of another pair changes nothing, is logged once however often it is seen, and is counted."""
    good, other = Request().issue(), Request().issue()
    put(tmp_path, good.pair)
    clock = Clock()
    held = store(tmp_path, clock)
    held.load()
    caplog.clear()
    put(tmp_path, (good.pair[0], other.pair[1]))
    for _ in range(3):
        clock.now += HOUR
        assert held.load().kind == "failed"
    handshake(held.context, trusting(good.certificate))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "does not match" in record.getMessage()
    assert record.getMessage().endswith(f"; serial {serial(good.pair)} is served")
    assert held.error is not None
    assert held.error.at == NOW + HOUR
    assert measured(held)["drift"].samples == {("tls",): 1}
    assert measured(held)["reloads_total"].samples == {("tls", "loaded"): 1, ("tls", "failed"): 3}


def test_drift_is_told_by_fingerprint_and_since_when(tmp_path: Path) -> None:
    """While what is on disk is not served both fingerprints are told, and since when, whatever else goes wrong."""
    good, other = Request().issue(), Request().issue()
    put(tmp_path, good.pair)
    clock = Clock()
    held = store(tmp_path, clock)
    held.load()
    assert held.status()["drift"] is None
    assert measured(held)["drift_began_timestamp_seconds"].samples == {}
    served, there = (one.certificate.fingerprint(hashes.SHA256()).hex() for one in (good, other))
    for contents, on_disk in [((other.pair[0], good.pair[1]), there), ((b"", b""), None)]:
        put(tmp_path, contents)
        held.load()
        assert held.status()["drift"] == {"since": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "on_disk": on_disk, "served": served}
        assert measured(held)["drift_began_timestamp_seconds"].samples == {("tls",): NOW.timestamp()}
        clock.now += HOUR
    put(tmp_path, good.pair)
    held.load()
    assert held.status()["drift"] is None
    clock.now += HOUR
    put(tmp_path, (b"", b""))
    held.load()
    put(tmp_path, other.pair)
    assert measured(held)["drift_began_timestamp_seconds"].samples == {("tls",): clock.now.timestamp()}
    held.load()
    assert measured(held)["drift_began_timestamp_seconds"].samples == {}


def test_another_bad_certificate_is_a_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is bad in the same way but is another certificate gets a line of its own."""
    held = store(tmp_path)
    serials = {"serial": 7, "names": ()}
    for bad in (Request("a", **serials), Request("a", **serials)):  # type: ignore[arg-type]  # of two types
        put(tmp_path, (bad.issue().pair[0], key_pem(key("secp384r1"))))
        held.load()
    assert len(caplog.records) == 2


def test_a_soon_expiring_certificate_is_warned_about_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From CERT_EXPIRY_WARNING on looks at the files say so, one a day, and /status and a metric tell the time."""
    issued = Request(not_after=NOW + 15 * DAY).issue()
    put(tmp_path, issued.pair)
    clock = Clock()
    held = store(tmp_path, clock, 14 * DAY)
    assert held.load().kind == "loaded"
    assert measured(held)["expiry_warning_timestamp_seconds"].samples == {
        ("tls",): (issued.certificate.not_valid_after_utc - 14 * DAY).timestamp()
    }
    assert held.status()["days_left"] == 15
    caplog.clear()
    for _ in range(3 * 24):
        clock.now += HOUR
        held.load()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    for line, left in zip(caplog.messages, ("14.0", "13.0", "12.0"), strict=True):
        assert f"expires in {left} days" in line
        assert "(TLSPROXY_CERT_EXPIRY_WARNING)" in line
    assert held.is_valid


def test_what_is_served_can_cease_to_be_valid(tmp_path: Path) -> None:
    """A certificate that is served past its end is no longer valid, though it is served on."""
    put(tmp_path, Request(not_after=NOW + DAY).issue().pair)
    clock = Clock()
    held = store(tmp_path, clock)
    before = held.is_valid
    held.load()
    meanwhile = held.is_valid
    clock.now += 2 * DAY
    assert (before, meanwhile, held.is_valid) == (False, True, False)
    assert held.status()["dates"] == "expired"
    handshake(held.context)


def test_what_all_renewals_have_in_common_is_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning that the certificate before had as well is not repeated with each rotation."""
    root = Request("root", (), ca=True).issue()
    held = store(tmp_path)
    for _ in range(3):
        put(tmp_path, Request(issuer=root).issue().pair)
        held.load()
    assert sum("comes without its issuer" in line for line in caplog.messages) == 1
    assert held.generation is not None
    assert held.generation.certificate.warnings


def test_another_fault_is_logged_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken pair that is broken differently is worth a line of its own."""
    put(tmp_path, (b"", b""))
    held = store(tmp_path)
    held.load()
    put(tmp_path, (b"garbage", b""))
    held.load()
    assert ["empty" in line for line in caplog.messages] == [True, False]
    assert caplog.messages[1].endswith("; nothing is served")


def test_the_old_files_put_back_end_the_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a broken pair the served one in place again clears the error, with a line."""
    pair = Request().issue().pair
    put(tmp_path, pair)
    held = store(tmp_path)
    held.load()
    put(tmp_path, (b"garbage", b""))
    held.load()
    put(tmp_path, pair)
    caplog.clear()
    assert held.load().kind == "unchanged"
    assert held.error is None
    assert measured(held)["drift"].samples == {("tls",): 0}
    assert caplog.messages == [f"certificate tls: serial {serial(pair)} is in place again"]


def test_a_good_pair_after_a_broken_one_is_served(tmp_path: Path) -> None:
    """The reload after the repair serves the new pair and clears the error."""
    put(tmp_path, (b"garbage", b""))
    held = store(tmp_path)
    assert held.load().kind == "failed"
    issued = Request().issue()
    put(tmp_path, issued.pair)
    assert held.load().kind == "loaded"
    assert held.error is None
    handshake(held.context, trusting(issued.certificate))


def test_absent_files_keep_the_last_good_one(tmp_path: Path) -> None:
    """A mount that vanishes takes nothing from the clients."""
    put(tmp_path, Request().issue().pair)
    held = store(tmp_path)
    held.load()
    (tmp_path / "tls.crt").unlink()
    (tmp_path / "tls.key").unlink()
    result = held.load()
    assert result.kind == "failed"
    assert "tried" in result.message
    assert presented(held.context)


def test_a_provisional_failure_leaves_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A failure of a provisional load is returned, not logged, counted or remembered."""
    put(tmp_path, (b"garbage", b""))
    held = store(tmp_path)
    result = held.load(provisional=True)
    assert result.kind == "failed"
    assert "garbage" not in result.message
    assert (held.error, held.last, held.reloads, caplog.messages) == (None, None, {}, [])


def test_a_failed_rehearsal_publishes_nothing(tmp_path: Path) -> None:
    """Material that passes every check and that no client can use is not served."""
    good, unusable = Request().issue(), Request(extensions=((NOT_FOR_SIGNING, True),)).issue()
    put(tmp_path, good.pair)
    held = store(tmp_path)
    held.load()
    put(tmp_path, unusable.pair)
    result = held.load()
    assert result.kind == "failed"
    assert "no client could connect" in result.message
    handshake(held.context, trusting(good.certificate))


def test_a_key_that_signs_wrongly_is_not_served(tmp_path: Path) -> None:
    """An RSA key with the certificate's modulus and damaged insides is found out before it is published."""
    private = key("rsa-2048")
    assert isinstance(private, rsa.RSAPrivateKey)
    good = private.private_numbers()
    bad = rsa.RSAPrivateNumbers(
        good.p, good.q, good.d + 2, good.dmp1 + 2, good.dmq1 + 2, good.iqmp, good.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    put(tmp_path, (pem(Request(key=private).issue().certificate), key_pem(bad)))
    held = store(tmp_path)
    assert held.load().kind == "failed"
    assert held.generation is None


def test_an_expired_certificate_is_served_where_there_is_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first load a certificate outside its dates is served, with a warning."""
    put(tmp_path, Request(not_before=NOW - 2 * DAY, not_after=NOW - DAY).issue().pair)
    held = store(tmp_path)
    assert held.load().kind == "loaded"
    assert presented(held.context)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
    assert "has expired" in caplog.messages[1]


@pytest.mark.parametrize(
    ("request_", "dates"),
    [
        (Request(not_before=NOW - 2 * DAY, not_after=NOW - DAY), "expired"),
        (Request(not_before=NOW + HOUR), "not yet valid"),
    ],
)
def test_a_valid_certificate_does_not_give_way_to_an_invalid_one(tmp_path: Path, request_: Request, dates: str) -> None:
    """While the served one is valid, a new one outside its dates is a failure that names both facts."""
    good = Request().issue()
    put(tmp_path, good.pair)
    held = store(tmp_path)
    held.load()
    put(tmp_path, request_.issue().pair)
    result = held.load()
    assert result.kind == "failed"
    assert f"holds a certificate that is {dates}" in result.message
    assert "the one that is served is valid" in result.message
    handshake(held.context, trusting(good.certificate))


def test_a_certificate_of_tomorrow_is_taken_when_it_has_become_valid(tmp_path: Path) -> None:
    """What was refused for its dates is served once they have come."""
    put(tmp_path, Request().issue().pair)
    clock = Clock()
    held = store(tmp_path, clock)
    held.load()
    coming = Request(not_before=NOW + HOUR).issue()
    put(tmp_path, coming.pair)
    assert held.load().kind == "failed"
    clock.now += 2 * HOUR
    assert held.load().kind == "loaded"


def test_an_expired_one_gives_way_to_anything(tmp_path: Path) -> None:
    """Between two certificates outside their dates the newer mount wins."""
    put(tmp_path, Request(not_before=NOW - 2 * DAY, not_after=NOW - DAY).issue().pair)
    held = store(tmp_path)
    held.load()
    put(tmp_path, Request(not_before=NOW - 2 * DAY, not_after=NOW - HOUR).issue().pair)
    assert held.load().kind == "loaded"


def test_measures_follow_the_contract(tmp_path: Path) -> None:
    """Expiry and last reload are those of the served certificate, and absent before there is one."""
    issued = Request().issue()
    held = store(tmp_path)
    assert measured(held)["expiry_timestamp_seconds"].samples == {}
    assert measured(held)["last_reload_timestamp_seconds"].samples == {}
    put(tmp_path, issued.pair)
    held.load()
    expiry = issued.certificate.not_valid_after_utc.timestamp()
    assert measured(held)["expiry_timestamp_seconds"].samples == {("tls",): expiry}
    assert measured(held)["last_reload_timestamp_seconds"].samples == {("tls",): NOW.timestamp()}


def test_status_is_json_and_holds_no_secret(tmp_path: Path) -> None:
    """The status tells what is served, the last reload and the error, without the key."""
    pair = Request().issue().pair
    held = store(tmp_path)
    nothing = {"last_reload": None, "error": None, "drift": None}
    assert held.status() == {"name": "tls", **nothing}
    put(tmp_path, pair)
    held.load()
    put(tmp_path, (pair[0], b"garbage"))
    held.load()
    status = held.status()
    shown = json.dumps(status) + repr(held)
    assert status["serial"] == serial(pair)
    assert status["names"] == ["localhost"]
    assert status["files"] == [str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")]
    assert isinstance(status["error"], dict)
    assert status["error"]["result"] == "failed"
    assert "PRIVATE" not in shown
    assert pair[1].splitlines()[1].decode() not in shown
