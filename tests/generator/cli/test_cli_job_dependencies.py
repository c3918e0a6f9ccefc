"""Jobs that follow other jobs, changed by command and by hand: renamed, removed, edited in code, and taken into the spec."""

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.spec import load_spec

SPEC = """\
targcc: 1
project: {name: acme-jobs}
scheduler: package

jobs:
  ImportOrders: {cron: "0 2 * * *"}
  ImportPrices: {type: manual, name: SP_Prices}
  CheckOrders:
    after: [ImportOrders, ImportPrices]   # both of them
    params: {day: str = today}

flows:
  MonthEnd: {steps: {fetch: {job: ImportOrders}}}
"""
CHECK = "src/acme_jobs/jobs/check_orders.py"
pytestmark = pytest.mark.usefixtures("project")


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


def ok(*arguments: str) -> str:
    result = targcc_gen(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_comes_after_a_renamed_job_comes_after_its_new_name(project):
    edit(project / CHECK, "return JobResult", "print('mine')\n        return JobResult")
    output = ok("job", "ImportOrders", "--rename", "Orders")
    assert "Flows or environments name it, so now: targcc-gen regenerate" in output
    assert "regenerate" not in ok("job", "ImportPrices", "--rename", "PriceList")
    text = (project / CHECK).read_text()
    assert '@job(after=["Orders", "SP_Prices"])' in text
    assert "print('mine')" in text
    assert (
        "    after: [Orders, PriceList]   # both of them" in (project / "targcc.yaml").read_text()
    )
    ok("regenerate")
    flows = (project / "src/acme_jobs/scheduler.py").read_text()
    assert '"job": "Orders"' in flows
    ok("regenerate", "--check")


def test_a_job_that_was_renamed_by_hand_is_followed_under_its_new_name(project):
    edit(project / "targcc.yaml", "  ImportOrders: {cron", "  Orders: {cron")
    edit(project / "targcc.yaml", "flows:", "moved: {ImportOrders: Orders}\nflows:")
    ok("regenerate")
    assert '@job(after=["Orders", "SP_Prices"])' in (project / CHECK).read_text()
    ok("regenerate", "--check")


def test_a_job_that_others_come_after_is_not_removed(project):
    before = (project / "targcc.yaml").read_bytes()
    result = targcc_gen("job", "ImportPrices", "--remove")
    assert result.exit_code == 2
    assert "CheckOrders comes after ImportPrices" in result.output
    assert (project / "targcc.yaml").read_bytes() == before


def test_the_class_of_a_job_is_as_good_as_its_name(project):
    edit(project / CHECK, '["ImportOrders", "SP_Prices"]', "[ImportOrdersJob, ImportPricesJob]")
    before = (project / CHECK).read_bytes()
    assert "Nothing to do" in ok("regenerate")
    assert (project / CHECK).read_bytes() == before


def test_what_the_code_says_goes_into_the_spec(project):
    edit(
        project / CHECK,
        'after=["ImportOrders", "SP_Prices"]',
        'after=["SP_Prices"], unique=("day", "shop"), on_duplicate="debounce 30s", expires_in="1h", limit={"key": "no", "running": 2}',
    )
    edit(project / CHECK, 'day: str = "today"', 'day: str = "today", shop: int = 1, no: int = 2')
    assert targcc_gen("regenerate", "--check").exit_code == 1
    ok("pull")
    job = load_spec(project / "targcc.yaml").jobs["CheckOrders"]
    assert (job.after, job.unique) == (("ImportPrices",), ("day", "shop"))
    assert (job.on_duplicate, str(job.expires_in)) == ("debounce 30s", "1:00:00")
    assert list(job.params) == ["day", "shop", "no"]
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_schedule_comes_and_goes(project):
    edit(
        project / CHECK,
        'after=["ImportOrders", "SP_Prices"]',
        '"0 5 * * *", timezone="Europe/London"',
    )
    ok("pull")
    job = load_spec(project / "targcc.yaml").jobs["CheckOrders"]
    assert (job.cron, job.after) == ("0 5 * * *", None)
    edit(project / CHECK, '"0 5 * * *", timezone="Europe/London"', 'after=["ImportOrders"]')
    ok("pull")
    job = load_spec(project / "targcc.yaml").jobs["CheckOrders"]
    assert (job.cron, job.timezone, job.after) == (None, None, ("ImportOrders",))


def test_the_code_may_say_it(project):
    edit(project / CHECK, 'after=["ImportOrders", "SP_Prices"]', "after=parents(), unique=by_day")
    assert targcc_gen("regenerate", "--check").exit_code == 1
    edit(project / "targcc.yaml", "params: {day", "keep: [schedule, unique]\n    params: {day")
    ok("regenerate", "--check")


def test_a_back_off_rule_stays_in_the_code(project):
    rule = "backoff=lambda run, error: 60 * run.failures"
    edit(
        project / CHECK,
        'after=["ImportOrders", "SP_Prices"]',
        f'{rule}, after=["ImportOrders", "SP_Prices"]',
    )
    refused = targcc_gen("pull", "CheckOrders")
    assert refused.exit_code == 2
    assert "keep: [backoff]" in refused.output
    edit(
        project / "targcc.yaml", "params: {day", "keep: [backoff]\n    retries: 7\n    params: {day"
    )
    spec = (project / "targcc.yaml").read_bytes()
    ok("regenerate")
    ok("pull")
    assert rule in (project / CHECK).read_text()
    assert "retries=7" in (project / CHECK).read_text()
    assert (project / "targcc.yaml").read_bytes() == spec


def test_a_job_that_was_written_by_hand_is_adopted(project):
    source = (project / CHECK).read_text().replace("CheckOrders", "Archive")
    (project / "src/acme_jobs/jobs/archive.py").write_text(source)
    ok("pull", "Archive")
    job = load_spec(project / "targcc.yaml").jobs["Archive"]
    assert (job.after, job.type) == (("ImportOrders", "ImportPrices"), None)


def test_keys_of_what_no_spec_can_say_stay_the_codes(project):
    source = (project / CHECK).read_text().replace("CheckOrders", "Archive")
    source = source.replace(
        '"SP_Prices"])',
        '"SP_Prices"], unique="order", unique_scope="1h", limit={"key": "order", "running": 2})',
    ).replace('day: str = "today"', "order: Order = Order()")
    (project / "src/acme_jobs/jobs/archive.py").write_text(source)
    ok("pull", "Archive")
    job = load_spec(project / "targcc.yaml").jobs["Archive"]
    assert (job.unique, job.limit, job.params) == (None, None, {})
    assert job.keep == ("unique", "unique_scope", "limit")
    ok("regenerate", "--check")


def test_explain_says_what_an_environment_says_of_them(project):
    (project / "targcc.yaml").write_text(
        SPEC.replace("    params", "    expires_in: 10m\n    params")
        + "environments: {staging: {jobs: {CheckOrders: {expires_in: 1h}}, flows: {MonthEnd: {paused: true}}}}\n"
    )
    lines = ok("explain", "jobs.CheckOrders.expires_in", "--environment", "staging").splitlines()
    assert lines[0].startswith("jobs.CheckOrders.expires_in = 1h ")
    assert lines[1].startswith("  over 10m ")
    lines = ok("explain", "flows.month_end.paused", "--environment", "staging").splitlines()
    assert lines[0].startswith("flows.month_end.paused = True ")
    assert targcc_gen("explain", "flows.MonthEnd.pausd").exit_code == 2
