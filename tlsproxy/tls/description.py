"""A certificate in an operator's words: for the log, /status and `tlsproxy check`. Pure; no secret is told."""

from collections.abc import Iterator
from datetime import datetime

from tlsproxy.tls.certificate import Certificate


def moment(when: datetime) -> str:
    """A time of day in UTC, to the second (RFC 3339)."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(certificate: Certificate) -> str:
    """What it is for, until when, and where it came from."""
    names = ", ".join(certificate.names) or "no names"
    return (
        f"for {names}, {certificate.key_type}, valid until {moment(certificate.not_after)}, "
        f"from {certificate.certificate_file}"
    )


def arrival(before: Certificate | None, after: Certificate) -> str:
    """What is served from here on, and in what it differs from what was served until then; None: nothing was."""
    if before is None:
        return f"serial {after.serial}, {summary(after)}"
    told = [
        f"serial {before.serial} -> {after.serial}, {summary(after)}",
        f"before: valid until {moment(before.not_after)}",
    ]
    for change, names in (("gained", _without(after, before)), ("lost", _without(before, after))):
        if names:
            told.append(f"{change} {', '.join(names)}")
    return "; ".join(told)


def _without(one: Certificate, other: Certificate) -> list[str]:
    """The names of one that the other lacks."""
    return [name for name in one.names if name not in other.names]


def days(certificate: Certificate, now: datetime) -> str:
    """How long it has, or how long ago it ended."""
    left = certificate.days_left(now)
    if left < 0:
        return f"expired {-left:.1f} days ago, on {moment(certificate.not_after)}"
    return f"expires in {left:.1f} days, on {moment(certificate.not_after)}"


def report(certificate: Certificate, now: datetime) -> Iterator[str]:
    """Everything about it, in lines for a person; its warnings are not among them."""
    files = dict.fromkeys((certificate.certificate_file, certificate.key_file))
    yield f"files: {' and '.join(files)}"
    yield f"names: {', '.join(certificate.names) or 'none'}"
    yield f"serial: {certificate.serial}, SHA-256 fingerprint {certificate.fingerprint}"
    yield f"key: {certificate.key_type}"
    yield f"issuer: {certificate.issuer}"
    yield f"chain: {' <- '.join(certificate.chain)}{_end(certificate)}"
    yield f"valid from {moment(certificate.not_before)}; {days(certificate, now)}"


def _end(certificate: Certificate) -> str:
    if certificate.missing_issuer:
        return f" <- {certificate.missing_issuer} (not in the file: clients need it as a root)"
    return " (its own issuer)"
