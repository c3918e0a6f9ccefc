"""HTTP client of the standard services."""

import httpx
from dishka import Scope, make_async_container, provide
from targcc_scheduler import StandardServices


class OwnClient(StandardServices):
    """Services of a project with its own HTTP client."""

    @provide(scope=Scope.REQUEST)
    def own(self) -> httpx.AsyncClient:
        """Return a client with a user agent."""
        return httpx.AsyncClient(headers={"User-Agent": "acme"})


async def client_of(services):
    async with make_async_container(services)() as request:
        return await request.get(httpx.AsyncClient), await request.get(httpx.AsyncClient)


async def test_an_attempt_gets_one_client_and_it_is_closed_at_its_end():
    client, again = await client_of(StandardServices())
    assert client is again
    assert client.follow_redirects
    assert client.is_closed


async def test_a_project_s_own_client_is_used():
    client, _ = await client_of(OwnClient())
    assert client.headers["User-Agent"] == "acme"
    await client.aclose()
