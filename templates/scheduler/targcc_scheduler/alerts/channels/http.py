"""Posting JSON to a webhook, whose URL is a secret. Imported when an alert is sent: httpx is large."""

from __future__ import annotations

from typing import Any

import httpx

from ...core.errors import AlertError
from ...core.secrets import MASK

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
