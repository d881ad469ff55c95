"""What an app that believes itself on plain HTTP gets wrong, put right in its response heads. Pure."""

import re
from dataclasses import dataclass

from tlsproxy.proxy.heads import LOCATION, SET_COOKIE, TRANSPORT_SECURITY, Response, lines

_HTTP_URL = re.compile(rb"http://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_SECURE = re.compile(rb";[ \t]*secure[ \t]*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fixes:
    """Which fixes are on."""

    app_authorities: frozenset[bytes] = frozenset()
    """The app's own addresses with their port, in lower case: nothing a client could reach."""
    redirects: bool = True
    """Whether http:// redirects to ourselves become https://."""
    secure_cookies: bool = False
    """Whether cookies that lack `Secure` get it."""
    transport_security: bytes = b""
    """Value of Strict-Transport-Security for responses that have none (RFC 6797); empty sends none."""

    def head(self, response: Response, host: bytes) -> bytes:
        """The lines of a response's head, put right.

        Args:
            response: as the app gave it.
            host: the authority that the client asked for; empty when it named none.
        """
        fields, noted = response.fields, response.noted
        if self.redirects and LOCATION in noted and host:
            fields = [(n, self._redirect(v, host)) if n.lower() == b"location" else (n, v) for n, v in fields]
        if self.secure_cookies and SET_COOKIE in noted:
            fields = [(n, _secured(v)) if n.lower() == b"set-cookie" else (n, v) for n, v in fields]
        head = response.head if fields is response.fields else lines(response.status, response.reason, fields)
        if self.transport_security and TRANSPORT_SECURITY not in noted:
            head += b"Strict-Transport-Security: %b\r\n" % self.transport_security
        return head

    def _redirect(self, location: bytes, host: bytes) -> bytes:
        """A Location that names http:// and the request's host or the app's own address, as https:// and that host."""
        match = _HTTP_URL.fullmatch(location)
        if match is None:
            return location
        authority, rest = match[1].lower(), match[2]
        ours = authority in {host.lower(), _name(host.lower()), _name(host.lower()) + b":80"}
        return b"https://%b%b" % (host, rest) if ours or authority in self.app_authorities else location


def _name(authority: bytes) -> bytes:
    """An authority without its port."""
    return re.sub(rb":[0-9]*$", b"", authority)


def _secured(cookie: bytes) -> bytes:
    """A Set-Cookie value with the Secure attribute (RFC 6265 section 5.2.5)."""
    return cookie if _SECURE.search(cookie) else cookie + b"; Secure"
