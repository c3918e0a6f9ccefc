"""Run the examples of docs/continuations.md."""

import importlib
import re
import sys
from pathlib import Path

from guarantee_rig import schedulers
from targcc_scheduler import RunState
from targcc_scheduler.kernel.queries import runs

PAGE = Path(__file__).parents[3] / "docs" / "continuations.md"


async def test_the_example_of_the_page_runs(migrated_url, tmp_path, monkeypatch):
    [shown] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "continued.py").write_text(shown, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "continued", raising=False)
    example = importlib.import_module("continued")
    async with schedulers(migrated_url, "continued") as make:
        scheduler = make()
        parent, good, bad = await example.import_and_tell(scheduler)
        await scheduler.start(schedule=False)
        assert await scheduler.wait(good, 60) == RunState.SUCCEEDED
        assert await scheduler.wait(bad, 60) == RunState.CANCELLED
        assert await scheduler.wait(parent + 1, 60) == RunState.SUCCEEDED
        followers = [
            await scheduler.read(lambda db, one=one: runs.get_run(db, one))
            for one in (good, bad, parent + 1)
        ]
    assert [run.message for run in followers] == [
        "succeeded: 7 orders",
        f"discarded: run {parent} succeeded",
        "checked 7",
    ]
