"""The log of a host at INFO: a few lines at the first start, and none from the libraries that make and use the tables."""

import logging

import pytest
import served
from targcc_scheduler.core.library_logs import only_warnings, quiet

HOST = """
import asyncio, logging, sys
from fastapi import FastAPI
from targcc_scheduler import Project, configure

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
configure(Project(name="shop", package="shop"))
from targcc_scheduler import Scheduler, mount
from targcc_scheduler.web import guest

guest._PATIENCE = 60  # on a busy machine, too, the start is over before the host serves

async def main():
    app, jobs = FastAPI(), Scheduler()
    mount(app, scheduler=jobs)
    async with app.router.lifespan_context(app):
        print("--", flush=True)
        await jobs.wait(await jobs.enqueue("Greet"), timeout=60)

asyncio.run(main())
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_first_start_writes_at_most_five_lines(database, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'first.db'}"
    if database == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    jobs = tmp_path / "shop" / "jobs"
    jobs.mkdir(parents=True)
    for folder in (jobs.parent, jobs):
        (folder / "__init__.py").touch()
    (jobs / "greet.py").write_text(
        "from targcc_scheduler import job\n\n\n@job()\ndef greet() -> None:\n    ...\n",
        encoding="utf-8",
    )
    (tmp_path / "host.py").write_text(HOST, encoding="utf-8")
    output = served.run(tmp_path, "host.py", TARGCC_DATABASE_URL=url)
    start, _, end = output.partition("--\n")
    lines = start.splitlines()
    assert 1 <= len(lines) <= 5, start
    assert (
        "INFO targcc.db.migrations.upgrade created the scheduler's tables, at revision 0016"
        in lines
    )
    assert [line for line in lines if " targcc." not in line] == []
    assert [line for line in end.splitlines() if " targcc." not in line] == []
    assert "INFO targcc.worker.executor run 1 (Greet) succeeded" in end


def test_the_level_that_a_host_has_set_stays():
    chosen, free = logging.getLogger("some.library"), logging.getLogger("other.library")
    chosen.setLevel(logging.DEBUG)
    with quiet("some.library"), quiet("other.library"):
        assert (chosen.level, free.level) == (logging.DEBUG, logging.WARNING)
    assert (chosen.level, free.level) == (logging.DEBUG, logging.NOTSET)
    only_warnings("some.library")
    assert chosen.level == logging.DEBUG
