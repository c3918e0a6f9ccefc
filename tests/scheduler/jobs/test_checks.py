"""What cannot work is found at the start: each finding names file, line, cause and the way out."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from targcc_scheduler import JobError, Scheduler, Settings, job
from targcc_scheduler.features.doctor.checkup import checkup
from web_fixtures import _apart  # noqa: F401 - the project and the settings of these tests

HEAD = "from targcc_scheduler import Alerts, job\n"
ASKS = '''
class Ledger: ...

@job("0 2 * * *")
class TaxExport:
    """Export the taxes."""

    def __init__(self, ledger: Ledger) -> None: ...

    def execute(self) -> None: ...
'''
NO_TYPE = """
@job()
class Untyped:
    def __init__(self, ledger) -> None: ...
    def execute(self) -> None: ...
"""
HIDDEN = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from somewhere import Ledger

@job()
class Hidden:
    def __init__(self, ledger: "Ledger") -> None: ...
    def execute(self) -> None: ...
"""
ARGUMENT = """
class Ledger: ...

@job()
class Takes:
    def execute(self, ledger: Ledger) -> None: ...
"""
UNREADABLE = """
@job()
def takes(ledger: "Ledgr") -> None: ...
"""
NEVER = """
@job("0 0 30 2 *")
def never() -> None: ...
"""
NO_ADDRESS = """
@job(alerts=Alerts(slack=" "))
def told() -> None: ...
"""
NO_CHANNEL = """
@job(alerts=Alerts(other={"pigeon": "roof"}))
def told() -> None: ...
"""
MISSPELT = """
@job("0 2 * * *", retires=3)
def report() -> None: ...
"""
FINDINGS = {
    "a service that nobody makes": (
        ASKS,
        9,
        "TaxExport asks for Ledger, which no provider makes",
        "add a @provide method to Services in services.py",
    ),
    "a service without a type": (
        NO_TYPE,
        5,
        "Untyped asks for ledger without a type",
        "give it the type of a service, such as ledger: Database",
    ),
    "a type for type checkers only": (
        HIDDEN,
        9,
        "the types of the constructor of Hidden cannot be read: name 'Ledger' is not defined",
        "outside TYPE_CHECKING",
    ),
    "an argument that JSON cannot hold": (
        ARGUMENT,
        7,
        "the parameter ledger of Takes.execute: Ledger cannot be an argument",
        "start again",
    ),
    "an argument's type that cannot be read": (
        UNREADABLE,
        3,
        "the parameter ledger of takes: the type Ledgr cannot be read: name 'Ledgr' is not defined",
        "start again",
    ),
    "a schedule without a date": (
        NEVER,
        3,
        "the schedule of Never, 0 0 30 2 *, has no date to come",
        "correct the cron expression",
    ),
    "a channel without address": (
        NO_ADDRESS,
        3,
        "alerts of Told by slack have no address",
        "give slack an address",
    ),
    "a channel that the project does not have": (
        NO_CHANNEL,
        3,
        "alerts of Told name the channel pigeon, which the project does not have",
        "the project has mail, slack, teams, webhook",
    ),
    "a misspelt option": (MISSPELT, 3, "did you mean 'retries'?", "start again"),
}
MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def make_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeScheduler:
    """Return a function that writes a job file and returns a scheduler with this file and a good job."""

    def make(text: str, url: str = "sqlite:///never_opened.db") -> Scheduler:
        name = f"checked_{abs(hash((tmp_path, text)))}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "checked.py").write_text(HEAD + text, encoding="utf-8")
        (folder / "good.py").write_text(f"{HEAD}\n@job()\ndef good(): ...\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        settings = Settings(database_url=url, jobs_package=name, keepalive=False)
        return Scheduler(settings)

    return make


@pytest.mark.parametrize(
    ("text", "line", "cause", "advice"), FINDINGS.values(), ids=FINDINGS.keys()
)
def test_what_cannot_work_is_named_with_its_line_and_the_way_out(
    make_scheduler: MakeScheduler, text: str, line: int, cause: str, advice: str
):
    [finding] = make_scheduler(text).check_jobs()
    assert finding.place.endswith(f"checked.py:{line}")
    assert cause in finding.cause
    assert advice in finding.advice
    assert finding.fails


async def test_a_node_starts_and_counts_the_job_as_broken(
    make_scheduler: MakeScheduler, migrated_url: str
):
    scheduler = make_scheduler(ASKS, migrated_url)
    assert list(scheduler.broken) == []
    async with scheduler:
        [broken] = scheduler.broken
        assert (broken.line, broken.advice[:14]) == (9, "add a @provide")
        assert set(scheduler.definitions) == {"TaxExport", "Good"}


def add_file(scheduler: Scheduler, text: str) -> Path:
    package = sys.modules[scheduler.definitions["Good"].module.partition(".")[0]]
    path = Path(package.__path__[0], "added.py")
    path.write_text(HEAD + text, encoding="utf-8")
    return path


async def test_a_file_that_is_added_while_a_node_runs_is_checked_too(
    make_scheduler: MakeScheduler, migrated_sqlite_url: str, caplog: pytest.LogCaptureFixture
):
    scheduler = make_scheduler(NO_CHANNEL, migrated_sqlite_url)
    async with scheduler:
        caplog.clear()
        added = add_file(scheduler, ASKS)

        await asyncio.to_thread(scheduler._host.node.releases._look_again)

        assert [item.path for item in scheduler.broken if item.line == 9] == [str(added)]
        assert "add a @provide" in caplog.text
        assert "pigeon" not in caplog.text  # logged at the start


async def test_a_web_process_without_workers_counts_it_too(
    make_scheduler: MakeScheduler, migrated_sqlite_url: str
):
    scheduler = make_scheduler(ASKS, migrated_sqlite_url)
    await scheduler.start(work=False, schedule=False)
    try:
        assert [item.line for item in scheduler.broken] == [9]
    finally:
        await scheduler.stop()


async def test_the_doctor_says_the_same(make_scheduler: MakeScheduler):
    settings = make_scheduler(ASKS).settings
    texts = [item.what for item in await checkup(settings, seconds=2) if item.level == "fail"]
    cause = "checked.py:9 TaxExport asks for Ledger, which no provider makes"
    assert any(text.endswith(cause) for text in texts)


def test_a_secret_that_this_process_lacks_is_a_warning(
    make_scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
):
    text = '\n@job(alerts=Alerts(slack="${NO_SUCH_SLACK}"))\ndef told() -> None: ...\n'
    scheduler = make_scheduler(text)
    [finding] = scheduler.check_jobs()
    assert not finding.fails
    assert "NO_SUCH_SLACK is not set" in finding.cause
    assert list(scheduler.broken) == []
    monkeypatch.setenv("NO_SUCH_SLACK", "https://hooks.example.com/secret")
    assert list(scheduler.check_jobs()) == []


@pytest.mark.parametrize(
    "text",
    [
        """
from targcc_scheduler import Scheduler

@job()
class Asks:
    def __init__(self, scheduler: Scheduler, size: int = 3) -> None: ...
    def execute(self, region: str = "all") -> None: ...
""",
        '\n@job(at="2020-01-01T00:00:00")\ndef once() -> None: ...\n',
    ],
    ids=["a service of the scheduler, and a default", "a single run that is over"],
)
def test_what_can_work_is_no_finding(make_scheduler: MakeScheduler, text: str):
    assert list(make_scheduler(text).check_jobs()) == []


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("retires", "did you mean 'retries'?"),
        ("time_zone", "did you mean 'timezone'?"),
        ("qeue", "did you mean 'queue'?"),
        ("zzzzz", "the options are after, alerts, aliases"),
    ],
)
def test_an_unknown_option_says_which_was_meant(option: str, hint: str):
    with pytest.raises(JobError) as caught:

        @job(**{option: "x"})
        def report() -> None: ...

    assert f"Report: a job has no option '{option}': " in str(caught.value)
    assert hint in str(caught.value)
