"""The HTTP client: what it takes at most, where it goes, and how it says what went wrong."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.companions.configsync.sources.serving import (
    QUICK,
    Handler,
    asking,
    authority_file,
    served,
    server_context,
)
from tlsproxy.companions.configsync.sources.content import SourceError
from tlsproxy.companions.configsync.sources.credentials import Credentials


async def fetched(handler: Handler, path: str = "/x", credentials: Credentials | None = None) -> bytes:
    async with served(handler) as url, asking(f"x={url}{path}", credentials) as (source,):
        content = await source.fetch()
        assert content is not None
        return content.files["x"]


def fault(handler: Handler) -> str:
    with pytest.raises(SourceError) as failed:
        asyncio.run(fetched(handler), debug=True)
    return str(failed.value)


def giving(body: bytes, **fields: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in fields.items()})

    return handle


# ---------------------------------------------------------------------------- bounds


def test_as_much_as_allowed() -> None:
    """The bound itself is within it, compressed or not."""
    assert asyncio.run(fetched(giving(b"x" * 1000))) == b"x" * 1000
    packed = gzip.compress(b"y" * 1000)
    assert asyncio.run(fetched(giving(packed, Content_Encoding="gzip"))) == b"y" * 1000


def test_too_much_by_its_length() -> None:
    """It is refused by its head, before anything of it has come."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1001"})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    assert "more than CONFIGSYNC_MAX_SIZE: raise that" in fault(handle)


def test_too_much_without_a_length() -> None:
    """A response that goes on for ever is left as soon as it is above the bound."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 600)
            await asyncio.sleep(0)

    assert "more than CONFIGSYNC_MAX_SIZE" in fault(handle)


def test_only_what_is_bounded_is_asked_for() -> None:
    """gzip is undone step by step; another coding is not asked for, nor taken."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Accept-Encoding"])

    assert asyncio.run(fetched(handle)) == b"gzip"
    assert "a coding that was not asked for (br)" in fault(giving(b"", Content_Encoding="br"))


def test_a_gzip_bomb() -> None:
    """What counts is what comes out, and it never comes out as a whole: 100 MB cost less than one."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(100)) + packer.flush()

    async def handle(request: web.Request) -> web.StreamResponse:
        # In chunks: its length alone is above the bound.
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        await response.write(bomb)
        return response

    before = _peak_memory()
    assert "more than CONFIGSYNC_MAX_SIZE" in fault(handle)
    assert _peak_memory() - before < 10_000


def _peak_memory() -> int:
    """Kilobytes."""
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])


PACKED = gzip.compress(b"a whole file", mtime=0)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10", b"short"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"5\r\nshort\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Encoding: gzip", PACKED[:20]),
        ("HTTP/1.1 200 OK", b"whole?"),
        ("HTTP/1.0 200 OK", b"whole?"),
        ("SSH-2.0-OpenSSH", b""),
    ],
)
def test_what_is_not_whole(head: str, body: bytes) -> None:
    """A file that broke off is never passed on, nor one of which nothing tells whether it did."""
    message = asyncio.run(_raw(f"{head}\r\n\r\n".encode() + body))
    assert message in {
        "its response broke off or can't be decoded",
        "its response has neither a length nor chunks, so that nothing would tell a torn one",
        "its response is no HTTP",
    }


async def _raw(response: bytes) -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asking(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x") as (source,):
        with pytest.raises(SourceError) as failed:
            await source.fetch()
        return str(failed.value)


@pytest.mark.parametrize("silent_after", ["connection", "head"])
def test_silence_has_an_end(silent_after: str) -> None:
    """A server that says nothing, or nothing more, is left in time."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if silent_after == "head":
            await response.prepare(request)
            await response.write(b"x")
        await asyncio.Event().wait()
        return response

    async def play() -> None:
        bounds = replace(QUICK, connect=0.1, head=0.1, total=0.3)
        async with served(handle) as url, asking(f"{url}/x", bounds=bounds) as (source,):
            with pytest.raises(SourceError, match="nothing came in time"):
                await asyncio.wait_for(source.fetch(), 3)

    asyncio.run(play(), debug=True)


def test_nobody_there() -> None:
    """A closed port and a name that is none are told apart."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        async def play(url: str) -> str:
            async with asking(url) as (source,):
                with pytest.raises(SourceError) as failed:
                    await source.fetch()
                return str(failed.value)

        assert asyncio.run(play(f"http://127.0.0.1:{port}/x")) == f"no connection to port {port}: connection refused"
    assert asyncio.run(play("http://nobody.invalid/x")) == "the name nobody.invalid can't be resolved"


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where configuration comes from is said by its URL alone."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert asyncio.run(fetched(giving(b"straight"))) == b"straight"


# ---------------------------------------------------------------------------- redirects and credentials


class Recording:
    """Redirects as told, and remembers what it was shown."""

    def __init__(self, location: Callable[[int], str | None]) -> None:
        self.location = location
        self.shown: list[str | None] = []
        self.cookies: list[str | None] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.shown.append(request.headers.get("Authorization"))
        self.cookies.append(request.headers.get("Cookie"))
        location = self.location(len(self.shown))
        fields = {"Set-Cookie": "a=b"} if location is None else {"Location": location, "Set-Cookie": "a=b"}
        return web.Response(status=200 if location is None else 307, text="it", headers=fields)


TOKEN = Credentials(token=lambda: "sesame")


def test_redirects_within_the_origin() -> None:
    """Up to five are followed, with credentials and without cookies; one more is an error."""
    five = Recording(lambda count: f"/{count}" if count <= 5 else None)
    assert asyncio.run(fetched(five.handle, credentials=TOKEN)) == b"it"
    assert five.shown == ["Bearer sesame"] * 6
    assert five.cookies == [None] * 6
    assert fault(Recording(lambda count: f"/{count}" if count <= 6 else None).handle) == "more than 5 redirects"


def test_a_redirect_with_a_user_in_it() -> None:
    """A server can't have others' credentials sent."""
    tempting = Recording(lambda count: "//u:p@HOST/y".replace("HOST", tempting_host[0]) if count == 1 else None)
    tempting_host: list[str] = []

    async def play() -> None:
        async with served(tempting.handle) as url, asking(f"{url}/x", TOKEN) as (source,):
            tempting_host.append(url.removeprefix("http://"))
            assert await source.fetch()

    asyncio.run(play(), debug=True)
    assert tempting.shown == ["Bearer sesame"] * 2


def test_a_redirect_to_another_origin(tmp_path: Path) -> None:
    """It is not followed, neither to another port, nor from TLS to none or back: the operator is told where to."""
    other = Recording(lambda _: None)
    trusting = Credentials(authority=authority_file(tmp_path))

    async def play() -> None:
        async with served(other.handle) as elsewhere:
            there = Recording(lambda _: f"{elsewhere}/y?secret")
            async with served(there.handle) as url, asking(f"{url}/x", TOKEN) as (source,):
                with pytest.raises(SourceError, match=f"redirects to {elsewhere}, another origin: name"):
                    await source.fetch()
            down = Recording(lambda _: url.replace("https:", "http:") + "/y")
            async with served(down.handle, server_context()) as url, asking(f"{url}/x", trusting) as (source,):
                with pytest.raises(SourceError, match="redirects to http://"):
                    await source.fetch()
            assert len(down.shown) == 1

    asyncio.run(play(), debug=True)
    assert other.shown == []


def test_credentials_are_for_the_first_origin() -> None:
    """Other sources of that origin are given them too, and nobody else; ConfigMaps before it do not count."""
    first, second = Recording(lambda _: None), Recording(lambda _: None)

    async def play() -> None:
        async with served(first.handle) as one, served(second.handle) as two:
            text = f"configmap:ns/x,{one}/a,{two}/b,c={one}/c"
            async with asking(text, Credentials(login=lambda: ("user", "pässword"))) as (_, *sources):
                for source in sources:
                    await source.fetch()

    asyncio.run(play(), debug=True)
    assert first.shown == ["Basic dXNlcjpww6Rzc3dvcmQ="] * 2
    assert second.shown == [None]


def test_tokens_rotate() -> None:
    """Each request asks for the token anew; one that can't be read or sent is an error without its text."""
    server = Recording(lambda _: None)
    tokens = iter(["one", "two\n", "", "a\nb"])

    async def play() -> None:
        async with (
            served(server.handle) as url,
            asking(f"{url}/x", Credentials(token=lambda: next(tokens))) as (source,),
        ):
            await source.fetch()
            await source.fetch()
            for _ in range(2):
                with pytest.raises(SourceError, match=r"^the token is empty or holds characters that can't be sent$"):
                    await source.fetch()

    asyncio.run(play(), debug=True)
    assert server.shown == ["Bearer one", "Bearer two"]


# ---------------------------------------------------------------------------- TLS


Fetch = Callable[[], Awaitable[object]]


async def over_tls(context: ssl.SSLContext, credentials: Credentials, work: Callable[[Fetch], Awaitable[None]]) -> None:
    async with served(giving(b"it"), context) as url, asking(f"{url}/x", credentials) as (source,):
        await work(source.fetch)


def test_a_private_authority(tmp_path: Path) -> None:
    """A server is trusted by the CA file and not without it; by another name it is not either."""

    async def trusted(fetch: Fetch) -> None:
        assert await fetch()

    async def refused(fetch: Fetch) -> None:
        with pytest.raises(SourceError, match=r"its certificate is not trusted: .*(issuer|self-signed|mismatch)"):
            await fetch()

    private = Credentials(authority=authority_file(tmp_path))
    asyncio.run(over_tls(server_context(), private, trusted))
    asyncio.run(over_tls(server_context(), Credentials(), refused))
    asyncio.run(over_tls(server_context(name="other.example"), private, refused))


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A CA and a client certificate that are replaced count with the next connection."""
    old, new = trustme.CA(), trustme.CA()
    server = server_context(new)
    server.verify_mode = ssl.CERT_REQUIRED
    new.configure_trust(server)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def issue(authority: trustme.CA) -> None:
        authority_file(tmp_path, authority)
        issued = authority.issue_cert("client")
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))

    async def work(fetch: Fetch) -> None:
        with pytest.raises(SourceError, match="not trusted"):
            await fetch()
        issue(new)
        assert await fetch()

    issue(old)
    asyncio.run(over_tls(server, Credentials(None, None, certificate, key, tmp_path / "ca.pem"), work))
