"""A page in a real browser: headless Chromium, the sidecar, and an ASGI app under uvicorn.

The page's script tries what pages do and posts what it found to the app, where the tests read it. Chromium takes the
key of the sidecar's certificate and no other, and resolves no name but localhost.
"""

import base64
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.conftest import Launch
from tests.e2e.polling import wait_until
from tests.e2e.programs import program, uvicorn

pytestmark = pytest.mark.soak

WITHIN = 30.0
"""Seconds for start and page, which take 2 on an idle machine."""

PAGE = """
<!doctype html>
<meta charset="utf-8">
<title>page</title>
<script>
const count = (length, make) => Array.from({length}, (_, i) => make(i));
const bytes = length => Uint8Array.from({length}, (_, i) => i * i % 251);
const hex = async data => {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, byte => byte.toString(16).padStart(2, "0")).join("");
};

const picture = async number => {
  const image = new Image();
  image.src = `/picture?${number}`;
  await image.decode();
  return image.naturalWidth;
};

const events = () => new Promise((resolve, reject) => {
  const source = new EventSource("/events"), seen = [];
  source.onerror = () => reject("the stream of events has failed");
  source.onmessage = ({data}) => {
    seen.push(data);
    fetch(`/seen?${data}`);
    if (seen.length == 3) { source.close(); resolve(seen); }
  };
});

const echo = () => new Promise((resolve, reject) => {
  const socket = new WebSocket(`wss://${location.host}/echo?a=%2Fb`, ["other", "chat"]), heard = [];
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { socket.send("gr\\u00fc\\u00dfe"); socket.send(bytes(300000)); };
  socket.onmessage = ({data}) => {
    heard.push(typeof data == "string" ? data : hex(data));
    if (heard.length == 2) socket.close(4001, "enough");
  };
  socket.onclose = async ({code, wasClean}) => {
    if (heard.length < 2) reject(`closed with ${code} after ${heard.length} messages`);
    resolve([socket.protocol, ...await Promise.all(heard), code, wasClean]);
  };
});

const deadline = (_, reject) => setTimeout(reject, 10000, "no end in 10 s");

const tries = {
  json: async () => (await fetch("/json?a=%2Fb")).json(),
  parallel: () => Promise.all(count(12, async i => (await fetch(`/text?${i}`)).text())),
  pictures: () => Promise.all(count(8, i => picture(i + 1))),
  upload: async () => (await fetch("/digest", {method: "POST", body: bytes(5000000)})).text(),
  events,
  echo,
};

(async () => {
  const found = {};
  await Promise.all(Object.entries(tries).map(async ([name, attempt]) => {
    try { found[name] = await Promise.race([attempt(), new Promise(deadline)]); }
    catch (error) { found[name] = `failed: ${error}`; }
  }));
  found.secure = isSecureContext;
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>
"""

APP = r"""
import asyncio
import hashlib
import json
from pathlib import Path

PAGE = Path("page.html").read_bytes()
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="5"/>'
found = b""
seen = {number: asyncio.Event() for number in range(4)}
seen[0].set()


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        return await echo(scope, receive, send)
    global found
    query = scope["query_string"].decode()
    method, path = scope["method"], scope["path"]
    body = await read(receive)
    if path == "/events":
        return await events(send)
    if (method, path) == ("POST", "/found"):
        found = body
    if path == "/seen":
        seen[int(query)].set()
    kind, content = {
        "/": ("text/html", PAGE),
        "/json": ("application/json", json.dumps([scope["scheme"], query]).encode()),
        "/text": ("text/plain", query.encode() * 50000),
        "/picture": ("image/svg+xml", (PICTURE % query).encode()),
        "/digest": ("text/plain", hashlib.sha256(body).hexdigest().encode()),
        "/found": ("application/json", found),
        "/seen": ("text/plain", b""),
    }.get(path, ("text/plain", b"nothing is here"))
    await start(send, kind)
    await send({"type": "http.response.body", "body": content})


async def read(receive):
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


async def start(send, kind):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})


async def events(send):
    # Each waits until the page has seen the one before: what is gathered on the way never comes to an end.
    await start(send, "text/event-stream")
    for number in range(3):
        await seen[number].wait()
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % (number + 1), "more_body": True})
    await seen[3].wait()
    await send({"type": "http.response.body", "body": b""})


async def echo(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    assert scope["query_string"] == b"a=%2Fb"
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][1]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
"""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the page is the test's own, and root has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
)


def pin(certificate: Path) -> str:
    """A certificate's key, as Chromium wants those that it is to trust without an authority."""
    public_key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    info = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


@contextmanager
def browsing(url: str, certificate: Path, home: Path) -> Iterator[None]:
    """Chromium at a URL, with a home of its own; it ends with the block, and its processes with it."""
    trust = f"--ignore-certificate-errors-spki-list={pin(certificate)}"
    with (home / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program("chromium", "chromium"), *FLAGS, trust, f"--user-data-dir={home / 'profile'}", url],
            env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let Chromium end its processes; what is left of the group that was started for it is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def found(launch: Launch, certificate_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the page found."""
    program("chromium", "chromium")
    directory = tmp_path_factory.mktemp("browser")
    (directory / "page.html").write_text(PAGE)
    (directory / "page.py").write_text(APP)
    with uvicorn("page:app", directory) as port, launch(APP_PORT=port) as sidecar, httpx.Client() as client:

        def told() -> bytes:
            return client.get(f"http://127.0.0.1:{port}/found").content

        with browsing(f"https://localhost:{sidecar.port}/", certificate_dir / "tls.crt", directory):
            result: dict[str, object] = json.loads(wait_until(told, "the page tells what it found", WITHIN))
    return result


def pattern(length: int) -> bytes:
    """The bytes that the page makes."""
    period = bytes(i * i % 251 for i in range(251))
    return (period * (length // 251 + 1))[:length]


def test_the_page_is_secure(found: dict[str, object]) -> None:
    """A page behind the sidecar is a secure context, in which browsers allow what they keep from plain HTTP."""
    assert found["secure"] is True


def test_fetch_of_json(found: dict[str, object]) -> None:
    """A script's query comes to the app as it was written, and the app knows that it is asked over HTTPS."""
    assert found["json"] == ["https", "a=%2Fb"]


def test_parallel_requests(found: dict[str, object]) -> None:
    """Of many answers at once over the browser's few connections, each belongs to its request."""
    assert found["parallel"] == [str(number) * 50000 for number in range(12)]
    assert found["pictures"] == list(range(1, 9))


def test_upload(found: dict[str, object]) -> None:
    """A body of some MB comes to the app whole."""
    assert found["upload"] == hashlib.sha256(pattern(5_000_000)).hexdigest()


def test_server_sent_events(found: dict[str, object]) -> None:
    """Events come when they are sent: the app sends one only when the page has seen the one before."""
    assert found["events"] == ["1", "2", "3"]


def test_websocket(found: dict[str, object]) -> None:
    """A WebSocket has the subprotocol that the app chose, echoes text and bytes, and closes cleanly as it is told."""
    digest = hashlib.sha256(pattern(300_000)).hexdigest()
    assert found["echo"] == ["chat", "gr\u00fc\u00dfe", digest, 4001, True]
