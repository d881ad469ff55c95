"""Request lines as text, read by a real analyser of web servers' logs: GoAccess takes each of them, as it was sent."""

import json
import subprocess
from collections import Counter
from pathlib import Path

from tests.e2e.conftest import Launch
from tests.e2e.programs import program
from tests.e2e.scripted_app import ScriptedApp, response
from tests.e2e.sidecar_process import Sidecar

TARGETS = (
    b"/plain",
    b"/plain",
    b"/query?a=1&b=%20",
    b'/"quoted"',
    b"/back\\slash",
    b"/ends\\",
    "/grün/日本?ü".encode(),
    b"/latin-\xe9\xff",
    b"/" + b"x" * 1500,
    b"/percent%zz%",
    b"/[x]{y}|^`<>'",
    b"//double//",
    b"/-",
)
"""Those of many bytes are short enough for GoAccess, to which a line of more than 4096 is two."""
AGENTS = (
    b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"curl/8.5.0",
    b'"',
    b'evil" 200 1 "-" "',
    b"\\",
    b"-",
    b"x" * 2000,
    "größe".encode(),
    b"\xff\xfe",
    b"tab\there",
)
ADDRESSES = (b"192.0.2.7", b"2001:db8::7", b"::1")


def ask(process: Sidecar, target: bytes, agent: bytes, address: bytes) -> int:
    """The status of a request from that address."""
    fields = b"User-Agent: %b\r\nReferer: https://a.example%b\r\nX-Forwarded-For: %b" % (agent, target, address)
    with process.connect() as client:
        return client.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (target, fields)).status


def analysed(log: Path) -> dict[str, dict[str, object]]:
    """GoAccess' report on a log."""
    arguments = [program("goaccess", "goaccess"), "--no-global-config", "--log-format=COMBINED", "-o", "json", str(log)]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    report: dict[str, dict[str, object]] = json.loads(done.stdout)
    return report


def test_goaccess_reads_every_line(sidecar: Launch, app: ScriptedApp, tmp_path: Path) -> None:
    """Whatever targets, user agents and referers hold, and whatever addresses clients have: none is in vain."""
    app.answer(lambda request: response(b"x" * 10, status="404 Absent" if b"double" in request.target else "200 OK"))
    process = sidecar(LOG_FORMAT="text", TRUSTED_PROXIES="127.0.0.1")
    sent = [(target, AGENTS[0], ADDRESSES[0]) for target in TARGETS]
    sent += [(b"/agent", agent, ADDRESSES[0]) for agent in AGENTS]
    sent += [(b"/address", AGENTS[1], address) for address in ADDRESSES]
    statuses = Counter(ask(process, *one) for one in sent)
    with process.connect() as client:
        statuses[client.ask(b"garbage\r\n\r\n").status] += 1
    assert process.stop() == 0
    log = tmp_path / "access.log"
    log.write_text(process.stdout())
    report = analysed(log)
    general = report["general"]
    assert (general["failed_requests"], general["valid_requests"]) == (0, len(sent) + 1)
    assert hits(report, "status_codes") == {str(status): count for status, count in statuses.items()}
    requests = hits(report, "requests")
    assert (requests["/plain"], requests["/agent"], requests["/address"]) == (2, len(AGENTS), len(ADDRESSES))
    assert requests[r"/\x22quoted\x22"] == requests[r"/ends\x5C"] == 1
    assert hits(report, "hosts").keys() == {address.decode() for address in ADDRESSES} | {"127.0.0.1"}


def hits(report: dict[str, dict[str, object]], panel: str) -> dict[str, int]:
    """What GoAccess has counted in one of its panels, by the names of its entries."""
    found: dict[str, int] = {}
    entries = report[panel]["data"]
    assert isinstance(entries, list)
    for entry in entries:
        # Statuses stand in groups, as 2xx.
        for one in entry.get("items", [entry]):
            found[one["data"].partition(" - ")[0] if panel == "status_codes" else one["data"]] = one["hits"]["count"]
    return found
