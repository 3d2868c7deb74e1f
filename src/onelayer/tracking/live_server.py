"""A server of one page on 127.0.0.1, and the rules of access: who, for what, how many at once.

The server runs in its own thread. Readers wait for the work that the page shows; the work never
waits for readers.
"""

import asyncio
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

READERS = 16
PERIOD = 0.5  # seconds between two checks for news
PATIENCE = 1  # seconds that a reader has to take the last news
_HOST = r"(127\.0\.0\.1|localhost)(:\d{1,5})?"  # any port: an ssh tunnel may have another
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class News(NamedTuple):
    """A piece of news: a number that grows with each, its text, and whether it is the last one."""

    number: int
    text: str
    over: bool


class LiveServer:
    """A page at /, news of it as server-sent events at /events, and `stop()` for a POST to /stop.

    Each request needs the `token`; `close` waits for PATIENCE seconds at most.

    Raises
    ------
    OSError
        If the port is taken.
    """

    def __init__(
        self,
        page: Callable[[], str],
        news: Callable[[], News],
        stop: Callable[[], None],
        *,
        port: int = 0,
        token: str | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24) if token is None else token
        listener = socket.create_server(("127.0.0.1", port))
        self.port: int = listener.getsockname()[1]

        def show(_: Request) -> Response:
            return HTMLResponse(page())

        def follow(_: Request) -> Response:
            return StreamingResponse(_events(news), media_type="text/event-stream")

        def end(_: Request) -> Response:
            stop()
            return Response(status_code=204)

        routes = [
            Route("/", show),
            Route("/events", follow),
            Route("/stop", end, methods=["POST"]),
        ]
        config = uvicorn.Config(
            _Guard(Starlette(routes=routes), self.token),
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="live page", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def close(self) -> None:
        """Send the last news to the readers, and end."""
        self._server.should_exit = True
        self._thread.join(PATIENCE + 2)


async def _events(news: Callable[[], News]) -> AsyncIterator[str]:
    """Yield the latest news whenever they change; a slow reader skips older ones."""
    yield "retry: 1000\n\n"
    number, over = -1, False
    while not over:
        latest = news()
        if latest.number != number:
            number, over = latest.number, latest.over
            yield f"data: {latest.text}\n\n"
        else:
            await asyncio.sleep(PERIOD)


class _Connection(H11Protocol):
    """A connection, closed at once if there are too many."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > READERS:
            transport.abort()


class _Server(uvicorn.Server):
    """A server that, at its end, also closes connections whose readers are slow."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


class _Guard:
    """A filter: a request needs the token, the name of this machine and the page's own origin."""

    def __init__(self, application: ASGIApp, token: str) -> None:
        self._application, self._token = application, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope), scope["query_string"])
        answer = PlainTextResponse(refusal, 403) if refusal else self._application
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers, query: bytes) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not re.fullmatch(_HOST, host, re.IGNORECASE):
            return "Host: expected 127.0.0.1 or localhost"
        # A browser names the origin of every POST.
        if origin != f"http://{host}" and not (origin is None and method != "POST"):
            return "Origin: expected this page"
        given = QueryParams(query).get("token", "")
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return "token: expected the one that was printed"
        return ""
