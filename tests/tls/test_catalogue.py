"""tlsproxy/tls/catalogue.py: several certificates behind one context, with real handshakes in memory."""

import contextlib
import gc
import logging
import ssl
import weakref
from functools import partial
from pathlib import Path

import pytest

from tests.tls.material import Issued, Request, chain, handshake, key, pem, put, serial, trusting
from tlsproxy.tls.catalogue import Catalogue
from tlsproxy.tls.context import ServerObject
from tlsproxy.tls.discovery import discover
from tlsproxy.tls.files import find
from tlsproxy.tls.steps import at_once
from tlsproxy.tls.store import Store
from tlsproxy.tls.trust import TrustMaterial
from tlsproxy.tls.trust_store import TrustStore

LOGGER = "tlsproxy.certificates"
Pair = tuple[bytes, bytes]


@pytest.fixture(autouse=True)
def _logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def make(directory: Path, name: str) -> Store:
    return Store(name, partial(find, directory, name), "intermediate")


def catalogue(directory: Path, *names: str, strict: bool = False, tickets: bool = True) -> Catalogue:
    """Those of the names, or of all that is there."""
    listed, title = (lambda _: names) if names else partial(discover, directory), ",".join(names) or "*"
    return Catalogue(title, listed, partial(make, directory), "intermediate", strict=strict, tickets=tickets)


def lay(directory: Path, name: str, *hosts: str, kind: str = "secp256r1") -> Pair:
    """A fresh certificate for the hosts, else for NAME.example, as `name`."""
    pair = Request(names=hosts or (f"{name}.example",), key=key(kind)).issue().pair
    put(directory / name, pair)
    return pair


def shown(held: Catalogue, host: str, suites: str = "DEFAULT", version: ssl.TLSVersion | None = None) -> str:
    """The serial number that a client sees who asks for that host; empty: for none."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_ciphers(suites)
    if version:
        client.minimum_version = client.maximum_version = version
    one, other = handshake(held.context, client, host or None)
    assert isinstance(other, ServerObject)
    assert other.server_name == (host or None)
    certificate = one.getpeercert(binary_form=True)
    assert certificate is not None
    return serial((ssl.DER_cert_to_PEM_cert(certificate).encode(), b""))


def remove(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sni_picks(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Exactly, else by a wildcard, else the first of the list; so for a client that asks for no name."""
    first = lay(tmp_path, "first")
    exact = lay(tmp_path, "exact", "shop.wild.example")
    wild = lay(tmp_path, "wild", "*.wild.example")
    held = catalogue(tmp_path, "first", "wild", "exact")
    assert held.load().kind == "loaded"
    hosts = {
        "shop.wild.example": exact,
        "SHOP.Wild.example": exact,
        "other.wild.example": wild,
        "a.b.wild.example": first,
        "first.example": first,
        "stranger.example": first,
        "": first,
    }
    assert {host: shown(held, host, version=version) for host in hosts} == {
        host: serial(pair) for host, pair in hosts.items()
    }


def test_each_reloads_on_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bad pair keeps its own last good one, and another's new one is served beside it."""
    old_a = lay(tmp_path, "a")
    lay(tmp_path, "b")
    held = catalogue(tmp_path, "a", "b")
    held.load()
    new_b = lay(tmp_path, "b")
    (tmp_path / "a" / "tls.key").write_bytes(b"garbage")
    result = held.load()
    assert (result.kind, result.changed) == ("failed", True)
    assert str(tmp_path / "a") in result.message
    assert (shown(held, "a.example"), shown(held, "b.example")) == (serial(old_a), serial(new_b))
    assert {name: dict(store.reloads) for name, store in held.stores.items()} == {
        "a": {"loaded": 1, "failed": 1},
        "b": {"loaded": 2},
    }
    assert held.trouble == result.message
    caplog.clear()
    assert held.load().changed is False
    assert caplog.messages == [], "what stays broken is said once"


def test_a_bad_one_among_good_ones_takes_nothing_from_them(tmp_path: Path) -> None:
    """From the first load on, what can be served is, and the first of these is the default."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tls.crt").write_bytes(b"garbage")
    pair = lay(tmp_path, "b")
    held = catalogue(tmp_path, "a", "b")
    assert held.load().kind == "failed"
    assert held.is_serving
    assert shown(held, "") == serial(pair)
    mended = lay(tmp_path, "a")
    held.load()
    assert shown(held, "") == serial(mended)
    assert held.trouble == ""


def test_nothing_is_served_before_the_first_load(tmp_path: Path) -> None:
    """The context of a catalogue that has loaded nothing is asked for in vain, and the reason is told."""
    held = catalogue(tmp_path, "a", "b")
    assert held.load().kind == "failed"
    assert not held.is_serving
    assert "no certificate named 'a'" in held.trouble
    with pytest.raises(LookupError, match="no certificate 'a,b'"):
        _ = held.context


def resumes(held: Catalogue, client: ssl.SSLContext, session: ssl.SSLSession | None, host: str) -> bool:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up, server_hostname=host, session=session)
    other = held.context.wrap_bio(up, down, server_side=True)
    for side in (one, other, one, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return bool(one.session_reused)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_any_change_ends_the_tickets_of_all(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A session of a name resumes within its generation, and no more when another name's certificate has changed."""
    for name in ("a", "b", "c"):
        lay(tmp_path, name)
    held = catalogue(tmp_path, "a", "b", "c")
    held.load()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    session = handshake(held.context, client, "b.example")[0].session
    assert resumes(held, client, session, "b.example")
    held.load()
    assert resumes(held, client, session, "b.example"), "nothing has changed"
    lay(tmp_path, "c")
    held.load()
    assert not resumes(held, client, session, "b.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tickets", [True, False])
def test_tickets_may_be_withheld(tmp_path: Path, version: ssl.TLSVersion, tickets: bool) -> None:
    """Of no name has a client a ticket then, and nothing resumes once the connection has been cut."""
    for name in ("a", "b"):
        lay(tmp_path, name)
    held = catalogue(tmp_path, "a", "b", tickets=tickets)
    held.load()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version
    for host in ("a.example", "b.example"):
        session = handshake(held.context, client, host)[0].session
        assert session is not None
        assert session.has_ticket is tickets
        assert resumes(held, client, session, host) is tickets


def test_contexts_that_have_not_changed_are_used_on(tmp_path: Path) -> None:
    """Of several names only the changed one is armed anew, and the listening context always."""
    for name in ("a", "b"):
        lay(tmp_path, name)
    lay(tmp_path, "r", "b.example", kind="rsa-2048")
    held = catalogue(tmp_path, "a", "b", "r")
    held.load()
    before, shared, listening = held.stores["a"].generation, dict(held._shared), held.context
    lay(tmp_path, "a")
    held.load()
    assert held.stores["a"].generation is not before
    assert held.context is not listening
    assert held._shared == shared


# Everything that is there


def test_a_star_serves_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is added is served, what vanishes is dropped; `tls` is the default, else the first by the alphabet."""
    b, c = lay(tmp_path, "b"), lay(tmp_path, "c")
    held = catalogue(tmp_path)
    held.load()
    assert [shown(held, host) for host in ("b.example", "c.example", "")] == [serial(b), serial(c), serial(b)]
    a, first = lay(tmp_path, "a"), lay(tmp_path, "tls")
    held.load()
    assert [shown(held, host) for host in ("a.example", "b.example", "")] == [serial(a), serial(b), serial(first)]
    remove(tmp_path / "b")
    caplog.clear()
    assert held.load(provisional=True).kind == "failed"
    assert (shown(held, "b.example"), caplog.messages) == (serial(b), []), "it may come back at once"
    assert held.load().changed
    assert shown(held, "b.example") == serial(first)
    assert caplog.messages[0] == "certificate b: its files are gone; it is served no longer"
    assert [store.name for store in held.stores.values()] == ["tls", "a", "c"]
    assert {labels for measure in held.measures() for labels in measure.samples if "b" in labels} == set()


def test_what_is_half_gone_is_kept(tmp_path: Path) -> None:
    """The last good one of a name is served as long as any file of its is left."""
    lay(tmp_path, "a")
    pair = lay(tmp_path, "b")
    held = catalogue(tmp_path)
    held.load()
    (tmp_path / "b" / "tls.crt").unlink()
    assert held.load().kind == "failed"
    assert shown(held, "b.example") == serial(pair)


def test_a_mount_that_vanishes_takes_nothing(tmp_path: Path) -> None:
    """Where nothing at all is left, everything is served on, and each certificate's state says so."""
    a, b = lay(tmp_path / "certs", "a"), lay(tmp_path / "certs", "b")
    held = catalogue(tmp_path / "certs")
    held.load()
    (tmp_path / "certs").rename(tmp_path / "elsewhere")
    assert held.load().kind == "failed"
    assert (shown(held, "a.example"), shown(held, "b.example")) == (serial(a), serial(b))
    assert all(store.error is not None for store in held.stores.values())
    assert held.error is None, "it is told of once"


def test_an_empty_directory_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is nothing to serve one line says so, until there is something."""
    held = catalogue(tmp_path)
    assert held.load(provisional=True).kind == held.load().kind == held.load().kind == "failed"
    assert len(caplog.messages) == 1
    assert "TLSPROXY_CERT_DIR" in caplog.messages[0]
    assert held.trouble
    lay(tmp_path, "a")
    assert held.load().kind == "loaded"
    assert held.trouble == ""


# Several kinds of key for one name


@pytest.mark.parametrize("order", [("ec", "rsa"), ("rsa", "ec")])
@pytest.mark.parametrize("host", ["both.example", "", "stranger.example", "alone.example"])
def test_the_clients_means_pick_the_key(tmp_path: Path, order: tuple[str, str], host: str) -> None:
    """A client that knows one kind of key gets it, one that knows both gets one of them; with SNI or without."""
    names = ("both.example", "alone.example")
    ec, rsa = lay(tmp_path, "ec", *names), lay(tmp_path, "rsa", *names, kind="rsa-2048")
    held = catalogue(tmp_path, *order)
    held.load()
    old = ssl.TLSVersion.TLSv1_2
    assert shown(held, host, "ECDHE-RSA-AES128-GCM-SHA256", old) == serial(rsa)
    assert shown(held, host, "ECDHE-ECDSA-AES128-GCM-SHA256", old) == serial(ec)
    assert shown(held, host) in {serial(rsa), serial(ec)}


def test_an_rsa_wildcard_stands_in_for_those_who_need_it(tmp_path: Path) -> None:
    """Behind an exact ECDSA certificate a wildcard's RSA one serves clients that know only that."""
    lay(tmp_path, "first")
    ec = lay(tmp_path, "ec", "shop.wild.example")
    rsa = lay(tmp_path, "rsa", "*.wild.example", kind="rsa-2048")
    held = catalogue(tmp_path, "first", "ec", "rsa")
    held.load()
    old = ssl.TLSVersion.TLSv1_2
    assert shown(held, "shop.wild.example", "ECDHE-RSA-AES128-GCM-SHA256", old) == serial(rsa)
    assert shown(held, "shop.wild.example") == serial(ec)


def test_a_renewed_one_of_two_kinds_is_served(tmp_path: Path) -> None:
    """Either certificate of a name may change, and the other goes on beside it."""
    lay(tmp_path, "ec", "both.example")
    rsa = lay(tmp_path, "rsa", "both.example", kind="rsa-2048")
    lay(tmp_path, "a")
    held = catalogue(tmp_path, "a", "ec", "rsa")
    held.load()
    ec = lay(tmp_path, "ec", "both.example")
    held.load()
    old = ssl.TLSVersion.TLSv1_2
    assert shown(held, "both.example", "ECDHE-ECDSA-AES128-GCM-SHA256", old) == serial(ec)
    assert shown(held, "both.example", "ECDHE-RSA-AES128-GCM-SHA256", old) == serial(rsa)


def test_another_chain_for_the_same_certificate_is_served(tmp_path: Path) -> None:
    """Where only the intermediates have changed, what is served beside another kind of key changes as well."""
    made = chain()
    leaf, private = made.leaf.certificate, made.leaf.pair[1]
    put(tmp_path / "ec", (pem(leaf), private))
    lay(tmp_path, "a")
    lay(tmp_path, "rsa", "localhost", kind="rsa-2048")
    held = catalogue(tmp_path, "a", "ec", "rsa")
    held.load()
    put(tmp_path / "ec", (pem(leaf, made.lower.certificate, made.upper.certificate), private))
    held.load()
    trust = trusting(made.root.certificate)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    trust.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    handshake(held.context, trust)


# Strictly


def test_strict_refuses_unknown_names(tmp_path: Path) -> None:
    """A name that no certificate is for gets `unrecognized_name`; no name, and a known one, are served."""
    pair = lay(tmp_path, "a")
    held = catalogue(tmp_path, "a", strict=True)
    held.load()
    assert shown(held, "a.example") == shown(held, "") == serial(pair)
    with pytest.raises(ssl.SSLError) as refused:
        shown(held, "stranger.example")
    assert refused.value.reason == "CALLBACK_FAILED"


def test_strict_tells_what_a_connection_is_for(tmp_path: Path) -> None:
    """The hosts that a connection's certificate is for can be asked for where names are strict, and only there."""
    lay(tmp_path, "a")
    lay(tmp_path, "b", "b.example", "*.b.example")
    held = catalogue(tmp_path, "a", "b", strict=True)
    held.load()
    for name, host, covered in [
        ("b.example", b"x.b.example:443", True),
        ("b.example", b"a.example", False),
        (None, b"a.example", True),
        (None, b"b.example", False),
    ]:
        other = handshake(held.context, name=name)[1]
        assert isinstance(other, ServerObject)
        assert other.covers is not None
        assert other.covers(host) is covered
    lenient = catalogue(tmp_path, "a", "b")
    lenient.load()
    other = handshake(lenient.context, name="b.example")[1]
    assert isinstance(other, ServerObject)
    assert other.covers is None


# Keeping house


def test_one_family_holds_all_names(tmp_path: Path) -> None:
    """Each metric is one family with a sample for each name, and /status has each certificate."""
    lay(tmp_path, "a")
    lay(tmp_path, "b")
    held = catalogue(tmp_path, "a", "b")
    held.load()
    families = list(held.measures())
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert {labels[0] for labels in family.samples} in ({"a", "b"}, set())
    assert [status["name"] for status in held.status()] == ["a", "b"]


def test_a_look_can_be_taken_in_steps(tmp_path: Path) -> None:
    """Between two names others may do their work, and what is new is published as one at the end."""
    for name in ("a", "b", "c"):
        lay(tmp_path, name)
    held = catalogue(tmp_path, "a", "b", "c")
    steps = held.look()
    for _ in range(3):
        next(steps)
        assert not held.is_serving
    assert at_once(steps).kind == "loaded"
    assert held.is_serving


@pytest.mark.parametrize("strict", [False, True])
def test_a_change_of_trust_is_taken_in_steps_and_comes_whole(tmp_path: Path, strict: bool) -> None:
    """One name for each step; until the last all of them believe the old CAs, and from then on all the new ones."""
    names = ("a", "b", "c", "d")
    for name in names:
        lay(tmp_path, name)
    old, new = (Request(said, (), ca=True).issue() for said in ("old", "new"))
    mounted = [old]

    def source() -> TrustMaterial:
        return TrustMaterial("ca.crt", "ca.crl", mounted[-1].pair[0], None)

    held = catalogue(tmp_path, *names, strict=strict)
    held.trust = TrustStore(source, required=True)
    held.load()
    clients = {said: calling(tmp_path, issuer) for said, issuer in (("old", old), ("new", new))}

    def believed() -> list[tuple[str, str]]:
        return [(name, said) for name in names for said in clients if accepts(held, clients[said], f"{name}.example")]

    mounted.append(new)
    steps, taken = held.look(), 0
    with contextlib.suppress(StopIteration):
        while True:
            next(steps)
            taken += 1
            assert believed() == [(name, "old") for name in names]
    assert taken >= 2 * len(names)
    assert believed() == [(name, "new") for name in names]


@pytest.mark.parametrize("path", ["b/tls.crt", "b/..data", "b.crt", "archive/b/privkey2.pem"])
def test_a_look_at_what_paths_speak_of(tmp_path: Path, path: str) -> None:
    """Their names alone are looked at, and what is new is published; what is not good is neither told nor counted."""
    for name in ("a", "b", "c"):
        lay(tmp_path, name)
    held = catalogue(tmp_path, "a", "b", "c")
    held.load()
    old, new = serial(((tmp_path / "c" / "tls.crt").read_bytes(), b"")), lay(tmp_path, "b")
    lay(tmp_path, "c")
    assert at_once(held.look_near([tmp_path / path])) is True
    assert (shown(held, "b.example"), shown(held, "c.example")) == (serial(new), old)
    (tmp_path / "b" / "tls.key").write_bytes(b"garbage")
    assert at_once(held.look_near([tmp_path / path])) is False
    assert held.trouble == ""
    assert held.load().changed


def calling(directory: Path, issuer: Issued) -> ssl.SSLContext:
    """A client that shows a certificate of this issuer's."""
    path = directory / "client.pem"
    path.write_bytes(b"".join(Request("client", issuer=issuer).issue().pair))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.load_cert_chain(path)
    return client


def accepts(held: Catalogue, client: ssl.SSLContext, host: str) -> bool:
    try:
        handshake(held.context, client, host)
    except ssl.SSLError:
        return False
    return True


def test_a_look_that_is_given_up_changes_nothing(tmp_path: Path) -> None:
    """What was looked at in vain is published by the next look, whole."""
    for name in ("a", "b"):
        lay(tmp_path, name)
    held = catalogue(tmp_path, "a", "b")
    held.load()
    before = held.context
    pair = lay(tmp_path, "b")
    steps = held.look()
    for _ in range(3):
        next(steps)
    steps.close()
    assert held.context is before
    assert held.load().changed
    assert shown(held, "b.example") == serial(pair)


def test_older_generations_are_freed_at_once(tmp_path: Path) -> None:
    """A listening context that nobody uses any more does not wait for a collection."""
    lay(tmp_path, "a")
    lay(tmp_path, "b")
    held = catalogue(tmp_path, "a", "b")
    held.load()
    before = weakref.ref(held.context)
    with without_collections():
        lay(tmp_path, "b")
        held.load()
        assert before() is None


class without_collections:  # noqa: N801  -- read as a statement
    """Reference counts alone free what is freed."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()
