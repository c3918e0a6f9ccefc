"""HTTP client service for jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from httpx import AsyncClient

__all__ = ["AsyncClient", "http_client"]


async def http_client() -> AsyncIterator[AsyncClient]:
    """Yield an HTTP client that follows redirects; each connect, read and write times out after 30 seconds."""
    async with AsyncClient(timeout=30, follow_redirects=True) as client:
        yield client
