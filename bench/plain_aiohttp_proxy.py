"""The peer to beat: a streaming TLS proxy as aiohttp tutorials write it, Application and ClientSession.

Sensibly configured: uvloop, keep-alive to the app, no access log, no decompression, no timeout in the way.
It logs and counts nothing and adds no header but X-Forwarded-For and -Proto, so it does less than the others.
Run as `python -m bench.plain_aiohttp_proxy PORT APP_PORT CHAIN KEY`.
"""

import ssl
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")


def end_to_end(headers: "aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    """The headers without those that end at a proxy."""
    kept = CIMultiDict(headers)
    for name in HOP_BY_HOP:
        kept.popall(name, None)
    return kept


def make_application(app_port: int) -> web.Application:
    """The proxy for the app on a loopback port."""

    async def session_context(application: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            application[key] = session
            yield

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = end_to_end(request.headers)
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = "https"
        async with request.app[key].request(
            request.method,
            f"http://127.0.0.1:{app_port}{request.raw_path}",
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers)
            )
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    key = web.AppKey("session", aiohttp.ClientSession)
    application = web.Application()
    application.cleanup_ctx.append(session_context)
    application.router.add_route("*", "/{path:.*}", forward)
    return application


def main(port: str, app_port: str, chain: str, key: str) -> None:
    """Serves until SIGINT or SIGTERM."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    web.run_app(
        make_application(int(app_port)),
        host="127.0.0.1",
        port=int(port),
        ssl_context=context,
        access_log=None,
        print=None,
        backlog=4096,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
