"""Posting a message. Imported when there is one: httpx is large."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from ..channels.http import SecretURL

TIMEOUT_SECONDS = 15


async def post(client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Post a message; the status of the answer, of which nothing else is read. Redirects are not followed.

    Raises:
        TimeoutError: there was no answer in time.
        httpx.HTTPError: there was none.
    """
    said = {"Content-Type": "application/json", "User-Agent": "targcc-scheduler", **headers}
    request = client.build_request("POST", url, content=body, headers=said)
    request.url = SecretURL(request.url)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        answer = await client.send(request, stream=True)
        try:
            return answer.status_code
        finally:
            await answer.aclose()


def new_client() -> httpx.AsyncClient:
    """A client for some messages."""
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False)


def reason(error: Exception) -> str:
    """Why there was no answer, without the address."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "nobody answers there"
    return type(error).__name__
