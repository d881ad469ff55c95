"""A private key is nowhere but in its file and in memory: whatever goes wrong, nothing shows a part of it.

One process, as talkative as it gets, has its files spoilt in ways that put the key where something else belongs.
"""

import base64
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.e2e.certificates import Pair, issue, place
from tests.e2e.commands import run
from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.scripted_app import ScriptedApp
from tests.e2e.sidecar_process import Sidecar

PATHS = ("/livez", "/startupz", "/readyz", "/status", "/metrics")
LONGEST_BY_CHANCE = 12
"""Characters of a key's text or number that may stand somewhere without being of the key."""


@pytest.fixture(scope="session")
def launch(launch_from_nothing: Launch) -> Launch:
    """A key is not shown from the first line on."""
    return launch_from_nothing


def traces(key: bytes) -> set[bytes]:
    """What would tell of a key: pieces of its PEM and DER, and of its number as people and programs write it."""
    private = load_pem_private_key(key, None)
    assert isinstance(private, EllipticCurvePrivateKey)
    number = private.private_numbers().private_value
    raw = number.to_bytes(32, "big")
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    lines = [line for line in key.splitlines() if not line.startswith(b"-----")]
    written = [*lines, b"%d" % number, b"%x" % number, b"%X" % number, base64.b64encode(raw), base64.b64encode(der)]
    escaped = [repr(raw)[2:-1].encode(), repr(der)[2:-1].encode(), raw.hex(":").encode(), raw]
    # A PEM begins as every key of its kind does, so the end of each is what is its own.
    return {text[-2 * LONGEST_BY_CHANCE :] for text in (*written, *escaped) if len(text) >= LONGEST_BY_CHANCE}


@dataclass
class Talk:
    """All that a process has said, by where."""

    keys: list[bytes]
    said: dict[str, bytes]

    def leaks(self) -> set[str]:
        """Where there is something of a key."""
        found = set().union(*map(traces, self.keys))
        return {place for place, text in self.said.items() if any(trace in text for trace in found)}


def spoilt(good: Pair, other: Pair) -> Iterator[Pair]:
    """The key in all the wrong places and forms."""
    body = good.key.splitlines(keepends=True)
    for chain in (good.key, good.key + good.chain, b"".join(body[1:-1]), good.chain.replace(b"-----END", good.key)):
        yield Pair(chain, good.key)
    for key in (
        other.key,
        good.key + other.key,
        good.key[:-30],
        b"".join(body[:-1]),
        b"".join(body[1:]),
        good.key.replace(b"PRIVATE KEY", b"CERTIFICATE"),
        good.key.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"),
        good.key.replace(b"\n", b"\n\n \t"),
        good.key.decode().encode("utf-16"),
        base64.b64decode(b"".join(body[1:-1])),
    ):
        yield Pair(good.chain, key)


@pytest.fixture(scope="module")
def talk(
    launch: Launch, session_app: ScriptedApp, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Talk:
    """What a process at `debug` writes and serves through requests, rotations, faults, a dump and its end."""
    directory = tmp_path_factory.mktemp("secrets")
    good, other = issue(authority), issue(authority)
    faults = {f"fault-{number}": pair for number, pair in enumerate(spoilt(good, other))}
    for name in faults:
        (directory / name).mkdir()
        place(directory / name, issue(authority))
    place(directory, good)
    settings: dict[str, str | Path] = {
        "CERT_DIR": directory,
        "CERT_NAME": ",".join(["tls", *faults]),
        "CERT_RESYNC_PERIOD": "1s",
    }
    served: dict[str, bytes] = {}
    with launch(True, APP_PORT=session_app.port, LOG_LEVEL="debug", **settings) as process:
        process.get("/?key=value")
        for name, pair in faults.items():
            place(directory / name, pair)
        wait_until(lambda: reloaded(process) >= faults.keys(), "each has been looked at", 30)
        served |= {path: process.ask_admin(path).body for path in PATHS}
        process.signal(signal.SIGUSR1)
        process.wait_for_stderr("sweep")
        for name in ("environ", "cmdline"):
            served[name] = Path(f"/proc/{process.pid}/{name}").read_bytes()
    checked = run("check", **settings)
    served |= {"check": checked.stdout.encode() + checked.stderr.encode()}
    served |= {"stdout": as_bytes(process.stdout()), "stderr": as_bytes(process.stderr())}
    return Talk([good.key, other.key], served)


def reloaded(process: Sidecar) -> set[str]:
    """The names whose files were looked at, with whatever result, since they were good at the start."""
    counts = process.metrics().by("tlsproxy_certificate_reloads_total", "name", "result")
    times = Counter[str]()
    for (name, _), count in counts.items():
        times[name] += int(count)
    return {name for name, count in times.items() if count >= 2}


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def test_traces_are_found() -> None:
    """What is looked for is found where it is: in the key's own file, as hex and as a number in a sentence."""
    key = issue(trustme.CA(key_type=trustme.KeyType.ECDSA)).key
    private = load_pem_private_key(key, None)
    assert isinstance(private, EllipticCurvePrivateKey)
    number = private.private_numbers().private_value
    said = {"file": key, "number": b"it is %d." % number, "hex": b"0x%x" % number, "nothing": b"a key"}
    assert Talk([key], said).leaks() == {"file", "number", "hex"}


@pytest.mark.soak
def test_nothing_that_is_said_or_served_has_a_key(talk: Talk) -> None:
    """Not the log at its most talkative, nor a stack dump, nor an answer of the admin port, nor `check`."""
    assert len(talk.said) == len(PATHS) + 5
    assert all(talk.said[place] for place in talk.said if place != "environ")
    assert talk.leaks() == set()
    assert not any(b"PRIVATE KEY" in text and b"BEGIN" in text for text in talk.said.values())


@pytest.mark.parametrize("verb", ["run", "config"])
def test_a_key_in_a_variable_is_not_repeated(authority: trustme.CA, verb: str) -> None:
    """A key that was pasted into variables, known or misspelled, is refused or passed over without a piece of it."""
    key = issue(authority).key
    pasted = ("CERT_NAME", "APP_PORT", "APP_HOST", "LISTEN_HOST", "CLIENT_ALLOW", "CERT_DIR", "APP_CHECK", "CERT_NAM")
    done = run(verb, **dict.fromkeys(pasted, key.decode()))
    assert done.returncode == 2
    assert done.stderr.count("=***: ") == len(pasted) - 1
    assert Talk([key], {"out": done.stdout.encode(), "err": done.stderr.encode()}).leaks() == set()
