"""Later changes of a job: removed from the spec, restored, and edited in spec or code."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.spec import load_spec

SPEC = """\
targcc: 1
project: {name: acme-jobs}
scheduler: package

jobs:
  Sales:   # for the managers
    cron: "0 2 * * *"
    timeout: 1h

  Send:
    type: fire-and-forget
    params: {user_id: int}
"""
SALES, SEND = "src/acme_jobs/jobs/sales.py", "src/acme_jobs/jobs/send.py"
pytestmark = pytest.mark.usefixtures("project")


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_in_body(path: Path) -> None:
    edit(path, "return JobResult", "print('mine')\n        return JobResult")


def ok(*arguments: str) -> str:
    result = targcc_gen(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def without_sales(project: Path) -> None:
    text = (project / "targcc.yaml").read_text()
    start, end = text.index("  Sales:"), text.index("  Send:")
    (project / "targcc.yaml").write_text(text[:start] + text[end:])


# Out of the spec


def test_a_job_that_left_the_spec_is_shown_until_somebody_takes_it_in_or_out(project):
    write_in_body(project / SALES)
    without_sales(project)
    assert targcc_gen("regenerate", "--check").exit_code == 1
    ok("regenerate")
    assert "left_spec=True" in (project / SALES).read_text()
    for _ in range(2):
        check = targcc_gen("regenerate", "--check")
        assert check.exit_code == 1
        assert f"in code, not in the spec: Sales ({SALES})" in check.output
        assert "targcc-gen pull Sales" in ok("status")
        ok("regenerate")
    (entry,) = [file for file in json.loads(ok("status", "--json"))["files"] if "job" in file]
    assert (entry["job"], entry["state"]) == ("Sales", "not in the spec")


def test_adopting_it_puts_it_back_as_it_is(project):
    write_in_body(project / SALES)
    edited = (project / SALES).read_text()
    without_sales(project)
    ok("regenerate")
    ok("pull", "Sales")
    job = load_spec(project / "targcc.yaml").jobs["Sales"]
    assert (job.cron, str(job.timeout)) == ("0 2 * * *", "1:00:00")
    assert (project / SALES).read_text() == edited
    assert (project / "tests/jobs/test_sales.py").is_file()
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_ejecting_it_makes_it_one_that_was_written_by_hand(project):
    write_in_body(project / SALES)
    edited = (project / SALES).read_text()
    without_sales(project)
    ok("regenerate")
    ok("eject", SALES)
    assert (project / SALES).read_text() == edited
    assert targcc_gen("regenerate", "--check").exit_code == 0
    assert "sales" not in ok("status")


def test_a_job_that_was_written_by_hand_is_nobodys_business_until_it_is_pulled(project):
    path = project / "src/acme_jobs/jobs/other.py"
    path.write_text(
        (project / SALES).read_text().replace("SalesJob", "OtherJob").replace("0 2", "0 5")
    )
    before = path.read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    ok("pull", "Other")
    assert load_spec(project / "targcc.yaml").jobs["Other"].cron == "0 5 * * *"
    assert path.read_text() == before
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_test_with_edits_whose_job_is_gone_is_put_away_and_named_in_every_status(project):
    test = project / "tests/jobs/test_sales.py"
    test.write_text(test.read_text() + "\n\ndef test_mine() -> None:\n    assert True\n")
    edited = test.read_bytes()
    without_sales(project)
    away = ".targcc/removed/tests/jobs/test_sales.py.txt"
    assert away in ok("regenerate")
    assert not (project / SALES).exists()
    assert not test.exists()  # the test could not import its job
    assert (project / away).read_bytes() == edited
    for _ in range(2):
        assert f"{away}  its job is gone; delete it" in ok("status")
        ok("regenerate", "--check")
    (project / away).unlink()
    assert "test_sales" not in ok("status")


def test_a_test_with_edits_stays_beside_a_job_that_stays(project):
    write_in_body(project / SALES)
    test = project / "tests/jobs/test_sales.py"
    test.write_text(test.read_text() + "\n\ndef test_mine() -> None:\n    assert True\n")
    without_sales(project)
    ok("regenerate")
    for _ in range(2):
        assert "left      tests/jobs/test_sales.py" in ok("status")
    test.unlink()
    ok("regenerate")
    assert "test_sales" not in ok("status")


# Removed, and back


def test_a_removed_job_with_edits_goes_where_nothing_runs_it_and_comes_back(project):
    write_in_body(project / SALES)
    edited, spec = (project / SALES).read_bytes(), load_spec(project / "targcc.yaml")
    assert "targcc-gen restore Sales" in ok("job", "Sales", "--remove")
    assert not (project / SALES).exists()
    assert (project / f".targcc/removed/{SALES}.txt").read_bytes() == edited
    assert "removed   .targcc/removed/" in ok("status")
    assert targcc_gen("regenerate", "--check").exit_code == 0
    ok("restore", "Sales")
    assert (project / SALES).read_bytes() == edited
    assert load_spec(project / "targcc.yaml") == spec
    assert not (project / ".targcc/removed").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.soak
def test_a_job_that_left_the_spec_can_be_removed(project):
    edit(project / SALES, 'timeout="1h"', "timeout=limit()")
    without_sales(project)
    ok("regenerate")
    ok("job", "sales", "--remove")
    assert not (project / SALES).exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    ok("restore", f".targcc/removed/{SALES}.txt")
    assert load_spec(project / "targcc.yaml").jobs["Sales"].cron == "0 2 * * *"
    assert "left_spec" not in (project / SALES).read_text()
    edit(project / "targcc.yaml", 'cron: "0 2 * * *"', 'cron: "0 2 * * *"\n    keep: [timeout]')
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_job_without_edits_leaves_nothing(project):
    assert "none is kept: targcc-gen job Sales" in ok("job", "Sales", "--remove")
    assert not (project / ".targcc/removed").exists()
    refused = targcc_gen("restore", "sales")
    assert refused.exit_code == 2
    assert "nor is a job of that name kept" in refused.output
    assert "targcc-gen job Sales" in refused.output
    assert "targcc-gen status" in targcc_gen("restore", "docs/gone.md").output


# @job and the spec


def test_check_names_what_the_code_says_and_the_spec_does_not(project):
    edit(project / SALES, 'timeout="1h"', 'timeout="2h", retries=7')
    check = targcc_gen("regenerate", "--check")
    assert check.exit_code == 1
    assert 'mine       timeout="2h"' in check.output
    assert 'generated  timeout="1h"' in check.output
    assert targcc_gen("regenerate").exit_code == 3
    edit(project / SALES, 'timeout="2h", retries=7', 'timeout="60m"')
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_mine_takes_it_into_the_spec(project):
    edit(project / SALES, '"0 2 * * *", timeout="1h"', 'every="2h", retries=7')
    edited = (project / SALES).read_text()
    assert "every" in ok("regenerate", "--mine", SALES)
    assert (project / SALES).read_text() == edited
    job = load_spec(project / "targcc.yaml").jobs["Sales"]
    assert (job.cron, str(job.every), job.timeout, job.retries) == (None, "2:00:00", None, 7)
    assert "# for the managers" in (project / "targcc.yaml").read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_pull_takes_what_differs_of_all_jobs(project):
    edit(
        project / SALES,
        'timeout="1h"',
        'timeout="1h", misfire_grace="2h", alerts=Alerts(email=("a@example.com",))',
    )
    edit(project / SALES, "import ", "import Alerts, ")
    edit(project / SEND, "JobType.FIRE_AND_FORGET", 'JobType.DELAYED, name="Mail"')
    ok("pull")
    jobs = load_spec(project / "targcc.yaml").jobs
    assert jobs["Sales"].alerts.email == ("a@example.com",)
    assert str(jobs["Sales"].misfire.grace) == "2:00:00"
    assert (jobs["Send"].type, jobs["Send"].name) == ("delayed", "Mail")
    assert targcc_gen("regenerate", "--check").exit_code == 0
    assert "Nothing to do" in ok("pull")


def test_generated_takes_the_specs(project):
    before = (project / SALES).read_text()
    edit(project / SALES, 'timeout="1h"', 'timeout="2h"')
    ok("regenerate", "--generated", SALES)
    assert (project / SALES).read_text() == before


def test_a_difference_can_be_meant(project):
    edit(project / SALES, '"0 2 * * *", timeout="1h"', 'every="2h", timeout="1h"')
    edit(project / "targcc.yaml", "timeout: 1h", "timeout: 1h\n    keep: [schedule]")
    edited = (project / SALES).read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    edit(project / "targcc.yaml", "0 2 * * *", "0 3 * * *")
    ok("regenerate")
    assert (project / SALES).read_text() == edited


def test_what_only_python_can_work_out_is_said(project):
    edit(project / SALES, 'timeout="1h"', "timeout=limit()")
    result = targcc_gen("pull", "Sales")
    assert result.exit_code == 2
    assert "keep: [timeout]" in result.output


# Other arguments, another blueprint


def test_a_job_nobody_wrote_in_follows_the_spec_as_a_whole(project):
    edit(project / "targcc.yaml", "user_id: int", "user_id: str, since: date = 2026-01-01")
    edit(project / "targcc.yaml", "timeout: 1h", "blueprint: cleanup")
    ok("regenerate")
    assert "user_id: str, since: date = date(2026, 1, 1)" in (project / SEND).read_text()
    assert 'user_id="text"' in (project / "tests/jobs/test_send.py").read_text()
    assert "sa.delete" in (project / SALES).read_text()
    assert "cleanup" not in (project / "tests/jobs/test_send.py").read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_arguments_follow_where_the_body_allows(project):
    write_in_body(project / SEND)
    edit(project / "targcc.yaml", "user_id: int", "user_id: str, since: date = 2026-01-01")
    ok("regenerate")
    text = (project / SEND).read_text()
    assert "user_id: str, since: date = date(2026, 1, 1)" in text
    assert "from datetime import date" in text
    assert "print('mine')" in text
    assert 'user_id="text"' in (project / "tests/jobs/test_send.py").read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


CODE_ONLY = {
    "a type": ("user_id: int", "user_id: str", "user_id: str", {"user_id": "str"}),
    "a default": ("user_id: int", "user_id: int = 7", "user_id: int = 7", {"user_id": "int = 7"}),
    "a removed one": (", *, user_id: int", "", "no user_id", {}),
    "a renamed one": ("user_id: int", "user: int", "no user_id", {"user": "int"}),
}


@pytest.mark.parametrize("case", CODE_ONLY)
def test_check_names_an_argument_that_only_the_code_changed(project, case):
    old, new, shown, params = CODE_ONLY[case]
    before = (project / SEND).read_text()
    edit(project / SEND, old, new)
    edited = (project / SEND).read_text()
    check = targcc_gen("regenerate", "--check")
    assert check.exit_code == 1
    assert f"mine       {shown}" in check.output
    assert "generated  user_id: int" in check.output
    assert "arguments" in targcc_gen("status").output
    assert targcc_gen("regenerate").exit_code == 3
    ok("regenerate", "--generated", SEND)
    if case != "a renamed one":  # the code's own name counts then
        assert (project / SEND).read_text() == before
    assert "user_id: int)" in (project / SEND).read_text()

    (project / SEND).write_text(edited)
    assert "params" in ok("pull", "Send")
    assert (project / SEND).read_text() == edited
    job = load_spec(project / "targcc.yaml").jobs["Send"]
    assert {name: str(param) for name, param in job.params.items()} == params
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.parametrize(
    ("param", "old", "new"),
    [
        ('"list[int] = [1, 2]"', "Sequence[int] = (1, 2)", "list[int] = [1, 2]"),
        ("dict", "dict[str, Any]", "dict"),
        ("date", ": date", ": 'date'"),
        ('"date = 2026-01-01"', "= date(2026, 1, 1)", "= date(2026, 1, 1)  # the first"),
    ],
)
def test_an_argument_that_says_the_same_in_another_way_is_no_difference(project, param, old, new):
    edit(project / "targcc.yaml", "user_id: int", f"what: {param}")
    ok("regenerate")
    if old in (project / SEND).read_text():
        edit(project / SEND, old, new)
    assert targcc_gen("regenerate", "--check").exit_code == 0, targcc_gen("status").output


def test_a_default_in_a_constant_and_a_procedure_that_only_the_code_changed_are_named(project):
    edit(project / "targcc.yaml", "user_id: int", "since: datetime = 2026-01-01T02:00")
    edit(
        project / "targcc.yaml",
        "timeout: 1h",
        "blueprint: stored-procedure\n    procedure: dbo.Sales",
    )
    ok("regenerate")
    edit(project / SEND, "T02:00", "T03:00")
    edit(project / SALES, '"dbo.Sales"', '"dbo.Sales2"')
    check = targcc_gen("regenerate", "--check")
    assert check.exit_code == 1
    assert "T03:00" in check.output
    assert 'PROCEDURE = "dbo.Sales2"' in check.output.replace("'", '"')
    ok("pull")
    jobs = load_spec(project / "targcc.yaml").jobs
    assert jobs["Sales"].procedure == "dbo.Sales2"
    assert str(jobs["Send"].params["since"]) == "datetime = 2026-01-01T03:00:00"
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_an_argument_of_the_codes_own_is_nobodys_business(project):
    edit(project / SEND, "user_id: int", "user_id: int, note: str = ''")
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_an_argument_that_no_spec_can_say_can_be_meant(project):
    edit(project / SEND, "user_id: int", "user_id: UserId")
    edit(project / SEND, "\n@job", "\nclass UserId(int): ...\n\n\n@job")
    assert targcc_gen("regenerate", "--check").exit_code == 1
    result = targcc_gen("pull", "Send")
    assert result.exit_code == 2
    assert "keep: [params]" in result.output
    edit(project / "targcc.yaml", "{user_id: int}", "{user_id: int}\n    keep: [params]")
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_body_that_uses_what_the_spec_took_away_is_a_conflict_with_its_lines(project):
    edit(project / SEND, "return JobResult", "print(user_id)\n        return JobResult")
    edit(project / "targcc.yaml", "    params: {user_id: int}\n", "")
    before = (project / SEND).read_text()
    result = targcc_gen("regenerate")
    assert result.exit_code == 3
    assert "print(user_id)" in result.output
    assert "the spec has no user_id any more" in result.output
    assert (project / SEND).read_text() == before


def test_another_blueprint_writes_nothing_into_a_body_that_somebody_wrote(project):
    write_in_body(project / SALES)
    edit(project / "targcc.yaml", "timeout: 1h", "blueprint: cleanup\n    timeout: 1h")
    before = (project / SALES).read_text()
    result = targcc_gen("regenerate")
    assert result.exit_code == 3
    assert "blueprint: cleanup" in result.output
    assert (project / SALES).read_text() == before
    ok("regenerate", "--mine", SALES)
    assert (project / SALES).read_text() == before
    assert targcc_gen("regenerate", "--check").exit_code == 0
    edit(project / "targcc.yaml", "blueprint: cleanup", "blueprint: report")
    ok("regenerate", "--generated", ".")
    assert "RECIPIENTS" in (project / SALES).read_text()
    assert (project / f".targcc/kept/{SALES}.txt").read_text() == before


# Another name


def test_a_renamed_job_takes_everything_along(project):
    edit(project / SALES, 'timeout="1h"', 'timeout="3h"')  # an unrelated difference
    write_in_body(project / SALES)
    (project / "src/acme_jobs/uses.py").write_text(
        "from acme_jobs.jobs import sales\nfrom acme_jobs.jobs.sales import SalesJob\n\nJOBS = [SalesJob, sales]\n"
    )
    edited = (project / SALES).read_text()
    ok("job", "Sales", "--rename", "DailyRevenue")
    path = project / "src/acme_jobs/jobs/daily_revenue.py"
    assert path.read_text() == edited.replace("SalesJob", "DailyRevenueJob").replace(
        'timeout="3h"', 'timeout="3h", aliases=("Sales",)'
    )
    assert not (project / SALES).exists()
    assert not (project / "tests/jobs/test_sales.py").exists()
    assert "DailyRevenueJob" in (project / "tests/jobs/test_daily_revenue.py").read_text()
    assert (project / "src/acme_jobs/uses.py").read_text() == (
        "from acme_jobs.jobs import daily_revenue as sales\n"
        "from acme_jobs.jobs.daily_revenue import DailyRevenueJob\n\nJOBS = [DailyRevenueJob, sales]\n"
    )
    text = (project / "targcc.yaml").read_text()
    assert "  DailyRevenue:   # for the managers" in text
    assert "moved:\n  Sales: DailyRevenue\n" in text
    ok("pull")
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_rename_in_the_spec_does_the_same(project):
    write_in_body(project / SALES)
    edit(project / "targcc.yaml", "  Sales:   # for", "  Revenue:   # for")
    edit(project / "targcc.yaml", "jobs:", "moved: {Sales: Revenue}\njobs:")
    edit(project / "targcc.yaml", "timeout: 1h", "timeout: 2h")
    ok("regenerate")
    text = (project / "src/acme_jobs/jobs/revenue.py").read_text()
    assert '@job("0 2 * * *", timeout="2h", aliases=("Sales",))\nclass RevenueJob:' in text
    assert "print('mine')" in text
    assert not (project / SALES).exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    edit(project / "targcc.yaml", "moved: {Sales: Revenue}\n", "")
    ok("regenerate")
    assert "aliases" not in (project / "src/acme_jobs/jobs/revenue.py").read_text()


def test_a_class_that_was_renamed_by_hand_is_named_with_what_keeps_its_history(project):
    for path in (SALES, "tests/jobs/test_sales.py"):
        edit(project / path, "SalesJob", "RevenueJob")
    check = targcc_gen("regenerate", "--check")
    assert check.exit_code == 1
    assert "it is Revenue with no history. targcc-gen job Sales --rename Revenue" in check.output
    assert "--rename Revenue" in ok("status")
    ok("job", "Sales", "--rename", "Revenue")
    text = (project / "src/acme_jobs/jobs/revenue.py").read_text()
    assert 'aliases=("Sales",))\nclass RevenueJob:' in text
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.soak
def test_a_second_rename_keeps_both_names(project):
    ok("job", "Sales", "--rename", "Revenue")
    ok("job", "Revenue", "--rename", "Income")
    text = (project / "src/acme_jobs/jobs/income.py").read_text()
    assert 'aliases=("Revenue", "Sales")' in text
    assert "class IncomeJob" in text
    ok("job", "Income", "--remove")
    assert "moved" not in (project / "targcc.yaml").read_text()
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_nothing_is_written_over_a_file_at_the_new_place(project):
    write_in_body(project / SALES)
    (project / "src/acme_jobs/jobs/revenue.py").write_text("mine = True\n")
    before = (project / "targcc.yaml").read_text()
    result = targcc_gen("job", "Sales", "--rename", "Revenue")
    assert result.exit_code == 3
    assert (project / "targcc.yaml").read_text() == before
    assert (project / SALES).is_file()
    assert targcc_gen("job", "Sales", "--rename", "send").exit_code == 2


def test_a_renamed_job_calls_the_procedure_that_it_called(project):
    ok("job", "Nightly", "--manual", "--blueprint", "stored-procedure")
    ok("job", "Nightly", "--rename", "Evening")
    assert 'PROCEDURE = "SP_Nightly"' in (project / "src/acme_jobs/jobs/evening.py").read_text()
    assert load_spec(project / "targcc.yaml").jobs["Evening"].procedure == "SP_Nightly"
    assert targcc_gen("regenerate", "--check").exit_code == 0


def test_a_record_of_a_removed_job_is_not_trusted(project):
    record = {"job": "Gone", "spec": {"type": "manual"}, "files": {"README.md": SALES}}
    (project / ".targcc/removed").mkdir()
    (project / ".targcc/removed/Gone.json").write_text(json.dumps(record))
    result = targcc_gen("restore", "Gone")
    assert result.exit_code == 2
    assert (project / SALES).is_file()
