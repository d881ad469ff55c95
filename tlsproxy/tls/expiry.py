"""When a certificate's end is worth a warning: from some time before it, once a day. Pure.

It is asked whenever the files are looked at, so no certificate has a timer of its own.
"""

from datetime import datetime, timedelta

from tlsproxy.tls.certificate import Certificate
from tlsproxy.tls.description import days

AGAIN_AFTER = timedelta(days=1)


class ExpiryWarnings:
    """Those of one name, whichever certificates it has over time.

    Where certificates live for hours, a line for each of them would tell of nothing but health: one a day is all.
    """

    def __init__(self, within: timedelta) -> None:
        """Nothing is due before a certificate has less left than `within`; 0: nothing ever is."""
        self.within = within
        self._told_at: datetime | None = None

    def begins(self, certificate: Certificate) -> datetime:
        """From when on it is warned about."""
        return certificate.not_after - self.within

    def due(self, certificate: Certificate, now: datetime) -> str:
        """What is to be said at this moment; empty: nothing, or it was said within the last day."""
        if not self.within or now < self.begins(certificate):
            return ""
        if self._told_at is not None and now - self._told_at < AGAIN_AFTER:
            return ""
        self._told_at = now
        return f"serial {certificate.serial}, from {certificate.certificate_file}, {days(certificate, now)}"
