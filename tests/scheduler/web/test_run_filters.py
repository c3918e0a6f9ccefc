"""Filters and check boxes of the runs page, without scripts."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from targcc_scheduler.kernel import text_index
from targcc_scheduler.kernel.queries import run_search
from targcc_scheduler.web.dashboard import rendering
from web_fixtures import Site

_CHOICE = re.compile(r'<a class="chip" href="([^"]+)"( aria-current="true")?>(.*?)</a>', re.DOTALL)
_RUN = re.compile(r'<tr id="run-(\d+)"')
_TAG = re.compile(r"<[^>]+>")


def choices(page: str) -> dict[str, str]:
    """Return the filters of a page: text and count, with the address."""
    facets = page.partition('<nav class="facets"')[2].partition("</nav>")[0]
    return {
        " ".join(_TAG.sub(" ", text).split()): unescape(address)
        for address, _, text in _CHOICE.findall(facets)
    }


async def fill(site: Site) -> None:
    for state, job, queue in (
        ("succeeded", "DailyReport", "default"),
        ("succeeded", "DailyReport", "default"),
        ("failed", "SyncStock", "default"),
        ("failed", "DailyReport", "slow"),
        ("enqueued", "SyncStock", "slow"),
    ):
        await site.add_run(job, state, Queue=queue)


async def test_filters_with_counts_are_links(site: Site):
    await fill(site)
    person = await site.user("viewer")
    page = await person.page("/jobs/runs")
    offered = choices(page)
    assert {"failed 2", "succeeded 2", "enqueued 1", "default 3", "slow 2", "Daily Report 3", "Sync Stock 2"} == set(offered)  # fmt: skip
    failed = await person.page(offered["failed 2"])
    assert len(re.findall(r'id="run-\d+"', failed)) == 2
    assert {"failed 2", "succeeded 2", "Daily Report 1", "slow 1"} <= set(choices(failed))
    both = choices(failed)["slow 1"]
    assert parse_qs(urlsplit(both).query) == {"q": ["state:failed queue:slow"]}
    assert 'aria-current="true"' in await person.page(both)
    ended = choices(await person.page(both))["failed 1"]  # the chosen filter ends
    assert parse_qs(urlsplit(ended).query) == {"q": ["queue:slow"]}


async def test_a_search_for_a_batch_counts_nothing(site: Site):
    await fill(site)
    person = await site.user("viewer")
    assert 'class="facets"' not in await person.page("/jobs/runs?q=batch:1")
    assert 'class="facets"' in await person.page("/jobs/runs?q=state:failed")


async def test_a_selection_of_runs_is_previewed_then_retried(site: Site):
    await fill(site)
    person = await site.user()
    page = await person.page("/jobs/runs?q=state:failed")
    assert page.count('name="run"') == 2
    preview = await person.page("/jobs/bulk/new?chosen=1&q=state:failed&do=retry&run=3&run=1")
    assert "Retry: 2 runs?" in preview
    assert 'href="/jobs/runs?q=state%3Afailed"' in preview
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', preview.partition('class="buttons start"')[2]))  # fmt: skip
    assert {"q": "run:3,1", "do": "retry", "most": "2"}.items() <= form.items()
    answer = await person.send("/jobs/bulk", **{**form, "csrf": person.csrf})
    assert "2 of 2" in await person.page(answer.headers["location"])


async def test_an_empty_selection_is_no_operation_on_everything(site: Site):
    await fill(site)
    person = await site.user()
    page = await person.page("/jobs/bulk/new?chosen=1&do=retry")
    assert "Select a run first." in page
    assert 'action="/jobs/bulk"' not in page


async def test_a_viewer_has_no_check_boxes(site: Site):
    await fill(site)
    assert 'name="run"' not in await (await site.user("viewer")).page("/jobs/runs")


async def test_runs_flows_and_batches_are_tabs(site: Site):
    person = await site.user("viewer")
    for path in ("runs", "flows", "batches"):
        tabs = (await person.page(f"/jobs/{path}")).partition('<nav class="tabs"')[2].partition("</nav>")[0]  # fmt: skip
        assert re.findall(r'href="/jobs/(\w+)"', tabs) == ["runs", "flows", "batches"]
        assert f'href="/jobs/{path}" aria-current="page"' in tabs


async def test_the_api_page_begins_with_its_contents(site: Site):
    page = await (await site.user("viewer")).page("/api/docs")
    contents = page.partition('class="contents"')[2].partition("</ul>")[0]
    links = re.findall(r'href="#([\w-]+)"', contents)
    assert links == re.findall(r'<h2 id="(tag-[\w-]+)"', page)


async def test_the_page_of_a_job_opens_with_its_actions(site: Site):
    person, viewer = await site.user("operator"), await site.user("viewer")
    head, _, live = (await person.page("/jobs/jobs/DailyReport")).partition('<div id="live"')
    doings = head.partition('class="doings"')[2]
    assert "Run now" in doings
    assert re.findall(r'<details class="panel" name="do" id="(\w+)"', doings) == ["pause", "override", "backfill"]  # fmt: skip
    assert 'class="doings"' not in await viewer.page("/jobs/jobs/DailyReport")
    await person.send("/jobs/jobs/DailyReport/pause", reason="stock-taking")
    head, _, live = (await person.page("/jobs/jobs/DailyReport")).partition('<div id="live"')
    assert "Change the pause" in head
    assert "stock-taking" in live
    assert 'action="/jobs/jobs/DailyReport/resume"' in live


async def test_the_palette_lists_pages_and_jobs(site: Site):
    person = await site.user("viewer")
    entries = (await person.get("/jobs/palette")).json()
    addresses = [entry["address"] for entry in entries]
    assert {"/jobs", "/jobs/runs", "/jobs/flows", "/jobs/system", "/jobs/jobs/SyncStock"} <= set(addresses)  # fmt: skip
    assert len(addresses) == len(set(addresses))
    statuses = {address: (await person.get(address)).status_code for address in addresses}
    assert {address for address, status in statuses.items() if status not in {200, 303, 307}} == set()  # fmt: skip
    assert (await (await site.stranger()).get("/jobs/palette")).status_code in {303, 401}


async def test_shortcuts_lead_to_pages_that_are_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    person = await site.user("viewer")
    keys = re.findall(r'data-go="(\w)" data-path="([^"]+)"', await person.page("/jobs/runs"))
    assert ("i", "/jobs/inbox") in keys
    for _, path in keys:
        await person.page(path)
    few = tuple(link for link in rendering.navigation() if link.key != "inbox")
    monkeypatch.setattr(rendering, "navigation", lambda: few)
    assert 'data-go="i"' not in await person.page("/jobs/runs")


@pytest.mark.parametrize(
    ("path", "place"),
    [("/jobs/account", "Account"), ("/api/docs", "REST API"), ("/jobs/help", "Guides")],
)
async def test_a_page_without_an_entry_of_its_own_is_named_in_the_navigation(
    site: Site, path: str, place: str
):
    page = await (await site.user("viewer")).page(path)
    navigation = page.partition("<nav")[2].partition("</nav>")[0]
    assert re.findall(r'aria-current="page">([^<]+)<', navigation) == [place]


async def test_a_search_says_how_far_the_index_of_texts_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_search, "_LOOKED_AT", 1)
    monkeypatch.setattr(run_search, "_FEW_LEFT", 2)
    ids = [await site.add_run("DailyReport", "succeeded", Message="a porcupine") for _ in range(5)]
    person = await site.user("viewer")
    page = await person.page("/jobs/runs?q=porcupine")
    assert "The index of texts is 0% complete." in page
    assert _RUN.findall(page) == [str(ids[-1])]
    [whole] = re.findall(r'href="([^"]+)">Search all runs', page)
    page = await person.page(unescape(whole))
    assert "The index of texts" not in page
    assert _RUN.findall(page) == [str(run_id) for run_id in reversed(ids)]
    await site.change(lambda db: text_index.step(db, 100))
    page = await person.page("/jobs/runs?q=porcupine")
    assert "The index of texts" not in page
    assert _RUN.findall(page) == [str(run_id) for run_id in reversed(ids)]
