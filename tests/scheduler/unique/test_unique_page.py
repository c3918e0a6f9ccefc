"""Run the examples of docs/unique.md."""

import re
from pathlib import Path

from targcc_scheduler import Scheduler, Settings, job

PAGE = Path(__file__).parents[3] / "docs" / "unique.md"


@job()
class BookOrder:
    async def execute(self, order: int) -> str:
        return f"booked {order}"


async def _ignore(_event: object) -> None:
    """Send no alerts."""


async def test_the_examples_run(migrated_sqlite_url):
    settings = Settings(database_url=migrated_sqlite_url, migrate_on_start=False)
    scheduler = Scheduler(settings, jobs_package=__name__, notify=_ignore)
    names = {"job": job, "scheduler": scheduler, "BookOrder": BookOrder, "__name__": __name__}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        if "await" not in block:
            exec(block, names)  # code from the page
            continue
        lines = "".join(f"    {line}\n" for line in block.splitlines())
        exec(f"async def example():\n{lines}", names)
        await names["example"]()
    assert names["QuotePrice"].__job__.options["expires_in"] == "10m"
    await scheduler.stop()
