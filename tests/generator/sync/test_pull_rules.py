"""Pull by tables: values of a job's code become the job's values in the spec."""

# ruff: noqa: DTZ001 - wall times
import ast
from datetime import date, datetime
from uuid import UUID

import pytest
import yaml
from targcc_gen.errors import JobCodeError, UnknownJobError
from targcc_gen.render import render_job
from targcc_gen.spec import parse_spec
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.jobs import pull as pulls
from targcc_gen.sync.jobs.pull import as_in_code, find_in_code, pull
from targcc_gen.sync.lock import Lock, LockEntry

PROJECT = "targcc: 1\nproject: {name: acme-jobs, timezone: UTC}\njobs:\n"
JOB = "  Nightly: {cron: 0 2 * * *, params: {day: int = 1, shop: str = x}}\n"


def _spec(text=JOB):
    return parse_spec(PROJECT + text, "targcc.yaml")


def _write(root, spec, key="Nightly", *, edit=lambda text: text, locked=True):
    """Write a job's module, as a person edited it, and the lock."""
    file = render_job(spec, key)[0]
    (root / file.path).parent.mkdir(parents=True, exist_ok=True)
    (root / file.path).write_text(edit(file.content.decode()))
    entry = LockEntry.of(file.path, file.owner, file.content, keep_base=True)
    lock = Lock({file.path: entry} if locked else {}, generator="0.2.0")
    (root / ".targcc").mkdir(exist_ok=True)
    (root / ".targcc/lock.jsonl").write_text(lock.dump())
    return file.path


def _values(pulled, key="Nightly"):
    return yaml.safe_load(pulled.text)["jobs"][key]


@pytest.mark.parametrize(
    ("old", "new", "changed", "values"),
    [
        ("", "", (), {}),
        ('"0 2 * * *"', '"0 3 * * *"', ("schedule",), {"cron": "0 3 * * *"}),
        ('"0 2 * * *"', '"0 2 * * *", retries=7', ("retries",), {"retries": 7}),
        ("day: int = 1", "day: int = 2", ("params",), {"params": {"day": "int = 2", "shop": "str = x"}}),
        ("day: int = 1", "day: float = 1", ("params",), {"params": {"day": "float = 1.0", "shop": "str = x"}}),
    ],
)  # fmt: skip
def test_what_the_code_says_becomes_the_spec(tmp_path, old, new, changed, values):
    spec = _spec()
    _write(tmp_path, spec, edit=lambda text: text.replace(old, new, 1))
    pulled = pull(spec, PROJECT + JOB, tmp_path, ["Nightly"])
    assert pulled.changed == ({"Nightly": changed} if changed else {})
    assert (pulled.adopted, pulled.unread) == ((), {})
    if not changed:
        assert pulled.text == PROJECT + JOB
    assert {name: _values(pulled)[name] for name in values} == values


@pytest.mark.parametrize(
    ("old", "new", "unread"),
    [
        ('"0 2 * * *"', '"0 2 * * *", retries=count()', "retries"),
        ("day: int = 1", "day: Callable = print", "params"),
    ],
)
def test_what_only_running_python_could_say_is_named(tmp_path, old, new, unread):
    spec = _spec()
    _write(tmp_path, spec, edit=lambda text: text.replace(old, new, 1))
    pulled = pull(spec, PROJECT + JOB, tmp_path, ["Nightly"])
    assert (pulled.text, pulled.changed) == (PROJECT + JOB, {})
    assert pulled.unread == {"Nightly": (unread,)}


@pytest.mark.parametrize("locked", [True, False])
def test_a_job_that_is_new_to_the_spec_is_adopted(tmp_path, locked):
    whole, before = _spec(JOB + "  Other: {cron: 0 5 * * *}\n"), _spec(
        "  Other: {cron: 0 5 * * *}\n"
    )
    _write(tmp_path, whole, locked=locked)
    text = PROJECT + "  Other: {cron: 0 5 * * *}\n"
    pulled = pull(before, text, tmp_path, ["Nightly"])
    assert (pulled.adopted, pulled.changed) == (("Nightly",), {})
    values = _values(pulled)
    assert (values["cron"], values["params"]) == (
        "0 2 * * *",
        {"day": "int = 1", "shop": "str = x"},
    )
    assert "blueprint" not in values
    assert _values(pulled, "Other") == {"cron": "0 5 * * *"}


def test_an_adopted_job_keeps_its_blueprint_and_procedure(tmp_path):
    job = "  Nightly: {cron: 0 2 * * *, blueprint: stored-procedure, procedure: dbo.Night}\n"
    _write(tmp_path, _spec(job))
    before = _spec("  Other: {cron: 0 5 * * *}\n")
    values = _values(pull(before, PROJECT + "  Other: {cron: 0 5 * * *}\n", tmp_path, ["Nightly"]))
    assert (values["blueprint"], values["procedure"]) == ("stored-procedure", "dbo.Night")
    assert "description" not in values


def test_a_procedure_that_only_running_python_could_say_is_named(tmp_path):
    job = "  Nightly: {cron: 0 2 * * *, blueprint: stored-procedure, procedure: dbo.Night}\n"
    _write(tmp_path, _spec(job), edit=lambda text: text.replace('"dbo.Night"', "named()"))
    pulled = pull(_spec(job), PROJECT + job, tmp_path, ["Nightly"])
    assert (pulled.text, pulled.changed) == (PROJECT + job, {})
    assert pulled.unread == {"Nightly": ("procedure",)}


def test_arguments_that_cannot_be_read_are_left_out_of_a_record_alone(tmp_path):
    spec = _spec()
    path = _write(tmp_path, spec, edit=lambda text: text.replace('"0 2 * * *"', "when(), retries=count()"))  # fmt: skip
    before = _spec("  Other: {cron: 0 5 * * *}\n")
    with pytest.raises(
        JobCodeError, match=f"{path}: what .* of Nightly says is worked out by code"
    ):
        pull(before, PROJECT, tmp_path, ["Nightly"])
    job = as_in_code(before, "Nightly", tmp_path)
    assert (job.type, job.retries) == ("manual", None)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, UnknownJobError, "no job Nightly in the code"),
        ("def (", JobCodeError, "is no Python"),
        ("x = 1\n", JobCodeError, r"has no @job\(…\) for Nightly"),
    ],
)
def test_a_job_that_is_not_in_the_code_is_named(tmp_path, text, error, words):
    spec = _spec()
    path = _write(tmp_path, spec)
    if text is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_text(text)
    with pytest.raises(error, match=words):
        pull(spec, PROJECT + JOB, tmp_path, ["Nightly"])


@pytest.mark.parametrize("name", ["Nightly", "NightlyJob", "nightly"])
def test_a_job_is_found_by_any_of_its_names(tmp_path, name):
    spec = _spec()
    path = _write(tmp_path, spec)
    other = _spec("  Other: {cron: 0 5 * * *}\n")
    lock = Lock.load(tmp_path)
    assert pulls.strays(lock, Disk(tmp_path)) == {"Nightly": path}
    assert find_in_code(spec, name, tmp_path) == "Nightly"
    assert find_in_code(other, name, tmp_path) == "Nightly"
    (tmp_path / path).unlink()
    assert pulls.strays(lock, Disk(tmp_path)) == {}
    with pytest.raises(UnknownJobError):
        find_in_code(other, name, tmp_path)


@pytest.mark.parametrize(
    ("owner", "path", "is_stray"),
    [
        ("scaffold", "src/acme_jobs/jobs/nightly.py", True),
        ("managed", "src/acme_jobs/jobs/nightly.py", False),
        ("scaffold", "src/acme_jobs/nightly.py", False),
        ("scaffold", "src/acme_jobs/jobs/nightly.txt", False),
    ],
)
def test_modules_of_jobs_are_known_by_their_place(tmp_path, owner, path, is_stray):
    text = b'@job("0 2 * * *")\nclass NightlyJob: ...\n'
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(text)
    entry = LockEntry.of(path, type(render_job(_spec(), "Nightly")[0].owner)(owner), text, keep_base=True)  # fmt: skip
    result = pulls.strays(Lock({path: entry}), Disk(tmp_path))
    assert result == ({"Nightly": path} if is_stray else {})


@pytest.mark.parametrize(
    ("signature", "params"),
    [
        ("day: int", {"day": "int"}),
        ("day: int = 1", {"day": "int = 1"}),
        ("day: int = DEFAULT_DAY", {"day": "int = 7"}),
        ("day: int = OTHER", {}),
        ("day: Decimal", {}),
        ("day", {}),
        ("days: Sequence[str] = ('a',)", {"days": 'list[str] = ["a"]'}),
        ("at: date = date(2026, 1, 2)", {"at": "date = 2026-01-02"}),
        ("at: date = date.today()", {}),
        ("more: Mapping[str, Any]", {"more": "dict"}),
        ("id: UUID", {"id": "uuid"}),
    ],
)
def test_arguments_that_the_spec_can_express(signature, params):
    text = (
        f"DEFAULT_DAY = 7\nOTHER = 8\nclass A:\n    def execute(self, ctx, *, {signature}): ...\n"
    )
    assert pulls._params(text.encode()) == ({"params": params} if params else {})
    assert pulls._params(b"x = 1\n") == {}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1", 1),
        ("('a', 'b')", ["a", "b"]),
        ("date(2026, 1, 2)", date(2026, 1, 2)),
        ("datetime(2026, 1, 2, 3)", datetime(2026, 1, 2, 3)),
        (
            "datetime.fromisoformat('2026-01-02')",
            datetime(2026, 1, 2),
        ),
        (f"UUID('{UUID(int=7)}')", UUID(int=7)),
        ("date(year=2026, month=1, day=2)", None),
        ("today()", None),
        ("x", None),
    ],
)
def test_the_value_of_a_default(source, value):
    node = ast.parse(source, mode="eval").body
    if value is None:
        with pytest.raises(ValueError, match=r"\w"):
            pulls._default_of(node)
    else:
        assert pulls._default_of(node) == value


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"unique": True}, None),
        ({"unique": ["day"], "params": {"day": "int"}}, None),
        ({"unique": ["day", "shop"], "params": {"day": "int"}}, ["unique"]),
        ({"unique": ["day"], "unique_scope": "1h"}, ["unique", "unique_scope"]),
        ({"limit": {"key": "day", "running": 1}, "params": {"day": "int"}}, None),
        ({"limit": {"running": 1}}, None),
        ({"limit": {"key": "day", "running": 1}}, ["limit"]),
        ({"limit": {"key": "day"}, "unique": ["day"]}, ["unique", "limit"]),
    ],
)
def test_keys_by_arguments_that_the_spec_cannot_express_stay_in_the_code(values, kept):
    result = pulls._with_keep(values)
    if kept is None:
        assert result == values
    else:
        assert result.pop("keep") == kept
        assert result == {name: value for name, value in values.items() if name not in kept}
