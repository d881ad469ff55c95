"""The exit statuses: part of the contract, the same for every sidecar of the family."""

from enum import IntEnum


class Exit(IntEnum):
    """Why the process ended, as its parent sees it."""

    STOPPED = 0
    """Stopped as asked."""
    FAILED = 1
    """Anything that has no status of its own."""
    SETTINGS = 2
    """Bad settings: the message lists every bad variable."""
    CERTIFICATE = 3
    """No usable certificate within CERT_WAIT."""
    PORT = 4
    """A listening port could not be had."""
