"""Wrong inputs that people type at `targcc`: each is answered with the way out. Expected words run the command they stand for."""

import json

import click
import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main as generator
from targcc_scheduler.cli.main import HEADINGS, main
from targcc_scheduler.core.command_words import OF_GENERATOR, OF_PROJECT

TYPED = [
    # misspelt commands, the wrong program
    ("srve", "targcc has no command 'srve': did you mean 'serve'?"),
    ("wroker", "did you mean 'worker'?"),
    ("staus", "did you mean 'status'?"),
    ("frobnicate", "targcc --help lists the commands"),
    ("job lst", "targcc job has no command 'lst': did you mean 'list'?"),
    ("run wtach 5", "did you mean 'watch'?"),
    ("queue frobnicate", "targcc queue has no command 'frobnicate': list, pause, resume"),
    ("new acme", "new is a command of the generator: targcc-gen new"),
    ("regenerate", "targcc-gen regenerate"),
    # misspelt options, values of another form
    ("run list --status failed", "Did you mean '--state'?"),
    ("job list --jsn", "Did you mean '--json'?"),
    ("run list --state faild", "Did you mean 'failed'?"),
    ("run show abc", "targcc run list shows the numbers"),
    ("job pause DailyReport --until 31/12/2026", "is no time such as 2026-12-31T08:00"),
    ("job run DailyReport --arg day", "'day' is not NAME=VALUE"),
    ("migrate --sql postgres", "Did you mean 'postgresql'?"),
    # several words without quotes
    ("override set DailyReport --schedule 0 2 * * * --reason x", '--schedule "0 2 * * *"'),
    ("override set DailyReport --schedule 0 4 a.txt --reason x", '--schedule "0 2 * * *"'),
    ("override set DailyReport --reason x --timezone Israel Standard Time", 'quote the time zone: --timezone "Israel Standard Time"'),
    ("job pause DailyReport --until 2026-12-31 02:00", "as one word, such as 2026-12-31T02:00"),
    # missing words
    ("job run", "Missing argument 'NAME'. Example: targcc job run DailyReport --wait"),
    ("drain", "Example: targcc server drain"),
    # names that do not exist
    ("run DailyReprot", "there is no job 'DailyReprot': did you mean 'DailyReport'?"),
    ("job info dailyreprot", "did you mean 'DailyReport'?"),
    ("job run DALYREPORT", "did you mean 'DailyReport'?"),
    ("queue pause defalt", "there is no queue 'defalt': default, critical"),
    ("--profile prodction job list", "there is no profile 'prodction': local"),
    ("explain TS1O2", "did you mean TS102?"),
    ("run 99", "there is no run 99"),
]  # fmt: skip


def targcc(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="targcc")


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)


@pytest.mark.parametrize(("typed", "way_out"), TYPED, ids=[typed for typed, _ in TYPED])
def test_a_wrong_input_is_answered_with_the_way_out(typed: str, way_out: str):
    result = targcc(*typed.split())
    assert (result.exit_code, way_out in result.stderr) == (2, True), result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_project_the_error_says_where_the_program_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", None)
    result = targcc("job", "list")
    assert result.exit_code == 2
    assert "python -m <package>.scheduler, or uv run targcc" in result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(("jobs", "job list"), ("ls", "job list"), ("status", "job list"), ("runs", "run list")),
        *(("list jobs", "job list"), ("list runs", "run list"), ("ps", "server list")),
        *(("queues", "queue list"), ("jobs ls", "job list"), ("history", "run list")),
        *(("job show DailyReportJob", "job info DailyReport"), ("limit", "limits")),
        *(("info daily_report", "job info DailyReport"), ("list-jobs", "job list")),
    ],
)
def test_an_expected_word_runs_its_command_and_names_it(typed: str, meant: str):
    before, result, plain = (targcc(*words.split()) for words in (meant, typed, meant))
    assert result.exit_code == 0, result.stderr
    assert result.stdout in {before.stdout, plain.stdout}  # relative times change with the minute
    assert f"is targcc {' '.join(meant.split()[:2])}" in result.stderr
    assert "is targcc" not in plain.stderr


def test_a_job_is_run_by_run_and_its_name():
    result = targcc("run", "DailyReport", "--json")
    assert result.exit_code == 0, result.stderr
    assert "targcc run DailyReport is targcc job run DailyReport\n" in result.stderr
    number = json.loads(result.stdout)["run_id"]
    assert targcc("run", str(number)).stdout == targcc("run", "show", str(number)).stdout
    assert targcc("run", "job", "DailyReport").exit_code == 0
    assert targcc("start", "DailyReport").exit_code == 0


@pytest.mark.parametrize("word", ["start", "up"])
def test_start_serves(word: str):
    result = targcc(word, "--help")
    assert result.stdout == targcc("serve", "--help").stdout


def test_help_lists_each_command_below_a_heading():
    text = targcc("--help").stdout
    places = [text.index(f"\n{heading}:\n") for heading in HEADINGS if heading != "More"]
    assert places == sorted(places)
    assert "\nMore:\n" not in text
    for name in main.list_commands(click.Context(main)):
        assert f"\n  {name} " in text


def test_the_commands_of_the_other_program_exist():
    assert set(OF_GENERATOR) <= set(generator.list_commands(click.Context(generator)))
    assert set(OF_PROJECT) <= set(main.list_commands(click.Context(main)))
