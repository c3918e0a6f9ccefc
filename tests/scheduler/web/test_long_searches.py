"""A search with more conditions than a statement allows is refused with a reason, without log entries."""

import pytest
from web_fixtures import Site

SEARCHES = {
    "words": " ".join(f"w{number}" for number in range(330)),
    "letters": "a " * 1_000,
    "jobs": "-job:x* " * 240,
    "patterns": "job:" + ",".join(f"*{number}*" for number in range(250)),
    "arguments": "arg.a:1 " * 240,
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
async def test_a_search_of_a_thousand_words_is_refused_and_fills_no_log(site: Site, search, caplog):
    program, person = await site.program(), await site.user()
    await site.add_run("MailUser", "failed")
    caplog.clear()
    for answer in (
        await program.get("/api/runs", params={"q": search[:2_000]}),
        await program.post(
            "/api/bulk/count", json={"action": "retry", "filter": {"q": search[:2_000]}}
        ),
    ):
        assert answer.status_code == 422
        assert "at most 100 conditions" in answer.json()["detail"]
    assert "at most 100 conditions" in await person.page("/jobs/runs", params={"q": search[:2_000]})
    texts = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert sum(map(len, texts)) < 5_000  # httpx, the test's client, may log each address


async def test_a_list_of_ten_thousand_runs_is_one_condition(site: Site):
    program = await site.program()
    await site.add_run("MailUser", "failed")
    wish = {"action": "retry", "filter": {"runs": list(range(1, 10_001))}}
    assert (await program.post("/api/bulk/count", json=wish)).json()["total"] == 1
