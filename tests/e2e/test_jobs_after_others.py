"""A spec whose jobs follow others, are unique and expire: rendered, started, edited."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rendered_projects import run
from targcc_gen.cli import main
from targcc_gen.demo import DemoProject
from targcc_gen.spec import load_spec

pytestmark = pytest.mark.e2e

SPEC = """\
targcc: 1
project: {name: shop-jobs}
scheduler: package
jobs:
  ImportOrders: {type: manual}
  ImportPrices: {type: manual, name: SP_Prices}
  CheckOrders:
    after: [ImportOrders, ImportPrices]
    unique: day
    unique_scope: queued
    expires_in: 10m
    params: {day: str = today}
"""


def targcc_gen(project: DemoProject, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*arguments, "--project", str(project.root)])
    return done.exit_code, done.output


def body(project: DemoProject, name: str, text: str) -> Path:
    """Write the body of a job."""
    path = project.root / "src" / "shop_jobs" / "jobs" / f"{name}.py"
    source = path.read_text(encoding="utf-8")
    assert "return JobResult.success()" in source
    path.write_text(source.replace("return JobResult.success()", text), encoding="utf-8")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> DemoProject:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    made = CliRunner().invoke(main, ["new", str(tmp_path / "shop"), "--spec", str(spec)])
    assert made.exit_code == 0, made.output
    return DemoProject(tmp_path / "shop", "shop_jobs", Path(sys.executable))


STARTED = """
import asyncio

from targcc_scheduler.kernel.queries import runs

from shop_jobs.scheduler import Scheduler


async def main() -> None:
    scheduler = Scheduler()
    await scheduler.start()
    orders = await scheduler.enqueue("ImportOrders")
    await scheduler.enqueue("SP_Prices")
    child = orders + 1
    print(await scheduler.wait(child, 60))
    run = await scheduler.read(lambda db: runs.get_run(db, child))
    print(run.message, run.unique_by, run.expires_at - run.due_at if run.expires_at else None, sep=" | ")
    await scheduler.stop()


asyncio.run(main())
"""


def test_a_job_starts_after_the_jobs_that_the_spec_names(shop: DemoProject):
    body(shop, "import_orders", "return JobResult.success().with_metadata(orders=7)")
    check = body(
        shop,
        "check_orders",
        'orders = ctx.parents["ImportOrders"].metadata["orders"]\n'
        '        return JobResult.success(f"{orders} orders, {sorted(one.job for one in ctx.parents.runs)}, {day}")',
    )
    assert targcc_gen(shop, "regenerate", "--check")[0] == 0
    (shop.root / "started.py").write_text(STARTED, encoding="utf-8")
    done = run(shop, "started")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "succeeded",
        "7 orders, ['ImportOrders', 'SP_Prices'], today | day=\"today\" | 0:10:00",
    ]

    text = check.read_text(encoding="utf-8")
    check.write_text(text.replace('expires_in="10m"', 'expires_in="1h"'), encoding="utf-8")
    status, output = targcc_gen(shop, "regenerate", "--check")
    assert status == 1
    assert 'expires_in="10m"' in output
    assert targcc_gen(shop, "pull")[0] == 0
    assert str(load_spec(shop.root / "targcc.yaml").jobs["CheckOrders"].expires_in) == "1:00:00"
