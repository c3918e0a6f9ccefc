"""The HTTP client that jobs may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx import AsyncClient

__all__ = ["AsyncClient", "http_client"]


async def http_client() -> AsyncIterator[AsyncClient]:
    """An HTTP client; the body of an answer is waited for 30 seconds at most."""
    async with AsyncClient(timeout=30, follow_redirects=True) as client:
        yield client
