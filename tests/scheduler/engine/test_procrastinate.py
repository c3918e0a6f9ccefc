"""Parts of Procrastinate that the engine uses: the public API in the tested versions, and one SQL statement."""

import ast
import asyncio
import contextlib
import inspect
import re
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import pytest
from procrastinate.manager import JobManager
from procrastinate.tasks import ConfigureTaskOptions
from rt_tools import QUICK, until
from targcc_scheduler import Settings
from targcc_scheduler.kernel.engine import procrastinate, procrastinate_schema
from targcc_scheduler.kernel.engine import procrastinate as engine_procrastinate
from targcc_scheduler.kernel.engine.procrastinate import PROVEN

ROOM = Path(engine_procrastinate.__file__).parent
PARTS = {"procrastinate", "procrastinate.exceptions", "procrastinate.types"}
"""Modules that may be imported from Procrastinate."""


def sources() -> dict[str, ast.Module]:
    return {
        file.name: ast.parse(file.read_text(encoding="utf-8"))
        for file in ROOM.glob("procrastinate*.py")
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def test_the_installed_version_is_one_that_is_proven():
    first, before = map(_numbers, PROVEN)
    assert first <= _numbers(version("procrastinate")) < before


def test_only_public_parts_are_imported():
    imported = {
        name
        for tree in sources().values()
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        )
        if name.startswith("procrastinate")
    }
    assert imported <= PARTS


def test_nothing_of_procrastinate_is_subclassed_or_replaced():
    for tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert [ast.unparse(base) for base in node.bases] == []
            targets = node.targets if isinstance(node, ast.Assign) else []
            assert not [target for target in targets if "job_manager" in ast.unparse(target)]


def test_only_what_takes_entries_touches_its_tables_besides_what_installs_them():
    uses = [
        (name, node.value)
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"(FROM|INTO|UPDATE|TABLE|JOIN) procrastinate_", node.value)
    ]
    assert {name for name, _ in uses} == {
        "procrastinate.py",
        Path(procrastinate_schema.__file__).name,
    }
    words = [
        re.findall(r"(\w+) FROM procrastinate_", text)
        for name, text in uses
        if name == "procrastinate.py"
    ]
    assert sorted(word for group in words for word in group) == [
        "DELETE",
        "priority",
    ]  # taken, then the next entries


@pytest.mark.parametrize(
    "column", ["id", "queue_name", "task_name", "priority", "args", "scheduled_at", "status"]
)
def test_the_statement_uses_columns_that_procrastinate_publishes(column):
    models = resources.files("procrastinate") / "contrib" / "django" / "models.py"
    _, _, source = models.read_text(encoding="utf-8").partition("class ProcrastinateJob(")
    assert re.search(rf"^    {column} = ", source, re.MULTILINE)


def test_entries_can_be_deferred_on_a_connection_of_the_caller():
    assert "connection" in inspect.signature(JobManager.batch_defer_jobs_async).parameters
    assert "connection" in ConfigureTaskOptions.__annotations__


async def test_what_listens_is_told_again_to_end_when_it_has_not_heard(
    migrated_postgresql_url, make_scheduler, monkeypatch
):
    """The connection error replaces the cancellation, and Procrastinate reconnects."""

    async def deaf(_worker, _app):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine_procrastinate.QueueWorker, "listen", deaf)
    monkeypatch.setattr(procrastinate, "_LISTENING_ENDS_SECONDS", 60)
    settings = Settings(_env_file=None, database_url=migrated_postgresql_url, **QUICK)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(schedule=False)
    await until(lambda: scheduler._host.engine._hearing)
    async with asyncio.timeout(30):
        await scheduler.stop()
