"""POST JSON to a webhook. Imported on first use: httpx is large."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from ...core.errors import AlertError
from ...core.masking import MASK

# Posting JSON to a webhook, whose URL is a secret. Imported when an alert is sent: httpx is large.

_TIMEOUT_SECONDS = 15


class SecretURL(httpx.URL):
    """A URL that is shown without its path: httpx logs the address of each request, and a webhook's path is its password."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{MASK}"

    __repr__ = __str__

    def join(self, url: httpx.URL | str) -> httpx.URL:
        """The address that a redirection leads to, from the whole address."""
        return httpx.URL(super().__str__()).join(url)


async def hide_address(request: httpx.Request) -> None:
    """Hide the path of a request, and of each that a redirection leads to; an event hook of a client."""
    request.url = SecretURL(request.url)


async def post(url: str, body: dict[str, Any]) -> None:
    """Post ``body`` as JSON.

    Raises:
        AlertError: the answer is no success.
        httpx.HTTPError: there was no answer.
    """
    async with httpx.AsyncClient(
        timeout=_TIMEOUT_SECONDS, event_hooks={"request": [hide_address]}
    ) as client:
        answer = await client.post(url, json=body)
    if not answer.is_success:  # Teams' workflows answer 202, Slack 200
        raise AlertError(f"the webhook answered {answer.status_code}")


# Posting a message. Imported when there is one: httpx is large.

TIMEOUT_SECONDS = 15


async def post_signed(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> int:
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
