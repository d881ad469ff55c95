"""The rules by which clients are let in: what is written, what it lets in, and what it nearly does."""

import re

import pytest

from tlsproxy.client_rules import Identity, Rule, allowed, parse_rules, spell_rules

NOBODY = Identity("")


def cn(*names: str) -> Identity:
    return Identity("", common_names=names)


def ou(*units: str) -> Identity:
    return Identity("", units=units)


def dns(*names: str) -> Identity:
    return Identity("", dns=names)


def uri(*uris: str) -> Identity:
    return Identity("", uris=uris)


LET_IN = [
    ("cn=reports", cn("reports")),
    ("CN=reports", cn("reports")),
    (" cn = reports ", cn("reports")),
    (r"cn=Doe\, Jane", cn("Doe, Jane")),
    (r"cn=back\\slash", cn("back\\slash")),
    ("cn=a=b", cn("a=b")),
    ("cn=.+", cn(".+")),
    ("ou=billing", ou("sales", "billing")),
    ("dns=api.billing.svc", dns("other.svc", "api.billing.svc")),
    ("dns=API.billing.svc", dns("api.BILLING.svc")),
    ("dns=*.billing.svc", dns("API.billing.svc")),
    ("dns=*.billing.svc", dns("xn--bcher-kva.billing.svc")),
    ("uri=spiffe://example.org", uri("spiffe://example.org")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/web")),
    ("uri=spiffe://example.org/ns/*/sa/*", uri("spiffe://example.org/ns/web/sa/api")),
    ("uri=spiffe://example.org/*/sa", uri("spiffe://example.org/a.b/sa")),
    ("uri=urn:uuid:1", uri("https://a", "urn:uuid:1")),
    ("cn=one,dns=two", dns("two")),
    ("cn=one,,dns=two,", cn("one")),
]


@pytest.mark.parametrize(("rules", "identity"), LET_IN)
def test_let_in(rules: str, identity: Identity) -> None:
    """Any rule that compares whole values and finds them equal lets in."""
    assert allowed(parse_rules(rules), identity)


KEPT_OUT = [
    ("cn=reports", NOBODY),
    ("cn=reports", cn("reports2")),
    ("cn=reports", cn("myreports")),
    ("cn=reports", cn("Reports")),
    ("cn=reports", cn("reports ")),
    ("cn=reports", cn("reports\0.evil")),
    ("cn=reports", cn("reports\n")),
    ("cn=reports", cn("reports", "evil")),
    ("cn=reports", cn("evil", "reports")),
    ("cn=reports", ou("reports")),
    ("cn=reports", dns("reports")),
    ("cn=.+", cn("anything")),
    ("cn=rep.rts", cn("reports")),
    ("ou=billing", ou("Billing")),
    ("ou=billing", ou("billing2", "prebilling")),
    ("ou=billing", cn("billing")),
    ("dns=api.billing.svc", cn("api.billing.svc")),
    ("dns=api.billing.svc", dns("apiXbilling.svc")),
    ("dns=api.billing.svc", dns("api.billing.svc.evil.org")),
    ("dns=api.billing.svc", dns("x.api.billing.svc")),
    ("dns=api.billing.svc", dns("*.billing.svc")),
    ("dns=api.billing.svc", dns("api.billing.svc\n")),
    ("dns=k.billing.svc", dns("\u212a.billing.svc")),
    ("dns=*.billing.svc", dns("\u212a.billing.svc")),
    ("dns=*.billing.svc", dns("api.billing.svc.")),
    ("dns=api.billing.svc", dns("api.billing.svc.")),
    ("dns=xn--bcher-kva.svc", dns("b\u00fccher.svc")),
    ("dns=*.billing.svc", dns("billing.svc")),
    ("dns=*.billing.svc", dns(".billing.svc")),
    ("dns=*.billing.svc", dns("a.b.billing.svc")),
    ("dns=*.billing.svc", dns("xbilling.svc")),
    ("dns=*.billing.svc", dns("a.xbilling.svc")),
    ("dns=*.billing.svc", dns("*.billing.svc")),
    ("dns=*.billing.svc", dns("a.billing.svc.evil.org")),
    ("dns=*.billing.svc", dns("evil/a.billing.svc")),
    ("dns=*.billing.svc", uri("api.billing.svc")),
    ("uri=spiffe://example.org", uri("spiffe://example.org/a")),
    ("uri=spiffe://example.org", uri("spiffe://example.org/")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a/b")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/..")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a%2Fb")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a?q")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/*")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org.evil.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://evil.example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org:443/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://u@example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("SPIFFE://example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns//a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org//ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a/")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/.")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a#f")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a\n")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a\0")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe:///example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org./ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/NS/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://EXAMPLE.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("https://example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("x spiffe://example.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", uri("spiffe://example.org/ns/a", "spiffe://other.org/ns/a")),
    ("uri=spiffe://example.org/ns/*", dns("spiffe://example.org/ns/a")),
    ("uri=urn:uuid:1", uri("urn:uuid:12")),
    ("uri=urn:uuid:1", uri("URN:uuid:1")),
]


@pytest.mark.parametrize(("rules", "identity"), KEPT_OUT)
def test_kept_out(rules: str, identity: Identity) -> None:
    """What only resembles, contains or extends a value is not let in, nor is it under another kind."""
    assert not allowed(parse_rules(rules), identity)


BAD = [
    (",", "there is no rule"),
    ("reports", "'reports' is no rule"),
    ("o=acme", "'o=acme' is no rule"),
    ("cn=", "has no value"),
    ("cn=a,=b", "'=b' is no rule"),
    (r"cn=a\b", "a backslash stands before"),
    ("cn=a\\", "a backslash stands before"),
    ("cn=*", "* stands for nothing in cn and ou"),
    ("ou=bill*", "* stands for nothing in cn and ou"),
    ("dns=*", "is no DNS name"),
    ("dns=*.", "is no DNS name"),
    ("dns=a.*.svc", "is no DNS name"),
    ("dns=api*.svc", "is no DNS name"),
    ("dns=*.*.svc", "is no DNS name"),
    ("dns=**.svc", "is no DNS name"),
    ("dns=a..svc", "is no DNS name"),
    ("dns=.svc", "is no DNS name"),
    ("dns=a.svc.", "is no DNS name"),
    ("dns=a b", "is no DNS name"),
    ("dns=bücher.svc", "begins with xn--"),
    ("uri=example.org", "is no URI"),
    ("uri=https://example.org/*", "path segment of a SPIFFE ID only"),
    ("uri=spiffe://*/ns", "is no SPIFFE ID"),
    ("uri=spiffe://example.org/ns/a*", "is no SPIFFE ID"),
    ("uri=spiffe://example.org/**", "is no SPIFFE ID"),
    ("uri=spiffe://example.org/", "is no SPIFFE ID"),
    ("uri=spiffe://example.org//a", "is no SPIFFE ID"),
    ("uri=spiffe://example.org/a/../b", "is no SPIFFE ID"),
    ("uri=spiffe://Example.org/a", "is no SPIFFE ID"),
    ("uri=SPIFFE://example.org/a", "is no SPIFFE ID"),
    ("uri=spiffe:example.org", "is no SPIFFE ID"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_bad_rules(text: str, reason: str) -> None:
    """A rule that could not match, or would match otherwise than it looks, is refused with the reason."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_rules(text)


def test_no_rules_let_everybody_in() -> None:
    """Without rules whoever is verified comes in."""
    assert allowed((), NOBODY)


@pytest.mark.parametrize("text", [rules for rules, _ in LET_IN])
def test_rules_read_back(text: str) -> None:
    """Rules are the same when what is written of them is read again."""
    rules = parse_rules(text)
    assert parse_rules(spell_rules(rules)) == rules


def test_the_same_rule_counts_once() -> None:
    """A rule that is written twice is one."""
    assert parse_rules("dns=a.svc,dns=A.svc") == (Rule("dns", "a.svc"),)
