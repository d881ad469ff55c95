"""Which form each client gets that asks for none."""

import pytest

from tlsproxy.companions.topz.negotiation import preferred

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"


@pytest.mark.parametrize(
    ("accept", "user_agent", "form"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", BROWSER, "html"),
        ("*/*", "curl/8.5.0", "text"),
        ("*/*", "Wget/1.21", "text"),
        ("", "", "text"),
        ("*/*", BROWSER, "html"),
        ("application/json", "curl/8.5.0", "json"),
        ("application/json, */*;q=0.5", "HTTPie/3.2", "json"),
        ("text/plain", BROWSER, "text"),
        ("text/plain;q=0.5, application/json", "x", "json"),
        ("text/html;q=0, */*", "x", "text"),
        ("application/json;q=odd, text/html;q=0.1", "x", "html"),
        ("image/png", "x", "text"),
        ("TEXT/HTML", "x", "html"),
    ],
)
def test_forms(accept: str, user_agent: str, form: str) -> None:
    """By what it takes and how much it likes it; one that takes anything gets text, unless it is a browser."""
    assert preferred(accept, user_agent) == form
