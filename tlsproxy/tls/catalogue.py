"""All the certificates of a listener: each name keeps its own store, and what connections get is published as one.

Each store looks, fails and recovers on its own; whatever changes in any of them makes a new listening context, so
that tickets of an older one do not resume, and one assignment publishes it. Within it the client's SNI picks, by
the names in the certificates. The contexts of certificates that have not changed are used on.
"""

import logging
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tlsproxy.chassis.measures import Distribution, Measure
from tlsproxy.tls.asked import AskedNames
from tlsproxy.tls.certificate import Certificate, Checked
from tlsproxy.tls.context import Presented, ProfileName, build, note_names, switch_by_name, withhold_tickets
from tlsproxy.tls.files import AbsentError, MaterialError
from tlsproxy.tls.names import Coverage, Picks, companions, owners
from tlsproxy.tls.steps import Steps, at_once
from tlsproxy.tls.store import Generation, Reload, Store
from tlsproxy.tls.trust import Trust, TrustMaterial
from tlsproxy.tls.trust_store import TrustStore

Listed = Callable[[Collection[str]], Sequence[str]]
"""The names to serve at this moment, the default first, from those served so far; may raise `MaterialError`."""

Shared = dict[tuple[bytes, ...], ssl.SSLContext]
"""Contexts with certificates of several kinds of key, or that verify clients, by their chains."""

# Names that were lost with one rotation and are told of by name.
MISSED = 10

log = logging.getLogger("tlsproxy.certificates")


@dataclass(frozen=True, slots=True)
class Supply:
    """The bytes that a catalogue serves from at one moment, for another process to serve the same."""

    certificates: Checked
    """The default first."""
    trust: TrustMaterial | None
    """None: clients are not verified."""


class Catalogue:
    """What one listener serves, under all its names."""

    def __init__(
        self,
        title: str,
        listed: Listed,
        make: Callable[[str], Store],
        profile: ProfileName,
        alpn: tuple[str, ...] = (),
        *,
        strict: bool = False,
        trust: TrustStore | None = None,
        tickets: bool = True,
    ) -> None:
        """Nothing is looked at before `load`.

        Args:
            title: what all of it is called in messages, as in TLSPROXY_CERT_NAME.
            listed: asked at each look.
            make: makes the store of a name.
            profile: as for `build`, and as the stores have it; so is `alpn`.
            alpn: protocols offered.
            strict: names that no certificate is for are refused; a client that asks for none gets the default.
            trust: looked at with the certificates, which are not served without it; None: clients are not verified.
            tickets: whether clients are given tickets to resume their sessions by.
        """
        self.name = title
        self.error: Reload | None = None
        """Why there is nothing to look at, since when; None while there is."""
        self.stores: Mapping[str, Store] = {}
        """By name, the default first."""
        self.last: Reload | None = None
        """What came of the last look."""
        self.looked_at: datetime | None = None
        """When that was."""
        self._listed = listed
        self._make = make
        self._profile = profile
        self._alpn = alpn
        self._strict = strict
        self._tickets = tickets
        self.trust = trust
        """Whom clients have to be vouched for by; None: they are not verified."""
        self._trusted: Trust | None = None
        """What is served verifies clients with it."""
        self._asked = AskedNames()
        self._owner: Callable[[str], tuple[int, ...] | None] = lambda _: None
        """Which of those that are served are for a name, by their place; None: none is."""
        self._default: tuple[int, ...] = ()
        self._served: list[Generation] = []
        self._context: ssl.SSLContext | None = None
        self._shared: Shared = {}

    def __repr__(self) -> str:
        return f"<Catalogue {self.name} stores={len(self.stores)} served={len(self._served)}>"

    @property
    def context(self) -> ssl.SSLContext:
        """For a connection that begins at this moment; its handshake may go on with another.

        Raises:
            LookupError: nothing has been loaded yet.
        """
        if self._context is None:
            raise LookupError(f"no certificate {self.name!r} has been loaded")
        return self._context

    @property
    def is_serving(self) -> bool:
        """Whether there is anything to serve."""
        return self._context is not None

    @property
    def is_valid(self) -> bool:
        """Whether any certificate that is served is within its dates."""
        return any(store.is_valid for store in self.stores.values())

    @property
    def trouble(self) -> str:
        """Why something is not served as it lies there, the first reason; empty where all is."""
        errors = [self.error, *(store.error for store in self.stores.values())]
        if self.trust is not None:
            errors.append(self.trust.error)
        return next((error.message for error in errors if error is not None), "")

    # ------------------------------------------------------------------ looking

    def load(self, *, provisional: bool = False) -> Reload:
        """Look at everything, at once; for what is returned and what `provisional` means see `look`."""
        return at_once(self.look(provisional=provisional))

    def look(self, *, provisional: bool = False) -> Steps[Reload]:
        """Look at every name, one for each step, and publish at the end what is new and good.

        However many steps it takes, whoever connects meanwhile is served as before, and then with all that is new.

        Args:
            provisional: as for `Store.load`; names whose files are gone are kept, and count as failures.

        Returns:
            `failed` when any name failed, else `loaded` when anything changed.
        """
        results = list(self._list(provisional=provisional))
        for store in tuple(self.stores.values()):
            results.append((yield from store.look(provisional=provisional)))
            yield None
        if self.trust is not None and (trusting := self.trust.load(provisional=provisional)).kind == "failed":
            results.append(trusting)
        self.looked_at = datetime.now(UTC)
        self.last = self._summary(results, changed=(yield from self._publish()))
        return self.last

    def look_near(self, paths: Iterable[Path]) -> Steps[bool]:
        """Look at the names that paths speak of, where there are so many that looking at all takes its time.

        What is not good is passed over; the caller owes a look at everything.

        Args:
            paths: of what has changed; whose way holds a name, or NAME and an ending, speaks of it.

        Returns:
            Whether anything new is served.
        """
        spoken = {part for path in paths for part in (*path.parts, path.stem)}
        near = [store for name, store in self.stores.items() if name in spoken]
        if len(near) == len(self.stores):
            return False
        for store in near:
            yield from store.look(provisional=True)
            yield None
        return (yield from self._publish())

    def _list(self, *, provisional: bool) -> Iterator[Reload]:
        """Bring the stores in line with the names of the moment; tells what is amiss with those."""
        try:
            # Where nothing is left of anything, the mount itself is gone: the stores tell of it, and serve on.
            names = list(self._listed(self.stores.keys()) or self.stores)
            if not names:
                raise AbsentError("none is there yet: mount one in TLSPROXY_CERT_DIR, as NAME/tls.crt and NAME/tls.key")
        except MaterialError as error:
            yield self._failed(str(error), provisional=provisional)
            return
        self.error = None
        there = frozenset(names)
        for name in [name for name in self.stores if name not in there]:
            if provisional:
                names.append(name)
                yield Reload("failed", f"the files of {name} are gone", datetime.now(UTC))
            else:
                log.warning("certificate %s: its files are gone; it is served no longer", name)
        self.stores = {name: self.stores.get(name) or self._make(name) for name in names}

    def _failed(self, message: str, *, provisional: bool) -> Reload:
        failure = Reload("failed", message, datetime.now(UTC))
        if not provisional and (self.error is None or self.error.message != message):
            self.error = failure
            log.error("certificate %s: %s", self.name, message)
        return failure

    def _summary(self, results: Sequence[Reload], *, changed: bool) -> Reload:
        """One result for all; that of a single name as it is."""
        if len(results) == 1:
            return replace(results[0], changed=changed)
        failed = [result for result in results if result.kind == "failed"]
        if failed:
            return replace(failed[0], message="; ".join(result.message for result in failed), changed=changed)
        message = f"{len(self._served)} certificates"
        if changed:
            return Reload("loaded", message, datetime.now(UTC), changed=True)
        return Reload("unchanged", f"unchanged: {message}", datetime.now(UTC))

    # ------------------------------------------------------------------ publishing

    def _publish(self) -> Steps[bool]:
        """Make a new listening context if anything has changed since the last one; whether it has."""
        served = [store.generation for store in self.stores.values() if store.generation is not None]
        trust = self.trust.trust if self.trust is not None else None
        if not served or (self.trust is not None and trust is None):
            return False
        if list(map(id, served)) == list(map(id, self._served)) and trust is self._trusted:
            return False
        certificates = [generation.certificate for generation in served]
        owned = owners(certificates)
        default = (0, *companions(0, certificates, owned))
        context = self._build([certificates[place] for place in default], trust)
        shared: Shared = {}
        yield None
        if self._strict or len(served) > 1:
            shared = yield from self._switch(context, served, owned, default, trust)
        note_names(context, self._asked.note)
        if not self._tickets:
            withhold_tickets(context)
        self._served, self._trusted, self._shared = served, trust, shared
        self._context = context
        self._default = default
        self._miss(Picks(owned).pick)
        return True

    def _miss(self, owner: Callable[[str], tuple[int, ...] | None]) -> None:
        """Say which names clients have asked for that no certificate is for any more."""
        gone = self._asked.gone(self._owner, owner)
        self._owner = owner
        if gone:
            names = ", ".join(gone[:MISSED]) + (f" and {len(gone) - MISSED} more" if gone[MISSED:] else "")
            log.warning("certificate %s: clients have asked for %s, and none is for that any more", self.name, names)

    def _switch(
        self,
        context: ssl.SSLContext,
        served: Sequence[Generation],
        owned: Mapping[str, tuple[int, ...]],
        default: tuple[int, ...],
        trust: Trust | None,
    ) -> Steps[Shared]:
        """Let the context pick by name among what is served; with which contexts, where those are not the stores'."""
        certificates = [generation.certificate for generation in served]
        before = self._shared if trust is self._trusted else {}
        shared: Shared = {}
        presented = {default: Presented(None, self._coverage(certificates, default))}
        for places in owned.values():
            if places not in presented:
                own = served[places[0]].context
                if len(places) > 1 or trust is not None:
                    chosen = [certificates[place] for place in places]
                    chains = tuple(one.chain_pem for one in chosen)
                    own = shared[chains] = before.get(chains) or self._build(chosen, trust)
                    yield None
                presented[places] = Presented(own, self._coverage(certificates, places))
        picks = Picks({pattern: presented[places] for pattern, places in owned.items()})
        unnamed, unknown = presented[default], None if self._strict else presented[default]

        def pick(name: str | None) -> Presented | None:
            return (picks.pick(name) or unknown) if name else unnamed

        switch_by_name(context, pick)
        return shared

    def _build(self, certificates: Sequence[Certificate], trust: Trust | None) -> ssl.SSLContext:
        """A context with certificates of several kinds of key."""
        first, *others = certificates
        return build(first, self._profile, self._alpn, others, trust)

    def _coverage(self, certificates: Sequence[Certificate], places: tuple[int, ...]) -> Coverage | None:
        if not self._strict:
            return None
        return Coverage([name for place in places for name in certificates[place].names])

    # ------------------------------------------------------------------ telling

    def supply(self) -> Supply:
        """What is served at this moment."""
        live = {name: store.generation for name, store in self.stores.items() if store.generation}
        served = {name: (one.material, one.certificate) for name, one in live.items()}
        return Supply(served, self.trust.material if self.trust is not None else None)

    def answer(self, name: str) -> tuple[tuple[Certificate, ...], bool]:
        """What a client that asks for the name is served with, one of each kind of key, and whether that is for it.

        Nothing where such a client is refused.
        """
        places = self._owner(name)
        if places is None and self._strict:
            return (), False
        chosen = self._default if places is None else places
        return tuple(self._served[place].certificate for place in chosen), places is not None

    def measures(self) -> Iterator[Measure]:
        """Those of all stores, in one family each."""
        families: dict[str, Measure] = {}
        samples: dict[str, dict[tuple[str, ...], float | Distribution]] = {}
        for store in self.stores.values():
            for measure in store.measures():
                families.setdefault(measure.name, measure)
                samples.setdefault(measure.name, {}).update(measure.samples)
        for name, family in families.items():
            yield replace(family, samples=samples[name])
        if self.trust is not None:
            yield from self.trust.measures()

    def status(self) -> list[dict[str, object]]:
        """What an operator asks of each certificate, for JSON."""
        return [store.status() for store in self.stores.values()]
