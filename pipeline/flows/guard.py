"""Prefect's server as this service runs it: no answer for a web page that came from elsewhere."""

from typing import Any

from pipeline.flows.cursors import free_cursors_in_their_threads

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What each answer tells browsers: it is not for frames, scripts and windows of other origins."""

WRONG_NAME = "this server must be asked for by the name of loopback: 127.0.0.1, localhost or [::1]"

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def is_own_name(host: str | None, bound: str) -> bool:
    """Tell whether a server that is bound to an address may answer a request for a host.

    A web page whose name was made to mean this machine (DNS rebinding) asks for its own name. On loopback only the
    names of loopback are right; a server that is bound to another address cannot know all its names.

    Args:
        host: the request's header, with or without a port.
        bound: the address.
    """
    if bound not in _LOOPBACK:
        return True
    name, colon, port = (host or "").rpartition(":")
    if not colon or not port.isdecimal():
        name = host or ""
    return name.removeprefix("[").removesuffix("]").lower() in _LOOPBACK


class Guard:
    """An ASGI application around another one, which asks about the host and adds :data:`HEADERS`."""

    def __init__(self, app: Any, bound: str) -> None:
        self._app = app
        self._bound = bound

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if is_own_name(Headers(scope=scope).get("host"), self._bound):
            await self._app(scope, receive, send_with_headers)
        else:
            await PlainTextResponse(WRONG_NAME, 421)(scope, receive, send)


def run() -> None:
    """Serve Prefect's API and pages until ended, at the address that Prefect's settings name."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    free_cursors_in_their_threads()
    server = get_current_settings().server
    uvicorn.run(
        Guard(create_app(final=True), server.api.host),
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )
