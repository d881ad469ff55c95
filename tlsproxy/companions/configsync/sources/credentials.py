"""What a source shows to be let in, and whom it trusts; read again on use, since all of it rotates.

Credentials are for one origin, that of the first source with a URL; which that is, `opening` says. No other source is
given them, and no redirect leads to another origin: `client` holds that. Only the private CA is for all, being trust
and no secret.
"""

import logging
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tlsproxy.chassis.secrets import SecretFileError
from tlsproxy.companions.configsync.sources.content import SourceError

T = TypeVar("T")

_logger = logging.getLogger("tlsproxy.sources")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is sent to one origin, and what its certificate is checked against."""

    token: Callable[[], str] | None = None
    """The bearer token, asked for before each request; may raise OSError or ValueError."""
    login: Callable[[], tuple[str, str]] | None = None
    """User and password, likewise; a token goes before them."""
    certificate: Path | None = None
    """The client's, in PEM, with its chain."""
    key: Path | None = None
    """The client's; None: it is in the certificate's file."""
    authority: Path | None = None
    """CAs in PEM, in place of the system's."""

    def for_strangers(self) -> "Credentials":
        """What sources of another origin get: the CAs."""
        return Credentials(authority=self.authority)

    def for_tls(self) -> "Credentials":
        """Without what is sent in a field, for an API that takes it in a way of its own."""
        return replace(self, token=None, login=None)

    def asked_token(self) -> str | None:
        """The token as it is at this moment; None: there is none.

        Raises:
            SourceError: it can't be read, is empty or can't be sent.
        """
        if self.token is None:
            return None
        token = _asked(self.token, "the token").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SourceError("the token is empty or holds characters that can't be sent")
        return token

    def asked_login(self) -> tuple[str, str] | None:
        """User and password as they are at this moment; None: there are none.

        Raises:
            SourceError: they can't be read or be sent.
        """
        if self.login is None:
            return None
        user, password = _asked(self.login, "user and password")
        if not user or ":" in user or not (user + password).isprintable():
            raise SourceError("the user is empty, or user or password hold characters that can't be sent")
        return user, password

    def authorization(self) -> str | None:
        """The field's value (RFC 6750, RFC 7617); None: nothing is shown.

        Raises:
            SourceError: as the two above.
        """
        if token := self.asked_token():
            return f"Bearer {token}"
        if login := self.asked_login():
            return f"Basic {b64encode(':'.join(login).encode()).decode()}"
        return None


def _asked(ask: Callable[[], T], what: str) -> T:
    try:
        return ask()
    except SecretFileError as error:
        raise SourceError(f"{what} can't be read: {error}") from None
    except OSError as error:
        raise SourceError(f"{what} can't be read: {error.filename or 'the file'}: {error.strerror}") from None
    except ValueError:
        # What it says may quote the secret.
        raise SourceError(f"{what} can't be read: what is there is no text") from None


_Stamp = tuple[tuple[int, int, int], ...]
"""By file its inode, size and time of change."""


class TlsContext:
    """The context for one origin, made anew when one of its files has changed.

    Args:
        credentials: of which the files are used.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        files = (credentials.authority, credentials.certificate, credentials.key)
        self._files = tuple(path for path in files if path is not None)
        self._stamp: _Stamp | None = None
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """The context for the files as they are; where there are none, with the system's CAs.

        Files that can't be used, as in the middle of a rotation, leave the last good context in place.

        Raises:
            SourceError: there has never been a good one.
        """
        try:
            stamp = tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, self._files))
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._made(), stamp
        except (OSError, ValueError) as error:
            message = f"the certificates for this source can't be used: {_reason(error, self._files)}"
            if self._context is None:
                raise SourceError(message) from None
            _logger.warning("%s; those read before stay in use", message)
        return self._context

    def _made(self) -> ssl.SSLContext:
        files = self._credentials
        context = ssl.create_default_context(cafile=files.authority)
        if files.certificate is not None:
            # An encrypted key would be asked for on the terminal.
            context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        return context


def _reason(error: Exception, files: tuple[Path, ...]) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    told = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return f"{', '.join(map(str, files))}: {told}"
