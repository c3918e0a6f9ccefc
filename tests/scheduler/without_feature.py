"""Run a project without a feature: start, run a job, open pages, call the API and commands; print the results as JSON."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner
from fastapi import FastAPI
from targcc_scheduler import Project, Settings, configure, features
from targcc_scheduler.kernel.feature import Commands, Feature, left_out

PAGES = ("", "/jobs/Tidy", "/runs", "/runs/1", "/system")
API = ("jobs", "jobs/Tidy", "runs", "runs/1", "system", "queues")
_LINK = re.compile(r'href="(/jobs/[^"?#]*)')
JOBS = '''"""Jobs of the project."""

from targcc_scheduler import JobResult, job


@job("0 3 * * *")
class TidyJob:
    """Tidy up."""

    async def execute(self) -> JobResult:
        return JobResult.success("tidy")
'''


def begin(name: str, url: str, folder: Path) -> None:
    """Configure a project with one job; leave a feature out, if a name is given."""
    features.FEATURES = tuple(feature for feature in features.FEATURES if feature != name)
    package = folder / "tidy_jobs"
    (package / "jobs").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "jobs/__init__.py").write_text(JOBS)
    sys.path.insert(0, str(folder))
    configure(Project(name="tidy-jobs", package="tidy_jobs", database_url=url))


async def serve() -> dict[str, Any]:
    """Run the job to its end and open pages and API as an administrator."""
    from targcc_scheduler import Scheduler, mount

    scheduler = Scheduler(Settings(poll_seconds=0.2, heartbeat_seconds=0.2))
    app = FastAPI()
    mount(app, "/jobs", identify=lambda _request: ("tester", "admin"), scheduler=scheduler)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://testserver"
        ) as client,
    ):
        run = await scheduler.enqueue("TidyJob")
        state = await settled(client, run)
        answers = {path: await client.get(f"/jobs{path}") for path in PAGES}
        pages = {path: answer.status_code for path, answer in answers.items()}
        links = {link for answer in answers.values() for link in _LINK.findall(answer.text)}
        dead = [link for link in sorted(links) if (await client.get(link)).status_code == 404]
        api = {path: (await client.get(f"/jobs/api/{path}")).status_code for path in API}
    return {"state": state, "pages": pages, "api": api, "dead links": dead}


async def settled(client: httpx.AsyncClient, run_id: int) -> str:
    """Return the final state of a run."""
    while True:
        run = (await client.get(f"/jobs/api/runs/{run_id}")).json()
        if run["completed_at"] is not None:
            return str(run["state"])
        await asyncio.sleep(0.05)


def command(*words: str) -> tuple[int, str]:
    """Return exit status and output of ``targcc`` with these words."""
    from targcc_scheduler import main

    result = CliRunner().invoke(main, words, prog_name="targcc")
    return result.exit_code, result.output


def imported(feature: Feature) -> list[str]:
    """Return the modules of a feature's parts that this process has imported."""
    modules = {f"{feature.package}.{part.ref.partition(':')[0]}" for part in feature.parts}
    return sorted(modules & set(sys.modules))


if __name__ == "__main__":
    begin(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    found = asyncio.run(asyncio.wait_for(serve(), 60))
    names = [part.name for left in left_out() for part in left.parts if isinstance(part, Commands)]
    found["help"] = command("--help")
    found["commands"] = {name: command(*name.split()) for name in names}
    found["imported"] = [module for left in left_out() for module in imported(left)]
    sys.stdout.write(json.dumps(found))
