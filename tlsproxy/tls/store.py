"""The live generation: material is read, checked, armed and rehearsed as a whole, and published at once.

The first load and every reload are the same call. What cannot be served changes nothing: the last good
generation stays, and the failure is remembered for metrics and status and logged once. Connections take
`Store.context` at their start and keep it, so a new generation touches none that is under way; tickets of an
older one do not resume.
"""

import logging
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from tlsproxy.chassis.measures import Measure
from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.context import ProfileName, build, rehearse
from tlsproxy.tls.description import arrival, moment, summary
from tlsproxy.tls.expiry import ExpiryWarnings
from tlsproxy.tls.files import Material, MaterialError
from tlsproxy.tls.steps import Steps, at_once

Source = Callable[[], Material]
"""Reads the material of the moment; raises `MaterialError` where there is none to be had."""

Known = Callable[[Material], Certificate | None]
"""What has come of material where it was checked before; None: it has to be."""

log = logging.getLogger("tlsproxy.certificates")


@dataclass(frozen=True, slots=True)
class Generation:
    """All that connections of one time are served with."""

    number: int
    """From 1."""
    certificate: Certificate
    context: ssl.SSLContext
    loaded_at: datetime
    material: Material = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of one look at the material."""

    kind: Literal["loaded", "unchanged", "failed"]
    message: str
    """For the operator: what is served now, or why what is there is not."""
    at: datetime
    on_disk: str = ""
    """The fingerprint of the certificate that is there though it is not served; empty where none can be read."""
    changed: bool = False
    """Whether something new is served from here on; where there are several certificates, another may have failed."""


class Store:
    """Holds what is served under one name."""

    def __init__(
        self,
        name: str,
        source: Source,
        profile: ProfileName,
        alpn: tuple[str, ...] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        expiry_warning: timedelta = timedelta(),
        known: Known = lambda _: None,
    ) -> None:
        self.name = name
        self.generation: Generation | None = None
        """None until the first load that succeeds; from then on always one."""
        self.error: Reload | None = None
        """Why the material of the moment is not served, since when; None while it is."""
        self.last: Reload | None = None
        """The last load that changed something or failed."""
        self.drifting_since: datetime | None = None
        """Since when something else is on disk than is served, for whatever reasons; None while it is the same."""
        self.reloads: Counter[str] = Counter()
        """Loads that changed something (`loaded`) or failed (`failed`)."""
        self._source = source
        self._profile = profile
        self._alpn = alpn
        self._clock = clock
        self._expiry = ExpiryWarnings(expiry_warning)
        self._known = known

    def __repr__(self) -> str:
        return f"<Store {self.name} generation={self.generation!r} error={self.error!r}>"

    @property
    def context(self) -> ssl.SSLContext:
        """For a connection that begins at this moment.

        Raises:
            LookupError: nothing has been loaded yet.
        """
        if self.generation is None:
            raise LookupError(f"no certificate {self.name!r} has been loaded")
        return self.generation.context

    @property
    def is_valid(self) -> bool:
        """Whether what is served is within its dates at this moment; False where nothing is served."""
        return self.generation is not None and self.generation.certificate.dates(self._clock()) == "valid"

    def load(self, *, provisional: bool = False) -> Reload:
        """Look at the material, at once; for what is returned and what `provisional` means see `look`."""
        return at_once(self.look(provisional=provisional))

    def look(self, *, provisional: bool = False) -> Steps[Reload]:
        """Look at the material, and serve it from here on if it is new and good; bad material never raises.

        Args:
            provisional: somebody may be in the middle of writing the files: a failure is returned, but
                neither logged nor counted nor remembered. The caller owes another look, and at last one that
                is not provisional.
        """
        result = yield from self._look(provisional)
        self._warn_of_expiry()
        return result

    def _look(self, provisional: bool) -> Steps[Reload]:
        material: Material | None = None
        try:
            material = self._source()
            if self.generation is not None and self.generation.material == material:
                return self._unchanged(self.generation)
            generation = yield from self._generate(material)
        except MaterialError as error:
            on_disk = _fingerprint_on_disk(material) if material is not None else ""
            failure = Reload("failed", str(error), self._clock(), on_disk)
            return failure if provisional else self._failed(failure)
        return self._publish(generation)

    def _generate(self, material: Material) -> Steps[Generation]:
        """Everything new, from the bytes to contexts that have served a handshake."""
        known = self._known(material)
        if known is None and "tlsproxy.tls.checks" not in sys.modules:
            yield _load_checks
        now = self._clock()
        certificate = known or _check(material, now)
        self._refuse_worse_dates(certificate, now)
        context = build(certificate, self._profile, self._alpn)
        rehearse(context, certificate)
        number = self.generation.number + 1 if self.generation else 1
        return Generation(number, certificate, context, now, material)

    def _refuse_worse_dates(self, certificate: Certificate, now: datetime) -> None:
        dates = certificate.dates(now)
        if dates != "valid" and self.generation and self.generation.certificate.dates(now) == "valid":
            raise MaterialError(
                f"{certificate.certificate_file} holds a certificate that is {dates} "
                f"(serial {certificate.serial}, {moment(certificate.not_before)} to "
                f"{moment(certificate.not_after)}), and the one that is served is valid"
            )

    def _publish(self, generation: Generation) -> Reload:
        before, self.generation = self.generation, generation
        certificate = generation.certificate
        former = before.certificate if before else None
        self.error = self.drifting_since = None
        self.last = Reload("loaded", arrival(former, certificate), generation.loaded_at, changed=True)
        self.reloads["loaded"] += 1
        log.info("certificate %s: %s", self.name, self.last.message)
        for warning in certificate.warnings:
            # Where certificates live for hours, what each of them has in common is said once.
            if former is None or warning not in former.warnings:
                log.warning("certificate %s: %s", self.name, warning)
        return self.last

    def _unchanged(self, generation: Generation) -> Reload:
        certificate = generation.certificate
        if self.error is not None:
            self.error = self.drifting_since = None
            log.info("certificate %s: serial %s is in place again", self.name, certificate.serial)
        message = f"unchanged: serial {certificate.serial}, {summary(certificate)}"
        return Reload("unchanged", message, self._clock())

    def _failed(self, failure: Reload) -> Reload:
        self.reloads["failed"] += 1
        self.last = failure
        self.drifting_since = self.drifting_since or failure.at
        if self.error is None or (self.error.message, self.error.on_disk) != (failure.message, failure.on_disk):
            self.error = failure
            serial = f"serial {self.generation.certificate.serial}" if self.generation else "nothing"
            log.error("certificate %s: %s; %s is served", self.name, failure.message, serial)
        return failure

    def _warn_of_expiry(self) -> None:
        if self.generation and (due := self._expiry.due(self.generation.certificate, self._clock())):
            log.warning("certificate %s: %s: is it being renewed? (TLSPROXY_CERT_EXPIRY_WARNING)", self.name, due)

    def measures(self) -> Iterator[Measure]:
        """The certificate's state and the loads so far, as metric families."""
        name = (self.name,)
        live = self.generation
        yield Measure(
            "tlsproxy_certificate_expiry_timestamp_seconds",
            "gauge",
            "When the served certificate expires, in seconds since 1970.",
            ("name",),
            {name: live.certificate.not_after.timestamp()} if live else {},
        )
        yield Measure(
            "tlsproxy_certificate_expiry_warning_timestamp_seconds",
            "gauge",
            "From when on the served certificate is warned about, in seconds since 1970.",
            ("name",),
            {name: self._expiry.begins(live.certificate).timestamp()} if live else {},
        )
        yield Measure(
            "tlsproxy_certificate_reloads_total",
            "counter",
            "Loads of the certificate that changed what is served (loaded) or could not (failed).",
            ("name", "result"),
            {(self.name, result): self.reloads[result] for result in ("loaded", "failed")},
        )
        yield Measure(
            "tlsproxy_certificate_last_reload_timestamp_seconds",
            "gauge",
            "When the served certificate was loaded, in seconds since 1970.",
            ("name",),
            {name: live.loaded_at.timestamp()} if live else {},
        )
        yield Measure(
            "tlsproxy_certificate_drift",
            "gauge",
            "1 while what is on disk is not what is served.",
            ("name",),
            {name: float(self.error is not None)},
        )
        yield Measure(
            "tlsproxy_certificate_drift_began_timestamp_seconds",
            "gauge",
            "Since when what is on disk is not what is served, in seconds since 1970; none while it is.",
            ("name",),
            {name: self.drifting_since.timestamp()} if self.drifting_since else {},
        )

    def status(self) -> dict[str, object]:
        """What an operator asks of the certificate, for JSON; no secrets are in it."""
        served = _served(self.generation, self._clock()) if self.generation else {}
        return {
            "name": self.name,
            **served,
            "last_reload": _told(self.last),
            "error": _told(self.error),
            "drift": self._drift(),
        }

    def _drift(self) -> dict[str, str | None] | None:
        if self.error is None or self.drifting_since is None:
            return None
        served = self.generation.certificate.fingerprint if self.generation else None
        return {"since": moment(self.drifting_since), "on_disk": self.error.on_disk or None, "served": served}


def _load_checks() -> None:
    """Take in the 11 MB that checks take, 0.05 s of CPU in a thread; who has nothing to check needs none."""
    import tlsproxy.tls.checks  # noqa: F401, PLC0415 - see above


def _check(material: Material, now: datetime) -> Certificate:
    from tlsproxy.tls.checks import check  # noqa: PLC0415 - see `_load_checks`

    return check(material, now)


def _fingerprint_on_disk(material: Material) -> str:
    from tlsproxy.tls.checks import fingerprint_on_disk  # noqa: PLC0415 - see `_load_checks`

    return fingerprint_on_disk(material)


def _served(generation: Generation, now: datetime) -> dict[str, object]:
    certificate = generation.certificate
    return {
        "names": list(certificate.names),
        "serial": certificate.serial,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": moment(certificate.not_before),
        "not_after": moment(certificate.not_after),
        "dates": certificate.dates(now),
        "days_left": round(certificate.days_left(now), 2),
        "key_type": certificate.key_type,
        "fingerprint": certificate.fingerprint,
        "chain": list(certificate.chain),
        "files": list(dict.fromkeys((certificate.certificate_file, certificate.key_file))),
        "warnings": list(certificate.warnings),
        "generation": generation.number,
        "loaded_at": moment(generation.loaded_at),
    }


def _told(reload: Reload | None) -> dict[str, str] | None:
    if reload is None:
        return None
    return {"time": moment(reload.at), "result": reload.kind, "message": reload.message}
