"""Definitions that ``@job`` builds from a class or function, and discovery of job packages."""

import gc
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from projects import RIG
from pydantic import BaseModel, SecretStr
from targcc_scheduler import (
    Alerts,
    ArgumentsError,
    JobError,
    JobResult,
    JobType,
    Scheduler,
    UnknownJob,
    job,
)
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.kernel.jobs import registry as registry_module
from targcc_scheduler.kernel.jobs.chains import refused
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import in_words, name_of, shown_arguments
from targcc_scheduler.kernel.jobs.discovery import (
    Discovered,
    _check_earlier_names,
    discover,
    discover_more,
)
from targcc_scheduler.kernel.jobs.registry import JobRegistry
from targcc_scheduler.schedules.errors import CronError


def _work() -> None:
    """Do the work.

    And more.
    """


def test_the_class_name_is_the_key_and_the_name_in_words():
    @job("0 2 * * *")
    class DailySalesReportJob:
        """Mail yesterday's sales."""

        def execute(self): ...

    definition = DailySalesReportJob.__job__.complete(RIG)
    assert (definition.name, definition.display_name) == ("DailySalesReport", "Daily Sales Report")
    assert definition.description == "Mail yesterday's sales."
    assert (definition.job_type, definition.schedule_text) == (JobType.RECURRING, "0 2 * * *")


def test_the_decorator_works_without_parentheses():
    @job
    class Tidy:
        async def execute(self): ...

    @job
    async def hello() -> None: ...

    keys = [declared.__job__.complete(RIG).name for declared in (Tidy, hello)]
    assert keys == ["Tidy", "Hello"]
    with pytest.raises(JobError, match="execute"):
        job(type("Nothing", (), {}))


def test_the_project_says_what_the_decorator_does_not(monkeypatch):
    project = replace(RIG, backoff="30s", timeout="1h")
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    definition = define(_work, "0 2 * * *")
    assert (definition.queue, definition.retries, definition.timezone) == (
        "default",
        3,
        "Europe/Berlin",
    )
    assert (definition.backoff, definition.timeout) == (timedelta(seconds=30), timedelta(hours=1))
    assert define(_work, timeout="none").timeout is None


def test_a_renamed_class_keeps_its_name():
    assert define(_work, name="TheOldName").name == "TheOldName"


@pytest.mark.parametrize(
    ("key", "words"),
    [("DailyReport", "Daily Report"), ("SyncSAPOrders", "Sync SAP Orders"), ("A1", "A1")],
)
def test_a_key_in_words(key, words):
    assert in_words(key) == words


def test_a_function_has_a_key_like_a_class():
    assert name_of(_work) == "Work"


def test_recurring_jobs_do_not_overlap_and_others_may():
    assert define(_work, "0 2 * * *").limit == 1
    assert define(_work, JobType.FIRE_AND_FORGET).limit is None
    assert define(_work, overlap="queue").limit == 1
    assert define(_work, concurrency=4).limit == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": "90m"}, "every 1h30m"),
        ({"every": "5m", "after": "completion"}, "every 5m after completion"),
        ({"every": "5m", "after": "start"}, "every 5m after start"),
        ({"every": "3d", "anchor": "2026-01-02T05:10"}, "every 3d from 2026-01-02T05:10"),
        ({"at": "2026-12-31T02:00"}, "once at 2026-12-31T02:00:00"),
    ],
)
def test_schedules_that_cron_cannot_say(options, text):
    definition = define(_work, **options)
    assert definition.schedule_text == text
    assert definition.job_type == JobType.RECURRING


@pytest.mark.parametrize(
    ("at", "instant"),
    [
        ("2027-03-26T02:30", "2027-03-26T03:00:00+03:00"),  # clocks jump from 02:00 to 03:00
        ("2027-10-31T01:30", "2027-10-31T01:30:00+03:00"),  # repeated: the first pass
    ],
)
def test_a_one_time_run_in_a_gap_starts_at_the_end_of_the_gap(at, instant):
    definition = define(_work, at=at, timezone="Asia/Jerusalem")
    assert definition.schedule is not None
    run = definition.schedule.next(datetime(2027, 1, 1, tzinfo=UTC), ZoneInfo("Asia/Jerusalem"))

    assert run is not None
    assert run.isoformat() == instant


def test_an_instant_without_a_zone_is_read_in_that_of_the_job():
    definition = define(_work, at="2026-12-31T02:00", timezone="America/New_York")
    assert definition.schedule.at.astimezone(UTC) == datetime(2026, 12, 31, 7, tzinfo=UTC)


def test_a_windows_zone_of_a_job_is_its_iana_zone():
    assert define(_work, "0 2 * * *", timezone="Israel Standard Time").timezone == "Asia/Jerusalem"


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("0 2 * * *",), {"every": "5m"}, "one schedule"),
        ((), {"anchor": "2026-01-01"}, "belong to every="),
        ((JobType.RECURRING,), {}, "needs a cron expression"),
        ((), {"retries": -1}, "from 0"),
        ((), {"concurrency": 0}, "from 1"),
        ((), {"overlap": "maybe"}, "skip, queue or allow"),
        ((), {"misfire": "maybe"}, "run_once, skip or run_all"),
        ((), {"name": ""}, None),
        ((), {"name": "x" * 101}, "1 to 100 characters"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments, options, said):
    if said is None:
        assert define(_work, *arguments, **options).name == "Work"
        return
    with pytest.raises(JobError, match=said):
        define(_work, *arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(("0 25 * * *",), {}), ((), {"timeout": "soon"}), ((), {"timezone": "Mars/Olympus"})],
)
def test_what_cannot_be_read_is_refused(arguments, options):
    with pytest.raises(CronError):
        define(_work, *arguments, **options)


def test_alerts_are_checked_and_keep_their_urls_to_themselves():
    alerts = Alerts(on=("failure", "slower than 5m"), slack="https://hooks.example/secret")
    assert alerts.slower_than == timedelta(minutes=5)
    assert "secret" not in repr(alerts)
    with pytest.raises(JobError, match="no alert on 'sometimes'"):
        Alerts(on=("sometimes",))


def test_arguments_are_typed_kept_and_read_back():
    def work(
        ctx, day: date, ids: list[int], key: SecretStr, tags: dict[str, str] | None = None
    ): ...

    definition = define(work)
    parameters = definition.signature
    given = {"day": "2026-01-31", "ids": ["1", 2], "key": "s3cret"}
    kept = parameters.check(given)
    assert json.loads(kept)["key"] == "s3cret"
    assert shown_arguments(definition, json.loads(kept))["key"] == "••••••"
    assert set(shown_arguments(None, json.loads(kept)).values()) == {"••••••"}
    loaded = parameters.load(kept)
    assert (loaded["day"], loaded["ids"]) == (date(2026, 1, 31), [1, 2])
    assert loaded["key"].get_secret_value() == "s3cret"
    assert loaded["tags"] is None


class Chosen(BaseModel):
    keys: list[str]
    values: int = 0


def test_an_argument_may_be_called_as_what_a_mapping_has():
    def load(keys: str, items: Chosen) -> None:
        """Keep them."""

    signature = define(load).signature
    given = {"keys": "all", "items": {"keys": ["a"]}}
    written = signature.check(given)
    assert json.loads(written) == {"keys": "all", "items": {"keys": ["a"], "values": 0}}
    assert signature.load(written) == {"keys": "all", "items": Chosen(keys=["a"])}


def test_a_job_without_arguments_takes_none():
    with pytest.raises(ArgumentsError, match="takes no arguments, but got x"):
        define(_work).signature.check({"x": 1})


@pytest.mark.parametrize("returned", [None, "done", JobResult.success("done")])
def test_what_counts_as_success(returned):
    assert JobResult.of(returned).ok


def test_a_job_returns_nothing_else():
    with pytest.raises(TypeError, match="not int"):
        JobResult.of(3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"ok": "no"},
            "ok is True or False; bool(…) makes one of other values; this is of type str",
        ),
        ({"ok": 2}, "this is of type int"),
        ({"ok": None}, "this is of type NoneType"),
        ({"message": ValueError("x")}, "message is a text; str(…) makes one of other values"),
        ({"metadata": [1]}, "metadata is a mapping, such as {'rows': 12}"),
        ({"exception": "oops"}, "exception is the exception itself, or None"),
        ({"retry": 1}, "retry is True or False"),
    ],
)
def test_a_result_of_other_types_is_refused_where_it_is_made(fields, said):
    with pytest.raises(TypeError) as refused:
        JobResult(**{"ok": True, "message": "done", **fields})
    assert said in str(refused.value)


def test_metadata_adds_up():
    result = JobResult.success("2 orders").with_metadata(revenue=3).with_metadata(orders=2)
    assert (result.message, result.metadata) == ("2 orders", {"revenue": 3, "orders": 2})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a package of job files."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "found_jobs"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def write(**files):
        for name, text in files.items():
            path = folder.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(f"from targcc_scheduler import job, JobType\n{text}")
        return "found_jobs"

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "found_jobs"]:
        del sys.modules[name]


GOOD = "@job()\nclass {}Job:\n    def execute(self): ...\n"


def test_jobs_are_found_in_every_module_and_sub_package(package):
    discovered = discover(package(one=GOOD.format("One"), deep__two=GOOD.format("Two")))
    assert set(discovered.definitions) == {"One", "Two"}
    assert discovered.broken == []


def test_a_job_in_a_folder_without_an_init_file_is_found_too(package, tmp_path):
    name = package(one=GOOD.format("One"), deep__two=GOOD.format("Two"))
    (tmp_path / "found_jobs" / "deep" / "__init__.py").unlink()
    (tmp_path / "found_jobs" / "texts").mkdir()
    discovered = discover(name)
    assert set(discovered.definitions) == {"One", "Two"}
    assert "found_jobs.texts" not in discovered.modules


def test_a_broken_file_is_shown_with_its_traceback_and_the_others_run(package):
    discovered = discover(package(bad="import nothing_of_this_name\n", good=GOOD.format("Good")))
    assert set(discovered.definitions) == {"Good"}
    [broken] = discovered.broken
    assert broken.module == "found_jobs.bad"
    assert broken.error == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert broken.path.endswith("bad.py")
    assert "importlib" not in broken.traceback
    assert "line 2" in broken.traceback


def test_an_error_of_the_scheduler_is_shown_without_its_class(package):
    text = "@job(retires=3)\nclass ReportJob:\n    def execute(self, ctx): ...\n"
    [broken] = discover(package(bad=text)).broken
    assert broken.error == "Report: a job has no option 'retires': did you mean 'retries'?"
    assert "targcc_scheduler.core.errors.JobError: Report" in broken.traceback


def test_the_error_of_a_broken_file_shows_no_password(package):
    discovered = discover(
        package(bad="raise OSError('postgresql://me:hunter2hunter2@db/x is away')\n")
    )
    [broken] = discovered.broken
    assert "is away" in broken.error
    assert "hunter2hunter2" not in broken.error
    assert "hunter2hunter2" not in broken.traceback


def test_the_names_of_the_jobs_in_a_broken_file_are_known(package):
    text = "import nothing_of_this_name\n@job(name='Old One')\nclass NewJob: ...\nasync def send_mail(ctx): ...\n"
    [broken] = discover(package(bad=text)).broken
    assert broken.names() == {"bad", "Old One", "NewJob", "send_mail"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "SyntaxError"),
        ("@job('0 25 * * *')\nclass XJob:\n    def execute(self): ...\n", "hour 25"),
        ("@job()\nclass XJob: ...\n", "needs a method execute"),
        ("@job()\nclass XJob:\n    def execute(self, ctx, a): ...\n", "needs a type"),
        ("@job()\nclass XJob:\n    def execute(self, ctx, a: 'Nowhere'): ...\n", "Nowhere"),
        ("@job('@daily')\ndef x(a: int): ...\n", "its arguments need defaults"),
        ("raise SystemExit(1)\n", "SystemExit"),
    ],
)
def test_what_makes_a_file_broken(package, text, said):
    discovered = discover(package(bad=text))
    assert discovered.definitions == {}
    assert said in discovered.broken[0].error


def test_the_second_job_of_one_name_is_reported_and_the_first_counts(package):
    discovered = discover(package(a=GOOD.format("Same"), b=GOOD.format("Same")))
    assert discovered.definitions["Same"].module == "found_jobs.a"
    [broken] = discovered.broken
    assert "'Same' is taken by found_jobs.a.SameJob" in broken.error


def test_a_job_that_is_imported_elsewhere_is_found_once(package):
    discovered = discover(package(a=GOOD.format("Same"), b="from found_jobs.a import SameJob\n"))
    assert (len(discovered.definitions), discovered.broken) == (1, [])


def test_a_thousand_files_take_ten_times_as_long_as_a_hundred(package):
    """Compared with each other, so machine speed and coverage do not matter; quadratic work would exceed the bound."""
    text = '@job("0 2 * * *")\nclass J{}Job:\n    async def execute(self, ctx): ...\n'
    seconds = {}
    for many in (100, 1000):
        name = package(**{f"job_{number:04}": text.format(number) for number in range(many)})
        gc.collect()
        # a collection during the larger run would also scan the objects of other tests
        gc.disable()
        try:
            started = time.thread_time()
            assert len(discover(name).definitions) == many
            seconds[many] = time.thread_time() - started
        finally:
            gc.enable()
    assert seconds[1000] < 20 * seconds[100]


async def test_a_file_added_while_a_server_runs_is_found_when_its_job_is_wanted(package, settings):
    root = package(one=GOOD.format("One"))
    server = Scheduler(settings, jobs_package=root)
    await server.start(schedule=False)
    try:
        package(two=GOOD.format("Two"))
        command_line = Scheduler(settings, jobs_package=root)
        run_id = await command_line.trigger("Two", by=Actor(ActorKind.CLI, "dana"))
        await command_line.stop()
        assert await server.wait(run_id, timeout=20) == "succeeded"
        assert "Two" in server.definitions
    finally:
        await server.stop()


# Aliases, and jobs without a name in the spec.


def test_earlier_names_and_the_mark_of_a_job_that_left_the_spec_are_kept():
    definition = define(_work, name="Work", aliases=("Toil",), left_spec=True)
    assert (definition.aliases, definition.left_spec) == (("Toil",), True)
    assert define(_work).aliases == ()


@pytest.mark.parametrize("aliases", ["Toil", ("Work",), (1,), ("",)])
def test_earlier_names_are_names_of_another_time(aliases):
    with pytest.raises(JobError):
        define(_work, name="Work", aliases=aliases)


def test_a_job_is_found_by_an_earlier_name_and_no_other_job_may_have_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from targcc_scheduler import job\n\n@job(name={name!r}, aliases={aliases})\ndef work(): ...\n"
    (tmp_path / "earlier_names").mkdir()
    first, second = (tmp_path / "earlier_names" / name for name in ("a.py", "b.py"))
    first.write_text(source.format(name="Work", aliases=("Toil",)))
    second.write_text(source.format(name="Toil", aliases=()))
    discovered = discover("earlier_names", RIG)
    assert list(discovered.definitions) == ["Work"]
    assert "Toil and Work are two jobs" in discovered.broken[0].error
    second.unlink()
    assert JobRegistry("earlier_names", project=RIG).find("Toil").name == "Work"


def test_jobs_registered_by_hand_are_added_without_a_look_at_all_others(monkeypatch):
    """Thousands of jobs in a loop take linear time."""
    registry = JobRegistry("rig_jobs_none")
    registry._discovered = Discovered()
    registry.add(define(_work, JobType.MANUAL, name="First"))
    monkeypatch.setattr(JobRegistry, "_hold", None)  # looks at all jobs
    for name in ("Second", "Third"):
        registry.add(define(_work, name=name, after=["First"]))
    first = registry.definitions["First"]
    assert [job.name for job in first.followers()] == ["Second", "Third"]


def test_a_job_is_found_by_another_name_without_a_look_at_all_jobs(monkeypatch):
    registry = JobRegistry("rig_jobs_none")
    registry._discovered = Discovered()
    for number in range(20):
        registry.add(define(_work, name=f"Work{number}"))
    assert registry.find("work 7").name == "Work7"
    folded, read = registry_module._folded, []
    monkeypatch.setattr(registry_module, "_folded", lambda name: read.append(name) or folded(name))
    assert registry.find("work_8").name == "Work8"
    assert read == ["work_8"]
    registry.add(define(_work, name="Work20", aliases=("Toil",)))
    assert registry.find("Toil").name == "Work20"
    registry.add(define(_work, name="Work20", display_name="Daily Toil"))
    assert registry.find("daily-toil").name == "Work20"
    with pytest.raises(UnknownJob, match="Toil"):
        registry.find("Toil")


def test_of_two_jobs_with_the_same_other_name_the_first_counts():
    registry = JobRegistry("rig_jobs_none")
    registry._discovered = Discovered()
    registry.add(define(_work, name="First", display_name="Night Work"))
    registry.add(define(_work, name="Second", aliases=("nightwork",)))
    registry.add(define(_work, name="Third", display_name="Night Work"))
    assert registry.find("nightwork").name == "First"


class CountedJob:
    """A job without ``after`` and ``aliases`` that counts the reads of both."""

    asked = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> tuple[str, ...]:
        assert attribute in {"after", "aliases"}
        CountedJob.asked += 1
        return ()


def test_what_jobs_follow_and_were_called_is_checked_without_a_look_at_all_jobs_for_each(
    monkeypatch,
):
    """The start of a process with thousands of jobs takes linear time."""
    monkeypatch.setattr(CountedJob, "asked", 0)
    jobs = {f"Work{number}": CountedJob(f"Work{number}") for number in range(50)}
    assert refused(jobs) == {}
    assert CountedJob.asked <= 2 * len(jobs)
    discovered = Discovered(RIG, dict(jobs))
    before = CountedJob.asked
    _check_earlier_names(define(_work, name="New", aliases=("Old",)), discovered)
    assert CountedJob.asked == before


@pytest.mark.parametrize(
    ("names", "wanted"),
    [(["Toil", "Work"], ["Work"]), (["Work", "Toil"], ["Toil"])],  # in the order of the files
)
def test_of_a_job_and_another_with_its_earlier_name_the_first_file_counts(
    tmp_path, monkeypatch, names, wanted
):
    monkeypatch.syspath_prepend(tmp_path)
    package = f"earlier_{'_'.join(names).lower()}"
    (tmp_path / package).mkdir()
    for file, name in zip(("b.py", "a.py"), names, strict=True):
        aliases = ("Toil",) if name == "Work" else ()
        (tmp_path / package / file).write_text(
            f"from targcc_scheduler import job\n\n@job(name={name!r}, aliases={aliases})\ndef work(): ...\n"
        )
    discovered = discover(package, RIG)
    assert list(discovered.definitions) == wanted
    assert "are two jobs" in discovered.broken[0].error
    discover_more(package, discovered)  # the index of earlier names is made anew
    assert list(discovered.definitions) == wanted
