"""Run the examples of docs/files.md."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rt_tools import QUICK
from targcc_scheduler import Client, Settings
from targcc_scheduler.services.container import of_project

PAGE = Path(__file__).resolve().parents[3] / "docs" / "files.md"


@pytest.fixture
def examples(monkeypatch):
    """Import the Python blocks of the page as a module; blocks that enqueue runs are kept as text."""
    text = PAGE.read_text("utf-8").replace("acme_jobs.scheduler", "targcc_scheduler")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    made = ModuleType("files_page")
    monkeypatch.setitem(sys.modules, "files_page", made)
    made.asking = next(block for block in blocks if "client()" in block)
    for block in blocks:
        if block is not made.asking:
            exec(compile(block, str(PAGE), "exec", dont_inherit=True), vars(made))
    return made


async def test_every_example_of_the_page_runs(
    examples, make_scheduler, database, monkeypatch, tmp_path
):
    await examples.test_orders_are_counted()
    monkeypatch.setattr(
        "targcc_scheduler.kernel.blobs.of_project", lambda name: getattr(examples, name)
    )
    scheduler = make_scheduler(
        settings=Settings(database_url=database.url, **QUICK), jobs_package="files_page"
    )
    await scheduler.start(schedule=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_bytes(b"id,total\n1,2\n3,4\n")
    client = Client(scheduler)
    source = examples.asking.replace("from targcc_scheduler import File, client", "")
    names = {"File": examples.File, "client": lambda: client}
    exec(compile(source, str(PAGE), "exec"), names)
    for run_id, message in (
        (1, "2 orders of orders.csv"),
        (2, "1 orders of file"),
        (3, "2 orders of march.csv"),
    ):
        assert await scheduler.wait(run_id, 30) == "succeeded"
        assert database.run(run_id)["Message"] == message
    report = await scheduler.enqueue("MonthlyReport")
    assert await scheduler.wait(report, 30) == "succeeded"
    kept = [content for _, content in examples._files.kept.values()]
    assert kept.count(b"month,total\n2026-10,1200\n") == 1
    assert set(database.rows("SELECT Store, Data FROM c_JobBlob")[0]) == {"memory", None}


def test_a_project_without_a_store_of_its_own_has_none():
    assert of_project("make_file_store") is None
