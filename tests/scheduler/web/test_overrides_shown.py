"""Change options of jobs on the pages and in the API, and start runs with the arguments of another run."""

from targcc_scheduler.core.actor import SYSTEM
from web_fixtures import Site


async def test_a_person_changes_a_job_looks_before_and_takes_it_back(site: Site):
    person, viewer = await site.user(), await site.user("viewer")
    page = await person.page("/jobs/jobs/DailyReport")
    assert "Change the schedule" in page
    query = "schedule=30+4+*+*+*&queue=critical&reason=late+data&until=2099-01-01T00:00"
    page = await person.page(f"/jobs/jobs/DailyReport/override?{query}")
    assert "<code>0 2 * * *</code>" in page
    assert page.count("moved</span>") == 5
    assert (await viewer.get(f"/jobs/jobs/DailyReport/override?{query}")).status_code == 403
    assert "moved" not in await person.page(
        "/jobs/jobs/DailyReport/override?queue=critical&reason=x"
    )
    wrong = await person.page("/jobs/jobs/DailyReport/override?schedule=61+4+*+*+*&reason=x")
    assert "Change it</button>" not in wrong
    form = {"schedule": "30 4 * * *", "queue": "critical", "reason": "<b>late</b> data"}
    assert (await viewer.send("/jobs/jobs/DailyReport/override", **form)).status_code == 403
    answer = await person.send("/jobs/jobs/DailyReport/override", **form)
    assert answer.headers["location"] == "/jobs/jobs/DailyReport"
    page = await person.page("/jobs/jobs/DailyReport")
    assert "Changed without a deploy" in page
    assert "&lt;b&gt;late&lt;/b&gt; data</bdi>; until it is reset" in page
    assert "cron: &#34;30 4 * * *&#34;" in page
    assert "The schedule is 30 4 * * * instead of 0 2 * * * in the code" in page
    assert "<bdi>schedule, queue</bdi> changed</span>" in await person.page(
        "/jobs/jobs?show=changed"
    )
    await person.send("/jobs/jobs/DailyReport/override/reset", field="queue")
    assert "<bdi>schedule</bdi> changed</span>" in await person.page("/jobs/jobs")
    await person.send("/jobs/jobs/DailyReport/override/reset")
    page = await person.page("/jobs/jobs/DailyReport")
    assert "Changed without a deploy" not in page
    assert "Reset to the value in the code: schedule." in page
    assert (await person.get("/jobs/jobs/Nix/override")).status_code == 404


async def test_the_api_changes_a_job_and_says_how_to_take_it_over(site: Site):
    program, viewer = await site.program(), await site.program("viewer")
    path = "/api/jobs/MailUser/overrides"
    wish = {"arguments": {"tone": "strict"}, "retries": 0, "reason": "they do not pay"}
    assert (await viewer.post(path, json=wish)).status_code == 403
    seen = (await program.post(path, json={**wish, "dry_run": True})).json()
    assert (seen["saved"], seen["changes"][0]["then"]) == (False, 'tone="strict"')
    assert (await program.get("/api/overrides")).json() == []
    for wrong, status in (
        ({"queue": "nowhere"}, 422),
        ({"arguments": {"api_key": "x"}}, 422),
        ({"schedule": "0 2 * * *"}, 422),
        ({"priority": 1, "until": "2099-01-01T00:00"}, 422),
        ({"paused": True}, 422),
    ):
        answer = await program.post(path, json={**wrong, "reason": "x"})
        assert answer.status_code == status, answer.text
    assert (await program.post(path, json=wish)).json()["saved"]
    held = (await viewer.get(path)).json()
    assert [(override["field"], override["value"]) for override in held["overrides"]] == [
        ("arguments", {"tone": "strict"}),
        ("retries", 0),
    ]
    assert held["code"]["decorator"] == ["retries=0,"]
    job = (await viewer.get("/api/jobs/MailUser")).json()
    assert (job["retries"], job["overrides"][1]["code"]) == (0, 2)
    started = await program.post("/api/jobs/MailUser/trigger", json={"arguments": {"user_id": 4}})
    run = (await program.get(f"/api/runs/{started.json()['run_id']}")).json()
    assert run["arguments"]["tone"] == "strict"
    gone = await program.delete(path, params={"field": "retries"})
    assert gone.json() == {"reset": ["retries"]}
    assert (await program.delete(path, params={"field": "paused"})).status_code == 422
    assert (await program.delete(path)).json() == {"reset": ["arguments"]}


async def test_a_run_is_the_pattern_of_another(site: Site):
    program, person = await site.program(), await site.user()
    arguments = {"user_id": 4, "tone": "strict", "copy_to": ["a", "b"], "api_key": "s3cret-key"}
    body = {"arguments": arguments}
    first = (await program.post("/api/jobs/MailUser/trigger", json=body)).json()["run_id"]
    await site.scheduler.cancel(first, by=SYSTEM)
    assert f"/jobs/jobs/MailUser?like={first}#run" in await person.page(f"/jobs/runs/{first}")
    page = await person.page(f"/jobs/jobs/MailUser?like={first}")
    assert 'value="4"' in page
    assert "<option selected>strict</option>" in page
    assert "s3cret-key" not in page
    form = {"like": str(first), "arg-user_id": "5", "arg-tone": "kind", "next": "run"}
    answer = await person.send("/jobs/jobs/MailUser/run", **form)
    again = int(answer.headers["location"].rpartition("/")[2])
    made = await site.scheduler.arguments_of("MailUser", again)
    assert (made["user_id"], made["tone"], made["copy_to"]) == (5, "kind", [])
    assert made["api_key"].get_secret_value() == "s3cret-key"
    like = {"like": first, "arguments": {"user_id": 6}}
    third = (await program.post("/api/jobs/MailUser/trigger", json=like)).json()["run_id"]
    made = await site.scheduler.arguments_of("MailUser", third)
    assert (made["user_id"], made["tone"], made["copy_to"]) == (6, "strict", ["a", "b"])
    other = await program.post("/api/jobs/SyncStock/trigger", json={"like": first})
    assert other.status_code == 404
    assert "cannot be taken as a pattern" in (await person.get("/jobs/jobs/MailUser?like=99")).text
