"""Size of a first visit, and cached files of later visits."""

import gzip
import re

import httpx
from web_fixtures import Site

MOST_BYTES = 150_000


async def test_a_first_visit_is_light_and_its_files_are_kept(site: Site):
    for number in range(60):
        await site.add_run("DailyReport", "failed", Message=f"ValueError: number {number}")
    viewer = await site.user("viewer")
    plain = await fetch(viewer.client, "/jobs/runs", "identity")
    assert "content-encoding" not in plain.headers
    weight = 0
    for page in ("/jobs", "/jobs/runs", "/jobs/inbox"):
        answer = await fetch(viewer.client, page, "gzip")
        weight = max(weight, size_of(answer))
        assert answer.headers["vary"] == "Accept-Encoding"
    files = set(re.findall(r'(?:src|href)="(/jobs/static/[^"]+)"', plain.text))
    assert {address.partition("?")[0].rpartition(".")[2] for address in files} >= {"css", "js"}
    for file in files:
        assert re.search(r"\?v=[0-9a-f]{12}$", file)  # new content gets a new address
        answer = await fetch(viewer.client, file, "gzip")
        assert "immutable" in answer.headers["cache-control"]
        weight += size_of(answer)
    assert weight < MOST_BYTES
    program = await site.program("viewer")
    assert (await fetch(program, "/api/runs", "gzip")).headers["content-encoding"] == "gzip"


async def fetch(client: httpx.AsyncClient, path: str, encoding: str) -> httpx.Response:
    answer = await client.get(path, headers={"Accept-Encoding": encoding})
    assert answer.status_code == 200
    return answer


def size_of(answer: httpx.Response) -> int:
    """Return the transferred bytes; large responses must be compressed."""
    if len(answer.content) > 1_000:
        assert answer.headers["content-encoding"] == "gzip"
        return len(gzip.compress(answer.content, 5))
    return len(answer.content)
