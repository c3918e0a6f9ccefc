"""An application with the extra `guest` of the scheduler: start, run a job, read the pages, use the command line.

Run by tests/e2e/test_lowest_versions.py in an environment that has the extra alone.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import types

os.environ["TARGCC_DATABASE_URL"] = "sqlite:///guest.db"
ABSENT = ("prometheus_client", "rich", "uvicorn") + ("psutil",) * (sys.platform == "linux")
JOBS = """
from targcc_scheduler import job


@job()
async def greet(name: str) -> str:
    return f"greeted {name}"
"""
SCHEDULER = """
from targcc_scheduler import Project, configure

configure(Project(name="shop", package="shop"))
"""


async def main() -> None:
    """Raise an AssertionError for whatever does not work."""
    import httpx
    from fastapi import FastAPI
    from targcc_scheduler import get_scheduler, mount

    app = FastAPI()
    mount(app, identify=lambda _: ("ada", "admin"))
    async with app.router.lifespan_context(app):
        scheduler = get_scheduler(types.SimpleNamespace(scope={}, app=app))
        run = await scheduler.enqueue("greet", name="Dana")
        assert await scheduler.wait(run, 60) == "succeeded"
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("", "/runs?q=state:succeeded", "/system", "/help/jobs", "/api/runs"):
                answer = await client.get(f"/jobs{path}")
                assert answer.status_code == 200, (path, answer.text)
            metrics = await client.get("/jobs/metrics")
            assert (metrics.status_code, "targcc-scheduler[run]" in metrics.text) == (503, True)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the project."""
    program = (sys.executable, "-m", "targcc_scheduler", "--project", "shop")
    return subprocess.run([*program, *words], capture_output=True, text=True, check=False)


def write(path: str, text: str) -> None:
    """Write a file of the project."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    assert not [name for name in ABSENT if importlib.util.find_spec(name)]
    write("shop/__init__.py", "")
    write("shop/scheduler.py", SCHEDULER)
    write("shop/jobs/__init__.py", "")
    write("shop/jobs/greet.py", JOBS)
    sys.path.insert(0, "")
    import shop.scheduler  # noqa: F401 - configures the project

    asyncio.run(main())
    shown = command("job", "list")
    assert shown.returncode == 0, shown.stderr
    assert "greet" in shown.stdout.lower()
    served = command("serve")
    assert (served.returncode, "needs uvicorn" in served.stderr) == (2, True), served.stderr
