"""Answer HEAD wherever GET answers: the same status and headers, without the body."""

from __future__ import annotations

import asyncio
from typing import Any

HEAD_KEY = "targcc.head"
"""Key in a request's scope: whether the client sent HEAD. Routes see GET."""


class HeadersOnly:
    """ASGI middleware that passes HEAD on as GET and drops the body of the response.

    An endless response, such as an event stream, ends after its headers: the app reads that the client has disconnected.

    Args:
        app: The app that answers GET.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun = asyncio.Event()

        async def receive_until_begun() -> Any:
            message = asyncio.ensure_future(receive())
            waiting = asyncio.ensure_future(begun.wait())
            await asyncio.wait({message, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if message.done():
                return message.result()
            message.cancel()
            return {"type": "http.disconnect"}

        async def send_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                begun.set()

        # Up to this version of the specification a stream ends by the message, not by an error of `send`.
        asgi = {**scope.get("asgi", {}), "spec_version": "2.3"}
        as_get = {**scope, "method": "GET", "asgi": asgi, HEAD_KEY: True}
        await self._app(as_get, receive_until_begun, send_headers)
