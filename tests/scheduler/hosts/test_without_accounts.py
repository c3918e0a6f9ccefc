"""Apps without the feature accounts: a host identifies people, or a page and the log say that nobody can sign in."""

import subprocess
import sys
from pathlib import Path

import pytest

_APP = """
import asyncio, logging, sys

logging.basicConfig(format="%(message)s")
from targcc_scheduler import features

features.FEATURES = tuple(name for name in features.FEATURES if name != "accounts")
import httpx
from fastapi import FastAPI
from targcc_scheduler.project import Project, configure
from targcc_scheduler.settings import Settings

configure(Project("Shop", "shop"))
from targcc_scheduler.web.router import mount

settings = Settings(database_url="sqlite:///" + sys.argv[1], mode="embedded")


async def status_and_title(client, path):
    answer = await client.get(path)
    print(path, answer.status_code, [text for text in sys.argv[3:] if text in answer.text])


async def main():
    app = FastAPI()
    mount(app, settings=settings, identify=eval(sys.argv[2]))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://testserver") as client,
    ):
        for path in ("/jobs", "/jobs/jobs", "/jobs/api/jobs", "/jobs/login", "/jobs/health/ready"):
            await status_and_title(client, path)


asyncio.run(main())
"""


def answers(tmp_path: Path, identify: str, *texts: str) -> tuple[list[str], str]:
    """Status and texts of each page, and the log."""
    script = tmp_path / "app.py"
    script.write_text(_APP, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "jobs.db"), identify, *texts],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.usefixtures("processes")
def test_a_host_identifies_people_without_the_feature_accounts(tmp_path):
    pages, _ = answers(tmp_path, "lambda request: ('dana', 'admin')", "dana", "No such page")
    assert pages == [
        "/jobs 200 ['dana']",
        "/jobs/jobs 200 ['dana']",
        "/jobs/api/jobs 200 []",
        "/jobs/login 404 ['No such page']",
        "/jobs/health/ready 200 []",
    ]


@pytest.mark.usefixtures("processes")
def test_without_host_and_accounts_pages_api_and_log_say_that_nobody_can_sign_in(tmp_path):
    text = "the application does not identify people"
    pages, log = answers(tmp_path, "None", text)
    assert pages == [
        f"/jobs 401 [{text!r}]",
        f"/jobs/jobs 401 [{text!r}]",
        f"/jobs/api/jobs 401 [{text!r}]",
        "/jobs/login 404 []",
        "/jobs/health/ready 200 []",
    ]
    assert text in log
