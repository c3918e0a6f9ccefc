"""Render the module and test of a job from any blueprint, with any text."""

import ast

import black
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from targcc_gen.assets import examples
from targcc_gen.render import render_job, render_project
from targcc_gen.render.python_source import formatted
from targcc_gen.spec import BLUEPRINTS, Spec, parse_spec, set_scheduler

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
HOSTILE = st.sampled_from(
    ['"""', "'''", "\\", '\\"""', "{{ job }}", "{% raw %}", "{#", "\r\n", "\u2028", "\u202e", "שלום", "🦉", "#", "%s", '"']
)  # fmt: skip
PARAMS = {
    "user_id": "int = 1",
    "since": "date = 2026-01-01",
    "moment": "datetime = 2026-01-01T02:00",
    "tags": 'list[str] = ["a", "b"]',
    "ratio": "float = 1e100",
    "who": "str",
    "options": "dict",
    "a_name_that_leaves_little_of_the_line": "uuid",
}
MIXED = st.lists(st.one_of(HOSTILE, TEXT), min_size=1, max_size=6).map("".join)


def spec_of(**job) -> Spec:
    return Spec.model_validate(
        {"targcc": 1, "project": {"name": "acme-jobs"}, "jobs": {"DailyReport": job}}
    )


def module_of(**job) -> str:
    return render_job(spec_of(**job), "DailyReport")[0].content.decode()


def decorator_of(**job) -> str:
    tree = ast.parse(module_of(**job))
    (decorator,) = (
        node.decorator_list[0]
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "DailyReportJob"
    )
    return ast.unparse(decorator)


@pytest.mark.parametrize("blueprint", BLUEPRINTS)
@settings(max_examples=6, deadline=None)
@given(description=MIXED, display_name=MIXED, name=TEXT)
def test_hostile_text_stays_text(blueprint, description, display_name, name):
    job = {"type": "manual", "blueprint": blueprint, "description": description}
    if display_name.strip():
        job["display_name"] = display_name[:200]
    if name.strip() and name.isprintable():
        job["name"] = name[:100]
    if blueprint == "stored-procedure":
        job["procedure"] = "[dbo].[It's \" \\ {{ x }} שלום]"
    plain = {"type": "manual", "blueprint": blueprint, "description": "Plain."}
    for hostile, harmless in zip(
        render_job(spec_of(**job), "DailyReport"),
        render_job(spec_of(**plain), "DailyReport"),
        strict=True,
    ):
        assert _shape(hostile.content) == _shape(harmless.content)


def _shape(source: bytes) -> list[str]:
    """Return the code without its texts and its decorator."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
    compile(source, "job", "exec")
    return [ast.dump(node) for node in tree.body]


@pytest.mark.parametrize("blueprint", BLUEPRINTS)
def test_a_job_is_formatted_as_black_does(blueprint):
    procedure = {"procedure": "dbo.SP_Report"} if blueprint == "stored-procedure" else {}
    params = {"user_id": "int = 1", "since": "date = 2026-01-01", "tags": 'list[str] = ["a"]'}
    spec = spec_of(cron="0 2 * * *", blueprint=blueprint, params=params, **procedure)
    for file in render_job(spec, "DailyReport"):
        source = file.content.decode()
        assert black.format_str(source, mode=black.Mode(line_length=100)) == source


@pytest.mark.slow
@pytest.mark.parametrize("blueprint", BLUEPRINTS)
@settings(max_examples=5, deadline=None)
@example(  # a line of maximum length, with a character of ambiguous width
    description="\x1f\n¡", display_name="x" * 40, length=1, params=[]
)
@given(
    description=st.one_of(MIXED, st.just("Plain.")),
    display_name=MIXED,
    length=st.integers(1, 75),
    params=st.lists(st.sampled_from([*PARAMS]), unique=True, max_size=3),
)
def test_black_leaves_every_job_as_it_is(blueprint, description, display_name, length, params):
    job = {"type": "manual", "blueprint": blueprint, "description": description}
    if length % 3 == 0:
        on = [f"slower than {number}m" for number in range(1, length // 3)]
        mail = ["ops@example.com", f"{'o' * length}@example.com"][: 1 + length % 2]
        job |= {"alerts": {"on": on, "email": mail}} if on else {}
        job |= {"timeout": "10m", "backoff": f"{length}m", "retries": 3, "priority": length}
    job |= {"params": {param: PARAMS[param] for param in params}}
    if display_name.strip():
        job["display_name"] = display_name[:200]
    if blueprint == "stored-procedure":
        job["procedure"] = "dbo.SP_" + "x" * length
    name = "A" + "b" * length
    head = {"targcc": 1, "project": {"name": "acme-jobs"}}
    for file in render_job(Spec.model_validate({**head, "jobs": {name: job}}), name):
        source = file.content.decode()
        assert formatted(source) == source


@pytest.fixture
def _no_black(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("black takes longer than all else")

    monkeypatch.setattr(black, "format_str", refuse)


@pytest.mark.usefixtures("_no_black")
def test_a_usual_job_is_not_given_to_black():
    for blueprint in BLUEPRINTS:
        module_of(cron="0 2 * * *", blueprint=blueprint, description="Mail the figures")


@pytest.mark.usefixtures("_no_black")
@pytest.mark.parametrize("scheduler", ["vendored", "package"])
def test_black_is_not_needed_for_the_demo(scheduler):
    text = (examples() / "acme" / "targcc.yaml").read_text(encoding="utf-8")
    tree = render_project(parse_spec(set_scheduler(text, scheduler)))
    assert sum(path.startswith("tests/jobs/test_") for path in tree.files) == 10


@pytest.mark.usefixtures("_no_black")
def test_a_long_signature_and_long_alerts_are_broken_as_black_does():
    emails = ["ops@example.com", "sales@example.com", "the-office@example.com"]
    module = module_of(
        type="manual",
        alerts={"on": ["failure", "missed"], "email": emails, "max_per_hour": 4},
        params={
            "customer_id": "int",
            "language": "str = he",
            "greeting": "str = Good morning",
            "since": "date = 2026-01-01",
        },
    )
    assert "    alerts=Alerts(\n        on=" in module
    assert "    async def execute(\n        self,\n        ctx: JobContext,\n        *,\n" in module


def test_the_files_are_where_people_look_for_them():
    paths = [file.path for file in render_job(spec_of(type="manual"), "DailyReport")]
    assert paths == ["src/acme_jobs/jobs/daily_report.py", "tests/jobs/test_daily_report.py"]


@pytest.mark.parametrize(
    ("job", "decorator"),
    [
        ({"cron": "0 2 * * *"}, "job('0 2 * * *')"),
        ({"every": "90m"}, "job(every='1h30m')"),
        ({"every": "1d", "anchor": "2026-01-01T00:00"}, "job(every='1d', anchor='2026-01-01T00:00')"),
        ({"every": "5m", "after": "completion"}, "job(every='5m', after='completion')"),
        ({"at": "2026-12-31T02:00:30"}, "job(at='2026-12-31T02:00:30')"),
        ({"type": "manual"}, "job(JobType.MANUAL)"),
        ({"type": "fire-and-forget"}, "job(JobType.FIRE_AND_FORGET)"),
        ({"type": "delayed"}, "job(JobType.DELAYED)"),
        ({"type": "manual", "overlap": "skip"}, "job(JobType.MANUAL, overlap='skip')"),
        ({"cron": "0 2 * * *", "overlap": "skip"}, "job('0 2 * * *')"),
        ({"cron": "0 2 * * *", "overlap": "queue"}, "job('0 2 * * *', overlap='queue')"),
        (
            {"cron": "0 2 * * *", "misfire": {"policy": "skip", "grace": "1h"}, "paused": True},
            "job('0 2 * * *', misfire='skip', misfire_grace='1h', paused=True)",
        ),
        (
            {"cron": "0 2 * * *", "timezone": "Europe/London", "priority": 5, "retries": 0, "backoff": "1m", "timeout": "10m", "concurrency": 2, "isolation": "process", "memory_limit": 512, "name": "Old name", "display_name": "Report"},
            "job('0 2 * * *', timezone='Europe/London', display_name='Report', name='Old name', priority=5, retries=0, backoff='1m', timeout='10m', concurrency=2, isolation='process', memory_limit=512)",
        ),
        (
            {"type": "manual", "limit": {"running": 10, "rate": "100/min", "weight": 3}},
            "job(JobType.MANUAL, limit={'running': 10, 'rate': '100/min', 'weight': 3})",
        ),
        (
            {"cron": "0 2 * * *", "must_finish_by": "06:00", "must_start_within": "600s", "at_least": "1 success in 26h", "ping": "${PING}"},
            "job('0 2 * * *', must_finish_by='06:00', must_start_within='10m', at_least='1 success in 26h', ping='${PING}')",
        ),
        (
            {"cron": "0 2 * * *", "alerts": {"on": ["failure", "slower than 5m"], "email": ["a@example.com"], "max_per_hour": 4}},
            "job('0 2 * * *', alerts=Alerts(on=('failure', 'slower than 5m'), email=('a@example.com',), max_per_hour=4))",
        ),
    ],
)  # fmt: skip
def test_the_decorator_says_what_the_spec_says_and_no_more(job, decorator):
    assert decorator_of(**job) == decorator


def test_a_description_is_the_docstring_and_not_said_twice():
    source = module_of(type="manual", description="mails yesterday's sales")
    assert source.startswith('"""Mails yesterday\'s sales."""\n')
    assert "description=" not in source


@pytest.mark.parametrize(
    ("description", "docstring"),
    [
        ("mails sales (daily)", "Mails sales (daily)."),
        ('says "done"', 'Says "done".'),
        ("sends mail 📧", "Sends mail 📧."),
        ("what is next:", "What is next."),
        ("really?", "Really?"),
        ("two lines\nof text", "Two lines of text."),
    ],
)
def test_a_docstring_ends_as_ruff_wants_it(description, docstring):
    source = module_of(type="manual", description=description)
    assert source.startswith(f'"""{docstring}"""\n')


def test_a_description_of_several_lines_is_said_exactly():
    assert "description='One\\nTwo'" in decorator_of(type="manual", description="One\nTwo")


def test_what_the_decorator_and_the_parameters_need_is_imported_in_order():
    source = module_of(
        type="manual",
        alerts={"on": ["failure"], "email": ["a@example.com"]},
        params={"key": "uuid", "day": "date", "more": "dict = {}", "when": "datetime = 2026-01-01T02:00"},
    )  # fmt: skip
    assert source.split("\n\n", 1)[1].startswith(
        "from collections.abc import Mapping\n"
        "from datetime import date, datetime\n"
        "from typing import Any\n"
        "from uuid import UUID\n"
        "\n"
        "from acme_jobs.scheduler import Alerts, JobContext, JobResult, JobType, job\n"
        "\n"
        'DEFAULT_WHEN = datetime.fromisoformat("2026-01-01T02:00:00")\n'
    )
    assert (
        "*, key: UUID, day: date, more: Mapping[str, Any] = {}, when: datetime = DEFAULT_WHEN"
        in (" ".join(source.split()))
    )


def test_the_test_gives_what_has_no_default():
    files = render_job(
        spec_of(type="manual", params={"user_id": "int", "since": "date", "dry": "bool = false"}),
        "DailyReport",
    )
    test = files[1].content.decode()
    assert "run_job(DailyReportJob(), user_id=1, since=date(2026, 1, 1))" in test
    assert "from datetime import date\n" in test


def test_a_parameter_of_the_blueprint_can_get_another_default():
    source = module_of(
        type="manual", blueprint="backup", params={"keep": "int = 30", "label": "str"}
    )
    assert "keep: int = 30, *, label: str" in source


@pytest.mark.parametrize("param", ["int", 'str = "x"'])
def test_a_parameter_that_contradicts_the_blueprint_is_refused(param):
    with pytest.raises(ValueError, match='blueprint backup has a parameter "keep: int" of its own'):
        spec_of(type="manual", blueprint="backup", params={"keep": param})


def test_jobs_of_an_app_that_was_there_before_go_into_its_package():
    spec = parse_spec(
        "targcc: 1\nproject: {name: shop, package: shop, inside: src}\njobs:\n  A: {type: manual}\n"
    )
    assert [file.path for file in render_job(spec, "A")] == ["src/shop/jobs/a.py"]
