"""Request lines: their fields, their format, and that nobody can forge one."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tlsproxy.proxy.forwarding import Forwarding
from tlsproxy.proxy.journal import Client, Record
from tlsproxy.proxy.request_log import CombinedLines, JsonLines

FIELDS = [
    "time", "client", "method", "target", "protocol", "status", "received", "sent", "duration", "app_duration", "tls",
    "cipher", "sni", "client_cert", "request_id", "user_agent", "referer", "reason",
]  # fmt: skip
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "(?P<request>[^"]*)" '
    r'(?P<status>\d{3}) (?P<sent>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"\n'
)
CONTROLS = bytes(range(0x20)) + b"\x7f"
NASTY = [
    b'"',
    b"\\",
    b'\\"',
    b"\r\n",
    CONTROLS,
    b"\xff\xfe",
    "é€\U0001f600".encode(),
    "\u2028\u0085".encode(),
    b'", "x": "',
]


def record(target: str = "/t?q", agent: bytes = b"curl/8", referer: bytes = b"http://r/?s") -> Record:
    client = Client(Forwarding().peer("192.0.2.1"), "TLSv1.3", "TLS_AES_128_GCM_SHA256", "shop")
    made = Record(client, None)
    made.method, made.target, made.version = "GET", target, (1, 1)
    made.agent, made.referer, made.request_id = agent, referer, b"id-1"
    made.status, made.received, made.sent = 200, 3, 4
    made.app_started = made.started + 0.25
    return made


def ended(over: Record, reason: str = "", after: float = 0.0) -> Record:
    """The record of a request that took so many seconds."""
    over.ended, over.reason = over.started + after, reason
    return over


def line(
    kind: type[JsonLines | CombinedLines], over: Record, reason: str = "", *, query: bool = True, errors: bool = False
) -> str:
    """The one line of a request that took half a second; empty when there is none."""
    lines: list[str] = []
    kind(lines.append, errors_only=errors, query=query).add((ended(over, reason, 0.5),))
    assert len(lines) < 2
    return lines[0] if lines else ""


def parsed(over: Record, reason: str = "") -> dict[str, object]:
    text = line(JsonLines, over, reason)
    assert text.endswith("}\n")
    assert text.isascii()
    assert not set(text[:-1]) & set(map(chr, range(0x20))), "a control character in a line"
    found: dict[str, object] = json.loads(text)
    return found


def test_a_json_line() -> None:
    """One object of the contract's fields, in its order, with their units."""
    before = datetime.now(UTC)
    found = parsed(record(), "app_reset")
    assert list(found) == FIELDS
    time = datetime.fromisoformat(str(found.pop("time")))
    assert abs((time - before).total_seconds()) < 5
    assert found == {
        "client": "192.0.2.1", "method": "GET", "target": "/t?q", "protocol": "HTTP/1.1", "status": 200,
        "received": 3, "sent": 4, "duration": 0.5, "app_duration": 0.25, "tls": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256", "sni": "shop", "client_cert": None, "request_id": "id-1",
        "user_agent": "curl/8", "referer": "http://r/?s", "reason": "app_reset",
    }  # fmt: skip


def test_what_is_absent_is_null() -> None:
    """Nothing is told as an empty string that was not sent."""
    over = Record(Client(Forwarding().peer("192.0.2.1")), None)
    over.status, over.request_id = 400, b"id-1"
    found = parsed(over)
    absent = {name for name, value in found.items() if value is None}
    assert absent == {
        "app_duration", "tls", "cipher", "sni", "client_cert", "user_agent", "referer", "reason",
    }  # fmt: skip
    assert (found["method"], found["target"], found["protocol"]) == ("-", "-", "-")


@pytest.mark.parametrize("nasty", NASTY)
def test_a_json_line_can_not_be_forged(nasty: bytes) -> None:
    """Whatever a client writes is a value of its own field."""
    plain = parsed(record())
    target = "/" + nasty.decode("utf-8", "surrogateescape")
    found = parsed(record(target, b"a" + nasty, b"r" + nasty))
    changed = {name for name in FIELDS if found[name] != plain[name]} - {"time"}
    assert changed == {"target", "user_agent", "referer"}
    assert list(found) == FIELDS
    if nasty != b"\xff\xfe":
        assert found["user_agent"] == "a" + nasty.decode()
        assert found["target"] == target


def test_what_is_no_text_is_told_by_its_bytes() -> None:
    """Bytes that are no UTF-8 are written as escapes."""
    found = parsed(record("/\udcff", b"\xff"))
    assert (found["target"], found["user_agent"]) == ("/\\xff", "\\xff")


@pytest.mark.parametrize("name", ['evil","status":"200', "a\nb", "\u2028"])
def test_a_server_name_can_not_forge_either(name: str) -> None:
    """SNI and id are the client's or a trusted proxy's words as well."""
    over = record()
    over.client.server_name = name
    over.request_id = name.encode("utf-8")
    found = parsed(over)
    assert found["sni"] == name
    assert found["status"] == 200


@pytest.mark.parametrize("value", [b"a" * n for n in (0, 1, 5000)])
def test_values_are_remembered_rightly(value: bytes) -> None:
    """The memory for repeated values is bounded, and never tells one for another."""
    lines: list[str] = []
    log = JsonLines(lines.append)
    for n in range(3000):
        over = record(agent=b"agent-%d" % n, referer=value)
        log.add((ended(over),))
    agents = [json.loads(text)["user_agent"] for text in lines]
    assert agents == [f"agent-{n}" for n in range(3000)]
    assert len(log._strings) < 3000


def test_long_values_are_not_remembered() -> None:
    """What clients make up costs no memory: only short values, which repeat, are kept."""
    lines: list[str] = []
    log = JsonLines(lines.append)
    for n in range(100):
        over = record(agent=b"%0600d" % n, referer=b"%0600d" % -n)
        log.add((ended(over),))
    assert list(log._strings) == [b""]


# All but those that no field of HTTP can hold (RFC 9110 section 5.5).
BYTES = bytes(set(range(256)) - set(b"\r\n\0"))


def test_every_byte_in_a_json_line() -> None:
    """Each byte that a target, user agent or referer can have leaves one line of JSON that tells what it was."""
    for byte in BYTES:
        value = b"a%cb" % byte
        found = parsed(record(value.decode("utf-8", "surrogateescape"), value, value))
        told = value.decode("utf-8", "backslashreplace")
        assert (found["target"], found["user_agent"], found["referer"]) == (told, told, told)


def test_a_combined_line() -> None:
    """The text format is the Combined Log Format, which every analyser reads."""
    match = COMBINED.fullmatch(line(CombinedLines, record()))
    assert match is not None
    assert match.groupdict() | {"time": ""} == {
        "client": "192.0.2.1", "time": "", "request": "GET /t?q HTTP/1.1", "status": "200", "sent": "4",
        "referer": "http://r/?s", "agent": "curl/8",
    }  # fmt: skip
    datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")


def test_a_combined_line_of_what_was_no_request() -> None:
    """What is absent is a dash."""
    over = Record(Client(Forwarding().peer("")), None)
    over.status = 400
    match = COMBINED.fullmatch(line(CombinedLines, over))
    assert match is not None
    assert (match["client"], match["request"], match["referer"], match["agent"]) == ("-", "- - -", "-", "-")


@pytest.mark.parametrize("nasty", NASTY)
def test_a_combined_line_can_not_be_forged(nasty: bytes) -> None:
    """Quotes, backslashes and controls are escapes, so that a line has just its own quotes and its own end."""
    target = "/" + nasty.decode("utf-8", "surrogateescape")
    text = line(CombinedLines, record(target, b"a" + nasty, b"r" + nasty))
    assert COMBINED.fullmatch(text)
    assert text[:-1].isprintable()


def test_escapes_are_those_of_nginx() -> None:
    r"""What can't be written is written as \xHH, byte by byte."""
    match = COMBINED.fullmatch(line(CombinedLines, record("/\udcff", b'"\\\n\xff')))
    assert match is not None
    assert (match["request"], match["agent"]) == (r"GET /\xFF HTTP/1.1", r"\x22\x5C\x0A\xFF")


@pytest.mark.parametrize("kind", [JsonLines, CombinedLines])
def test_queries_may_be_left_out(kind: type[JsonLines | CombinedLines]) -> None:
    """With LOG_QUERY off neither target nor referer is written with its query."""
    text = line(kind, record("/t?secret=1?", referer=b"http://r/x?secret=2"), query=False)
    assert "secret" not in text
    assert "/t" in text
    assert "http://r/x" in text


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [(200, "", False), (399, "", False), (304, "", False), (400, "", True), (500, "", True), (200, "app_reset", True)],
)
def test_errors_only(status: int, reason: str, told: bool) -> None:
    """With ACCESS_LOG=errors a line is written from 400 on, and where there is a reason."""
    over = record()
    over.status = status
    assert bool(line(JsonLines, over, reason, errors=True)) is told


@pytest.mark.parametrize(("version", "name"), [((1, 1), "HTTP/1.1"), ((1, 0), "HTTP/1.0"), ((2, 0), "HTTP/2.0")])
def test_protocols(version: tuple[int, int], name: str) -> None:
    """The protocol is told as the client spoke it."""
    over = record()
    over.version = version
    assert parsed(over)["protocol"] == name


def test_the_address_is_the_clients() -> None:
    """Behind a trusted proxy it is the one that this proxy saw."""
    over = record()
    over.address = "2001:db8::7"
    assert parsed(over)["client"] == "2001:db8::7"


def test_the_second_is_made_anew() -> None:
    """The stamp that is remembered is that of the moment."""
    lines: list[str] = []
    log = JsonLines(lines.append)
    log.add((ended(record()),))
    log._second, log._stamp = 1, "1970-01-01T00:00:01"
    log.add((ended(record()),))
    assert "1970" not in lines[1]


def test_a_line_that_can_not_be_made_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong with one is told of, and all others are written."""
    lines: list[str] = []
    broken = record()
    del broken.agent
    JsonLines(lines.append).add((ended(record("/a")), ended(broken), ended(record("/b"))))
    assert [json.loads(text)["target"] for text in lines] == ["/a", "/b"]
    assert caplog.messages == ["the line of a request could not be written"]


def test_each_line_has_its_own_time() -> None:
    """Lines that are written together tell when each request was over, not when they were written."""
    lines: list[str] = []
    early, late = record(), record()
    early.started -= 90
    JsonLines(lines.append).add((ended(early), ended(late)))
    first, second = (datetime.fromisoformat(json.loads(text)["time"]) for text in lines)
    assert abs((second - first).total_seconds() - 90) < 1


@dataclass(frozen=True, eq=False)
class Shown:
    """A certificate that a client has shown."""

    subject: str
    fields: bytes = b""
    denied: bool = False


@pytest.mark.parametrize(("subject", "shown"), [("CN=a\\, b", "CN=a\\, b"), ('CN=\\"', 'CN=\\"'), ("", None)])
def test_the_clients_certificate(subject: str, shown: str | None) -> None:
    """Its subject is told; null where it has none."""
    over = record()
    over.client = Client(Forwarding().peer("192.0.2.1", Shown(subject)), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    assert parsed(over)["client_cert"] == shown
