"""A server on loopback for the tests of this room, and sources that ask it."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from aiohttp import web

from tlsproxy.companions.configsync.sources.addresses import parse_sources
from tlsproxy.companions.configsync.sources.client import Bounds
from tlsproxy.companions.configsync.sources.content import Source
from tlsproxy.companions.configsync.sources.credentials import Credentials
from tlsproxy.companions.configsync.sources.kubernetes import Cluster
from tlsproxy.companions.configsync.sources.opening import opened

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUICK = Bounds(size=1000, connect=2.0, head=2.0, total=4.0, hold=20.0)
NOWHERE = Cluster("https://127.0.0.1:1", Path("/nonexistent"))
AUTHORITY = trustme.CA()


@asynccontextmanager
async def served(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Every request goes to the handler; gives the URL without a path."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(
    text: str, credentials: Credentials | None = None, bounds: Bounds = QUICK, cluster: Cluster | None = None
) -> AsyncIterator[tuple[Source, ...]]:
    """The sources that the setting's text stands for."""
    sources = opened(parse_sources(text), credentials or Credentials(), cluster or NOWHERE, bounds)
    try:
        yield sources
    finally:
        for source in sources:
            await source.aclose()


def server_context(authority: trustme.CA = AUTHORITY, name: str = "127.0.0.1") -> ssl.SSLContext:
    """Of a server with a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def authority_file(directory: Path, authority: trustme.CA = AUTHORITY) -> Path:
    """The authority as `Credentials.authority` wants it."""
    path = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path
