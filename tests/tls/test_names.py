"""tlsproxy/tls/names.py, as tables."""

from dataclasses import replace

import pytest

from tests.tls.material import NOW, Request, key, material
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.checks import check
from tlsproxy.tls.names import Coverage, Picks, canonical, companions, owners

EC, RSA, ED = "secp256r1", "rsa-2048", "ed25519"


def certificate(*names: str, kind: str = EC) -> Certificate:
    return check(material(*Request(names=names, key=key(kind)).issue().pair), NOW)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("Shop.Example.ORG", "shop.example.org"),
        ("shop.example.org.", "shop.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("*.Example.org", "*.example.org"),
        ("ü" * 64 + ".example", "ü" * 64 + ".example"),
        ("", ""),
    ],
)
def test_names_have_one_form(name: str, form: str) -> None:
    """Names are compared as A-labels in lower case, without the dot at their end."""
    assert canonical(name) == form


PICKS = Picks({"shop.example.org": 1, "*.example.org": 2, "*.a.example.org": 3, "xn--bcher-kva.example": 4, "*": 5})


@pytest.mark.parametrize(
    ("name", "picked"),
    [
        ("shop.example.org", 1),
        ("SHOP.example.org.", 1),
        ("other.example.org", 2),
        ("b.a.example.org", 3),
        ("a.example.org", 2),
        ("example.org", None),
        ("c.b.a.example.org", None),
        ("bücher.example", 4),
        ("localhost", None),
        ("evilshop.example.org", 2),
        ("shop.example.org.evil", None),
        ("*.b.example.org", None),
        (".example.org", None),
        (".", None),
        ("", None),
    ],
)
def test_exact_then_one_label(name: str, picked: int | None) -> None:
    """A name is picked exactly, else by the wildcard for its first label alone, else not at all."""
    assert PICKS.pick(name) == picked


@pytest.mark.parametrize(
    ("certificates", "served"),
    [
        ([certificate("a.org"), certificate("b.org")], {"a.org": (0,), "b.org": (1,)}),
        ([certificate("a.org", "A.org."), certificate("a.org")], {"a.org": (0,)}),
        ([certificate("a.org"), certificate("a.org", kind=RSA)], {"a.org": (0, 1)}),
        (
            [certificate("a.org", kind=RSA), certificate("a.org", kind="secp384r1"), certificate("a.org", kind=ED)],
            {"a.org": (0, 1, 2)},
        ),
        ([certificate("a.org", kind=EC), certificate("a.org", kind="secp384r1")], {"a.org": (0,)}),
        (
            [certificate("*.a.org", kind=RSA), certificate("x.a.org"), certificate("*.a.org")],
            {"*.a.org": (0, 2), "x.a.org": (1, 0)},
        ),
    ],
    ids=["apart", "the first", "two kinds", "three kinds", "two curves", "a wildcard of another kind"],
)
def test_each_name_has_one_certificate_of_each_kind(
    certificates: list[Certificate], served: dict[str, tuple[int, ...]]
) -> None:
    """The first of each kind of key serves a name, one for the name itself before one with a wildcard."""
    assert owners(certificates) == served


@pytest.mark.parametrize(
    ("others", "beside"),
    [
        ([certificate("a.org", "b.org", kind=RSA)], [1]),
        ([certificate("a.org", kind=RSA)], []),
        ([certificate("a.org", "b.org", "c.org", kind=RSA), certificate("a.org", "b.org", kind=ED)], [1, 2]),
        ([certificate("a.org", "b.org")], []),
    ],
    ids=["all names", "one name", "two kinds", "its own kind"],
)
def test_the_default_has_companions_for_all_its_names(others: list[Certificate], beside: list[int]) -> None:
    """Whoever asks for no name is served by the default, or by one of another kind that is for all its names."""
    certificates = [certificate("a.org", "b.org"), *others]
    assert companions(0, certificates, owners(certificates)) == beside


def test_a_certificate_without_names_has_no_companions() -> None:
    """Where there is nothing to be for, nothing is for it."""
    bare = replace(certificate("a.org"), names=())
    assert companions(0, [bare], owners([bare])) == []


@pytest.mark.parametrize(
    ("authority", "covered"),
    [
        (b"shop.example.org", True),
        (b"SHOP.example.org:8443", True),
        (b"shop.example.org.:443", True),
        (b"x.wild.example", True),
        (b"x.y.wild.example", False),
        (b"blog.example.org", False),
        (b"10.0.0.1:443", True),
        (b"10.0.0.2", False),
        (b"[2001:DB8:0:0::1]:443", True),
        (b"[2001:db8::2]", False),
        (b"[::g]", False),
        (b"", False),
    ],
)
def test_coverage_of_a_host(authority: bytes, covered: bool) -> None:
    """A Host is covered by a certificate's names as SNI is, its port left out; addresses in any spelling."""
    coverage = Coverage(("shop.example.org", "*.wild.example", "10.0.0.1", "2001:db8::1"))
    assert coverage(authority) is covered
    assert coverage(authority) is covered, "what is remembered is the same"


def test_what_is_remembered_is_bounded() -> None:
    """A client that invents hosts fills no memory."""
    coverage = Coverage(("shop.example.org",))
    for number in range(Coverage.BOUND * 2 + 1):
        assert not coverage(b"%d.example" % number)
    assert len(coverage._known) <= Coverage.BOUND
