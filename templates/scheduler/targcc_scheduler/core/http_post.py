"""POST JSON to an address that is a secret, such as a webhook. Imported on first use: httpx is large."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from .errors import AlertError
from .masking import MASK

# Post alerts as JSON to a webhook. The webhook's URL is a secret.

_TIMEOUT_SECONDS = 15


class SecretURL(httpx.URL):
    """A URL whose text form masks the path. httpx logs the URL of each request, and a webhook's path is a password."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{MASK}"

    __repr__ = __str__

    def join(self, url: httpx.URL | str) -> httpx.URL:
        """Resolve the URL of a redirect against the unmasked URL."""
        return httpx.URL(super().__str__()).join(url)


async def hide_address(request: httpx.Request) -> None:
    """Mask the path of a request; an httpx event hook, which also runs for redirects."""
    request.url = SecretURL(request.url)


async def post(url: str, body: dict[str, Any]) -> None:
    """Post ``body`` as JSON.

    Raises:
        AlertError: the response is no success.
        httpx.HTTPError: no response arrived.
    """
    async with httpx.AsyncClient(
        timeout=_TIMEOUT_SECONDS, event_hooks={"request": [hide_address]}
    ) as client:
        answer = await client.post(url, json=body)
    if not answer.is_success:  # Teams' workflows answer 202, Slack 200
        raise AlertError(f"the webhook answered {answer.status_code}")


# Post signed messages to the webhooks of the feature ``events``.

TIMEOUT_SECONDS = 15


async def post_signed(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> int:
    """Post a message and return the response status. The response body is not read.

    Args:
        client: A client from :func:`new_client`, which follows no redirects.
        url: The webhook's address.
        body: The message.
        headers: Signature headers; added to content type and user agent.

    Raises:
        TimeoutError: no response arrived within ``TIMEOUT_SECONDS``.
        httpx.HTTPError: no response arrived.
    """
    all_headers = {"Content-Type": "application/json", "User-Agent": "targcc-scheduler", **headers}
    request = client.build_request("POST", url, content=body, headers=all_headers)
    request.url = SecretURL(request.url)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        answer = await client.send(request, stream=True)
        try:
            return answer.status_code
        finally:
            await answer.aclose()


def new_client() -> httpx.AsyncClient:
    """Return an HTTP client that follows no redirects."""
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False)


def reason(error: Exception) -> str:
    """Return why a request got no response, as text without the address."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "nobody answers there"
    return type(error).__name__
