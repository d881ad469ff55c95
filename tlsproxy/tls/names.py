"""Which certificate is for which name, by what the certificates themselves say. Pure.

A name is picked exactly, else by the wildcard that stands for its first label (RFC 9525 section 6.3: one whole
label, the left-most). Names are compared as A-labels in lower case, without the dot that may end them. That
certificates of several kinds of key are for one name is how clients are served that know only one of them: of each
kind the first counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Generic, TypeVar

from tlsproxy.tls.certificate import Certificate

T = TypeVar("T")


def canonical(name: str) -> str:
    """The form in which names are compared; what is no host name only gets lower case."""
    name = name.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def patterns(name: str) -> tuple[str, str]:
    """What covers a canonical name: itself, else its one-label wildcard; empty where there can be none."""
    first, _, parent = name.partition(".")
    return name, f"*.{parent}" if parent and first not in {"", "*"} else ""


class Picks(Generic[T]):
    """Something for each name."""

    def __init__(self, by_pattern: Mapping[str, T]) -> None:
        """Takes canonical names and wildcards."""
        self._by_pattern = by_pattern

    def pick(self, name: str) -> T | None:
        """What is for the name; None: nothing is."""
        exact, wildcard = patterns(canonical(name))
        found = self._by_pattern.get(exact)
        return self._by_pattern.get(wildcard) if found is None else found


def owners(certificates: Sequence[Certificate]) -> dict[str, tuple[int, ...]]:
    """For each canonical name and wildcard, which certificates serve it, by their place in the sequence.

    Of each kind of key it is the first that is for the name itself, or else the first that covers it by a wildcard.
    """
    claims: dict[str, list[int]] = {}
    for place, certificate in enumerate(certificates):
        for pattern in dict.fromkeys(map(canonical, certificate.names)):
            claims.setdefault(pattern, []).append(place)
    served = {}
    for pattern, places in claims.items():
        wildcard = patterns(pattern)[1]
        served[pattern] = tuple(_first_of_each_kind([*places, *claims.get(wildcard, ())], certificates))
    return served


def companions(place: int, certificates: Sequence[Certificate], served: Mapping[str, tuple[int, ...]]) -> list[int]:
    """The certificates of other kinds of key that are for every name that the one at this place is for.

    Args:
        place: of the one.
        certificates: all of them.
        served: what `owners` says of them.
    """
    names = [canonical(name) for name in certificates[place].names]
    shared = [served[name] for name in names]
    own = kind(certificates[place])
    others = shared[0] if shared else ()
    return [other for other in others if kind(certificates[other]) != own and all(other in places for places in shared)]


def kind(certificate: Certificate) -> str:
    """The kind of its key: OpenSSL holds one certificate of each in a context."""
    return certificate.key_type.partition(" ")[0]


def _first_of_each_kind(places: Sequence[int], certificates: Sequence[Certificate]) -> Iterator[int]:
    seen: set[str] = set()
    for place in places:
        if kind(certificates[place]) not in seen:
            seen.add(kind(certificates[place]))
            yield place


class Coverage:
    """Whether a request's Host is among the names of a certificate; its answers are remembered.

    Args:
        names: the certificate's, as it has them.
    """

    BOUND = 256

    def __init__(self, names: Sequence[str]) -> None:
        self._picks = Picks(dict.fromkeys(map(canonical, names), True))
        self._known: dict[bytes, bool] = {}

    def __call__(self, authority: bytes) -> bool:
        """Whether the host of the authority, which may carry a port, is covered."""
        known = self._known.get(authority)
        if known is None:
            if len(self._known) >= self.BOUND:
                self._known.clear()
            known = self._known[authority] = self._picks.pick(_host(authority)) is not None
        return known


def _host(authority: bytes) -> str:
    """The host without its port; an IPv6 address without its brackets and as certificates are told of it."""
    text = authority.decode("latin-1")
    if not text.startswith("["):
        return text.partition(":")[0]
    address = text[1:].partition("]")[0]
    try:
        return str(ip_address(address))
    except ValueError:
        return address
