"""Keeps the trust of a listener at what lies on disk: bad files change nothing, the last good ones stay.

The first load and every reload are the same call, as for certificates; what is new is a new value, of which whoever
serves makes new contexts.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tlsproxy.chassis.measures import Measure
from tlsproxy.tls.description import moment
from tlsproxy.tls.files import MaterialError
from tlsproxy.tls.store import Reload
from tlsproxy.tls.trust import Trust, TrustMaterial

log = logging.getLogger("tlsproxy.clients")

_AGAIN_AFTER = timedelta(days=1)
# A list that is renewed in time never has less than this part of its life left.
_LAST_PART = 4


class TrustStore:
    """Keeps the last good trust of a listener."""

    def __init__(
        self,
        source: Callable[[], TrustMaterial],
        *,
        required: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is looked at before `load`.

        Args:
            source: reads the material of the moment; raises MaterialError where there is none to be had.
            required: as `Trust` has it.
            clock: the time.
        """
        self.trust: Trust | None = None
        """None until the first load that succeeds; from then on always one."""
        self.error: Reload | None = None
        """Why what is there is not what clients are verified with, since when; None while it is."""
        self._source = source
        self._required = required
        self._clock = clock
        self.material: TrustMaterial | None = None
        """What the trust was made of."""
        self._told: tuple[bool, datetime] | None = None
        self._over = False
        """Whether a list was, when this trust was taken."""

    def __repr__(self) -> str:
        return f"<TrustStore {self.trust!r} error={self.error!r}>"

    def load(self, *, provisional: bool = False) -> Reload:
        """Look at the files, and take what is new and good; bad files never raise.

        Args:
            provisional: as for `Store.load`.
        """
        result = self._look(provisional=provisional)
        self._end_sessions()
        self._warn_of_the_lists()
        return result

    def _look(self, *, provisional: bool) -> Reload:
        from tlsproxy.tls.trust_checks import check_trust  # noqa: PLC0415 - see there

        now = self._clock()
        try:
            material = self._source()
            if material == self.material:
                if self.error is not None:
                    log.info("client CAs: %s is in place again", material.bundle_file)
                    self.error = None
                return Reload("unchanged", "unchanged", now)
            trust = check_trust(material, now, required=self._required)
            self._refuse_weaker(trust, material, now)
        except MaterialError as error:
            return self._failed(Reload("failed", str(error), now), provisional=provisional)
        self.material, self.trust, self.error, self._told = material, trust, None, None
        self._over = trust.is_over(now)
        revoked = "no revocation list" if trust.revoked is None else f"{trust.revoked} revoked"
        log.info("client CAs: %s; %s; from %s", "; ".join(trust.authorities), revoked, material.bundle_file)
        for warning in trust.warnings:
            log.warning("client CAs: %s", warning)
        return Reload("loaded", material.bundle_file, now)

    def _end_sessions(self) -> None:
        """Take the trust for a new one once a list is over: OpenSSL looks at that in whole handshakes alone."""
        if self.trust is not None and not self._over and self.trust.is_over(self._clock()):
            self.trust, self._over = replace(self.trust), True

    def _refuse_weaker(self, trust: Trust, material: TrustMaterial, now: datetime) -> None:
        """What was revoked does not come back because a file is lost."""
        if self.trust is None or self.trust.revoked is None:
            return
        if trust.revoked is None:
            raise MaterialError(
                f"{material.lists_file} is gone: the lists that it held go on being used; put it back, or restart to "
                "go on without"
            )
        if trust.is_over(now) and not self.trust.is_over(now):
            raise MaterialError(f"{material.lists_file} holds a list that is over, and the one that is used is not")

    def _failed(self, failure: Reload, *, provisional: bool) -> Reload:
        if not provisional and (self.error is None or self.error.message != failure.message):
            self.error = failure
            stays = "the last good ones are used" if self.trust else "no client can be verified"
            log.error("client CAs: %s; %s", failure.message, stays)
        return failure

    def _warn_of_the_lists(self) -> None:
        """Say once a day that a list is about to end, and loudly that it has."""
        trust, now = self.trust, self._clock()
        if trust is None or trust.list_ends is None or trust.list_began is None:
            return
        over = trust.is_over(now)
        soon = trust.list_ends - (trust.list_ends - trust.list_began) / _LAST_PART
        if now < soon or (self._told is not None and self._told[0] == over and now - self._told[1] < _AGAIN_AFTER):
            return
        self._told = over, now
        if over:
            log.error(
                "client CAs: a revocation list is over since %s: ALL CLIENTS OF ITS CA ARE REFUSED until it is renewed",
                moment(trust.list_ends),
            )
        else:
            log.warning(
                "client CAs: a revocation list is over on %s, and all clients of its CA are refused from then on",
                moment(trust.list_ends),
            )

    def measures(self) -> Iterator[Measure]:
        """The trust's state, as metric families."""
        trust = self.trust
        yield Measure(
            "tlsproxy_client_crl_expiry_timestamp_seconds",
            "gauge",
            "When the first of the clients' revocation lists is over, in seconds since 1970.",
            (),
            {(): trust.list_ends.timestamp()} if trust and trust.list_ends else {},
        )
        yield Measure(
            "tlsproxy_client_ca_drift",
            "gauge",
            "1 while the client CAs and revocation lists on disk are not those that are used.",
            (),
            {(): float(self.error is not None)},
        )

    def status(self) -> dict[str, object]:
        """What an operator asks of it, for JSON."""
        trust, error = self.trust, self.error
        ends = trust.list_ends if trust else None
        return {
            "authorities": list(trust.authorities) if trust else [],
            "revoked": trust.revoked if trust else None,
            "lists_end": ends.isoformat() if ends else None,
            "warnings": list(trust.warnings) if trust else [],
            "error": error.message if error else None,
            "error_since": error.at.isoformat("T", "seconds") if error else None,
        }
