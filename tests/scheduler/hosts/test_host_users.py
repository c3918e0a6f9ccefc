"""Ready-made ``identify=`` functions: the host signs people in, and the scheduler's pages know them with their roles."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from hosting_rig import alive, make_django_users
from login_hosts import HOSTS, ROLES
from targcc_scheduler import Scheduler, by_starlette_session, with_scheduler
from targcc_scheduler.web.host_users import name_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a2wsgi and Litestar
PAUSED = "/jobs/jobs/DailyReport/pause"


@pytest.fixture
async def scheduler(settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    yield made
    await made.stop()


async def signed_in(client: Any, name: str) -> None:
    client.cookies.clear()
    answer = await client.post("/signin", data={"name": name})
    assert (answer.status_code, answer.headers["location"]) in {(302, "/jobs"), (303, "/jobs")}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
async def test_the_users_of_a_host_are_known_with_their_roles(name, scheduler):
    if name == "django":
        await asyncio.to_thread(make_django_users)
    app = HOSTS[name](scheduler)
    async with alive(app) as client:
        client.headers["Origin"] = "http://testserver"
        stranger = await client.get("/jobs/runs?state=failed")
        assert (stranger.status_code, stranger.headers["location"]) == (
            303,
            "/signin?next=%2Fjobs%2Fruns%3Fstate%3Dfailed",
        )
        assert (await client.get("/jobs/api/jobs")).status_code == 401
        for user, role in ROLES.items():
            await signed_in(client, user)
            page = (await client.get("/jobs/jobs/DailyReport")).text
            assert (user in page, f'<bdi class="soft">{role}</bdi>' in page) == (True, True)
            assert (await client.post(PAUSED)).status_code == 403
            csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
            assert (await client.post(PAUSED, data={"csrf": csrf})).status_code == 303
            people = await client.get("/jobs/people")
            assert people.status_code == (200 if role == "admin" else 403)
        await signed_in(client, "vera")
        refused = await client.get("/jobs")
        assert (refused.status_code, "no role" in refused.text or "refuses" in refused.text) == (
            403,
            True,
        )


async def test_the_handler_for_guards_answers_nobody_else(scheduler):
    async with alive(HOSTS["litestar"](scheduler)) as client:
        assert (await client.get("/.targcc-user")).status_code in {401, 404}
        await signed_in(client, "ada")
        assert (await client.get("/.targcc-user")).status_code == 404


async def test_a_session_of_starlette_needs_the_middleware_around_the_pages(scheduler):
    app = with_scheduler(FastAPI(), scheduler=scheduler, identify=by_starlette_session(dict))
    async with alive(app) as client:
        with pytest.raises(RuntimeError, match="add SessionMiddleware to the app, and use mount"):
            await client.get("/jobs")


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (SimpleNamespace(get_username=lambda: "dana"), "dana"),
        (SimpleNamespace(id=7, email="dana@example.com"), "dana@example.com"),
        ({"id": 7, "username": "dana"}, "dana"),
        (SimpleNamespace(get_id=lambda: "7"), "7"),
        (SimpleNamespace(email="", id=7), "7"),
    ],
)
def test_the_name_of_a_user_is_the_first_that_the_user_has(user, name):
    assert name_of(user) == name


def test_a_user_without_a_name_is_an_error_that_says_what_to_pass():
    with pytest.raises(TypeError, match="pass name="):
        name_of(object())
