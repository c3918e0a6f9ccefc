"""Files of jobs by tables: arguments that changed in the spec or in the code, removed jobs, and renamed jobs."""

import ast
from dataclasses import replace

import pytest
from targcc_gen.errors import DamagedError
from targcc_gen.render import render_job
from targcc_gen.render.tree import JobFacts, JobMove, Owner, Tree, TreeFile
from targcc_gen.spec import parse_spec
from targcc_gen.sync.disk import Disk, OnDisk
from targcc_gen.sync.jobs import module as job_modules
from targcc_gen.sync.jobs import removed, rename
from targcc_gen.sync.jobs.arguments import _body, declared, drift
from targcc_gen.sync.jobs.signature import restored, sync_signature
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import Collision, Side
from targcc_gen.sync.merge_python import Formats
from targcc_gen.sync.plan.plan import Action, Change, Outcome, Plan, Situation

SCAFFOLD = Owner.SCAFFOLD
CREATE, UPDATE, KEEP, DELETE = Action.CREATE, Action.UPDATE, Action.KEEP, Action.DELETE
CONFLICT, UNCHANGED = Action.CONFLICT, Action.UNCHANGED
HEAD = "from targcc_scheduler import job\n"


def _module(params="", body="...", head=HEAD, constants="", cron="0 2 * * *"):
    middle = f"\n{constants}\n" if constants else "\n"
    call = f"    async def execute(self, ctx{params}) -> None:\n        {body}\n"
    return f'{head}{middle}\n@job("{cron}")\nclass Nightly:\n{call}'.encode()


BASE = ", *, day: int, shop: str = 'x'"


@pytest.mark.parametrize(
    ("mine", "new", "expected"),
    [
        (BASE, BASE, BASE),
        (BASE, ", *, day: float, shop: str = 'x'", ", *, day: float, shop: str = 'x'"),
        (BASE, ", *, shop: str = 'x'", ", *, shop: str = 'x'"),
        (BASE, "", ""),
        (BASE, f"{BASE}, more: int = 7", f"{BASE}, more: int = 7"),
        ("", ", *, more: int", ", *, more: int"),
        # The user's own arguments and order stay.
        (", *, shop: str = 'x', own: int = 1, day: int", ", *, day: bool, shop: str = 'x'", ", *, shop: str = 'x', own: int = 1, day: bool"),
        (", day: int, *, shop: str = 'x'", ", *, day: float, shop: str = 'x'", ", day: float, *, shop: str = 'x'"),
        (", *own, day: int, shop: str = 'x'", ", *, day: int, shop: str = 'x', new: int = 1", ", *own, day: int, shop: str = 'x', new: int = 1"),
        # The user has followed already, or has taken an argument out.
        (", *, day: float, shop: str = 'x'", ", *, day: float, shop: str = 'x'", ", *, day: float, shop: str = 'x'"),
        (", *, day: int", ", *, day: int", ", *, day: int"),
    ],
)  # fmt: skip
def test_the_arguments_of_a_job_follow_the_spec(mine, new, expected):
    base = BASE if mine else ""
    signed = sync_signature(_module(mine), _module(base), _module(new), "shop")
    assert (signed.text, signed.collisions) == (_module(expected), ())


@pytest.mark.parametrize(
    ("mine", "body", "new", "collisions"),
    [
        (BASE, "print(day, shop)", "", [Collision(7, 7, "print(day, shop)\n", "the spec has no day, shop any more\n")]),
        (BASE, "print(day)", ", *, day: int", []),
        (BASE, "print(shop)", ", *, day: int", [Collision(7, 7, "print(shop)\n", "the spec has no shop any more\n")]),
        (", *, day: bool, shop: str = 'x'", "...", ", *, day: float, shop: str = 'x'", [Collision(6, 6, "day: bool", "day: float")]),
        (", *, day: int, shop='y'", "...", ", *, day: int, shop: str = 'z'", [Collision(6, 6, "shop = 'y'", "shop: str = 'z'")]),
    ],
)  # fmt: skip
def test_lines_that_need_a_person_are_named(mine, body, new, collisions):
    signed = sync_signature(_module(mine, body), _module(BASE), _module(new), "shop")
    assert list(signed.collisions) == collisions


@pytest.mark.parametrize("text", [b"x = 1\n", b"def (\n", b"\xff"])
def test_a_module_without_execute_cannot_follow(text):
    signed = sync_signature(text, _module(BASE), _module(BASE), "shop")
    expected = Collision(1, 1, "execute(…) cannot be read\n", "day: int, shop: str = 'x'\n")
    assert (signed.text, signed.collisions) == (text, (expected,))


DATED = f"from datetime import date\n\n{HEAD}"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (HEAD, DATED),
        (DATED, DATED),
        (f"{HEAD}from datetime import time\n", f"from datetime import date, time\n\n{HEAD}"),
        (  # comments among the imports stay where they are
            f"import os  # for the path\n{HEAD}",
            f"import os  # for the path\n{HEAD}from datetime import date\n",
        ),
    ],
)
def test_a_new_type_brings_its_import_and_its_constant(head, expected):
    constant = "DEFAULT_DAY = date(2026, 1, 1)"
    new = _module(", *, day: date = DEFAULT_DAY", head=DATED, constants=constant)
    signed = sync_signature(_module(head=head), _module(), new, "shop")
    assert signed.text.replace(b"\n", b"") == (
        _module(", *, day: date = DEFAULT_DAY", head=expected, constants=constant)
    ).replace(b"\n", b"")
    assert signed.collisions == ()
    again = sync_signature(signed.text, new, new, "shop")
    assert again.text == signed.text


@pytest.mark.parametrize(
    ("mine", "new", "expected"),
    [
        ("PROCEDURE = 'a'", "PROCEDURE = 'b'", "PROCEDURE = 'b'"),
        ("PROCEDURE = 'mine'", "PROCEDURE = 'b'", "PROCEDURE = 'mine'"),
        ("PROCEDURE = 'a'", "PROCEDURE = 'a'", "PROCEDURE = 'a'"),
        ("OTHER = 'a'", "OTHER = 'b'", "OTHER = 'a'"),
        ("PROCEDURE = (\n    'a'\n)", "PROCEDURE = 'b'", "PROCEDURE = (\n    'a'\n)"),
        ("DEFAULT_X = 1", "DEFAULT_X = 2", "DEFAULT_X = 2"),
    ],
)
def test_constants_of_the_spec_follow_unless_edited(mine, new, expected):
    name = mine.partition(" ")[0]
    base = f"{name} = 1" if name == "DEFAULT_X" else f"{name} = 'a'"
    texts = [_module(constants=text) for text in (mine, base, new, expected)]
    assert sync_signature(*texts[:3], "shop").text == texts[3]


def test_arguments_and_the_procedure_are_reset_to_the_spec():
    mine = _module(", *, day: bool, shop: str = 'y', own: int", constants="PROCEDURE = 'mine'")
    spec = _module(", *, day: int, shop: str = 'x'", constants="PROCEDURE = 'spec'")
    assert restored(mine, spec, ["day"], "shop") == _module(
        ", *, day: int, shop: str = 'y', own: int", constants="PROCEDURE = 'mine'"
    )
    assert restored(mine, spec, ["shop", "PROCEDURE", "gone"], "shop") == _module(
        ", *, day: bool, shop: str = 'x', own: int", constants="PROCEDURE = 'spec'"
    )


def test_a_default_is_reset_with_its_constant():
    new = _module(", *, day: int = DEFAULT_DAY", constants="DEFAULT_DAY = 2")
    mine = _module(", *, day: bool = DEFAULT_DAY", constants="DEFAULT_DAY = 3")
    assert restored(mine, new, ["day"], "shop") == new
    assert restored(mine, _module(", *, day: int"), ["day"], "shop") == _module(
        ", *, day: int", constants="DEFAULT_DAY = 3"
    )


# Differences between the code and the spec.


@pytest.mark.parametrize(
    ("mine", "spec", "names"),
    [
        (BASE, BASE, []),
        (", *, day: bool, shop: str = 'x'", BASE, ["day"]),
        (", *, day: int, shop: str = 'y'", BASE, ["shop"]),
        (", *, shop: str = 'x'", BASE, ["day"]),
        (", **more", BASE, []),
        (f"{BASE}, own: int = 1", BASE, []),
        (BASE, ", *, day: float, shop: str = 'x'", []),  # the spec is newer; the code is as it was
        (", *, day: float, shop: str = 'x'", ", *, day: float, shop: str = 'x'", []),
        (", *, day: 'int', shop: str = \"x\"", BASE, []),
    ],
)
def test_arguments_that_differ_from_the_spec(mine, spec, names):
    texts = [_module(mine), _module(BASE), _module(spec)]
    result = drift(*texts, blueprint="blank")
    assert (list(result.names), result.procedure) == (names, False)
    assert len(result.collisions) == len(names)
    assert result.words == (("params",) if names else ())
    assert drift(*texts, blueprint="blank", keep=("params",)).names == ()


def test_a_difference_names_its_line_and_both_sides():
    mine = _module(", *,\n        day: bool,\n        shop: str = 'x'", "...")
    assert drift(mine, _module(BASE), _module(BASE), blueprint="blank").collisions == (
        Collision(7, 7, "day: bool\n", "day: int\n"),
    )
    gone = drift(_module(), _module(BASE), _module(BASE), blueprint="blank")
    assert gone.collisions[0] == Collision(6, 6, "no day\n", "day: int\n")
    assert gone.collisions[1] == Collision(6, 6, "no shop\n", "shop: str = 'x'\n")


@pytest.mark.parametrize(
    ("mine", "spec", "differs"),
    [
        ("PROCEDURE = 'a'", "PROCEDURE = 'a'", False),
        ("PROCEDURE = 'mine'", "PROCEDURE = 'a'", True),
        ("PROCEDURE = 'a'", "PROCEDURE = 'b'", False),
        ("PROCEDURE = 'b'", "PROCEDURE = 'b'", False),
        ("", "PROCEDURE = 'a'", False),
        ("PROCEDURE = 'mine'", "", False),
    ],
)
def test_a_procedure_that_differs_from_the_spec(mine, spec, differs):
    texts = [_module(constants=text) for text in (mine, "PROCEDURE = 'a'", spec)]
    result = drift(*texts, blueprint="blank")
    assert result.procedure is differs
    line = Collision(3, 3, "PROCEDURE = 'mine'\n", "PROCEDURE = 'a'\n")
    assert result.collisions == ((line,) if differs else ())
    assert result.words == (("procedure",) if differs else ())
    assert not drift(*texts, blueprint="blank", keep=("procedure",)).procedure


@pytest.mark.parametrize(
    ("params", "kinds"),
    [
        (", day: int = 1", {"day": ("int", "1")}),
        (", day: 'int' = 1", {"day": ("int", "1")}),
        (", day: datetime.date", {"day": ("date", "")}),
        (", days: Sequence[str] = ('a',)", {"days": ("list[str]", "['a']")}),
        (", days: list[str] = ['a']", {"days": ("list[str]", "['a']")}),
        (", more: Mapping[str, Any]", {"more": ("dict", "")}),
        (", more: dict", {"more": ("dict", "")}),
        (", day=datetime.date.today()", {"day": ("", "today()")}),
        (", day: int = DEFAULT_DAY", {"day": ("int", "7")}),
        (", day: int = OTHER", {"day": ("int", "OTHER")}),
    ],
)
def test_one_spelling_of_types_and_defaults(params, kinds):
    result = declared(_module(params, constants="DEFAULT_DAY = 7\nOTHER = 8"))
    assert {name: (item.kind, item.default) for name, item in result.arguments.items()} == kinds
    assert not result.takes_any


@pytest.mark.parametrize(
    ("signature", "names"),
    [
        ("self", []),
        ("self, ctx", []),
        ("self, day", ["day"]),
        ("self, context: JobContext, day", ["day"]),
        ("self, c: 'targcc_scheduler.JobContext'", []),
        ("self, /, ctx, *, day", ["day"]),
    ],
)
def test_the_context_is_no_argument(signature, names):
    result = declared(f"class A:\n    def execute({signature}): ...\n".encode())
    assert list(result.arguments) == names
    assert declared(b"x = 1\n") is None
    assert declared(b"def (\n") is None


# A job's module.


def _facts(**options):
    return JobFacts(**{"key": "Nightly", "package": "shop", "blueprint": "blank", **options})


def _decided(tmp_path, mine, new, base=BASE, **options):
    made, base_text = _module(new), _module(base)
    generated = TreeFile("a.py", made, SCAFFOLD, job=_facts())
    entry = LockEntry.of("a.py", SCAFFOLD, base_text, keep_base=True)
    text = mine if isinstance(mine, bytes) else _module(mine, "print(1)")
    situation = Situation("a.py", generated, entry, OnDisk(text), Formats(tmp_path), **options)
    outcome = job_modules.job_module(situation, generated, entry, text, base_text)
    return outcome, (outcome.change.action, outcome.change.reason)


FLOAT = ", *, day: float, shop: str = 'x'"


@pytest.mark.parametrize(
    ("mine", "new", "side", "expected"),
    [
        (_module(BASE), FLOAT, None, (UPDATE, "you had not edited it: the spec says other params now")),
        (_module(FLOAT), FLOAT, None, (UNCHANGED, "")),
        (BASE, FLOAT, None, (UPDATE, "its arguments follow the spec")),
        (BASE, BASE, None, (UNCHANGED, "")),
        (", *, day: bool, shop: str = 'x'", FLOAT, None, (CONFLICT, "the arguments of Nightly changed in the spec, and its body needs to follow")),
        (", *, day: bool, shop: str = 'x'", FLOAT, Side.GENERATED, (UPDATE, "as you wished")),
    ],
)  # fmt: skip
def test_a_jobs_module_follows_its_arguments(tmp_path, mine, new, side, expected):
    outcome, result = _decided(tmp_path, mine, new, side=side)
    assert result == expected
    assert (outcome.reshaped, outcome.drops) == (expected[0] is UPDATE, side is Side.GENERATED)


def test_arguments_edited_in_the_code_are_a_conflict(tmp_path):
    mine = ", *, day: bool, shop: str = 'x'"
    outcome, (action, reason) = _decided(tmp_path, mine, BASE)
    assert action is CONFLICT
    assert reason.startswith("params of Nightly: the arguments in the code say something else")
    outcome, result = _decided(tmp_path, mine, BASE, side=Side.GENERATED)
    assert result == (UPDATE, "@job follows the spec: params")
    assert outcome.change.after == _module(BASE, "print(1)")
    assert _decided(tmp_path, mine, BASE, side=Side.MINE)[1] == (UNCHANGED, "")


@pytest.mark.parametrize(
    ("side", "action", "reason"),
    [
        (
            None,
            CONFLICT,
            "the spec says blueprint: stored-procedure now, and you wrote in its body",
        ),
        (Side.MINE, KEEP, "as you wished: your body stays as it is"),
        (Side.GENERATED, UPDATE, "as you wished"),
    ],
)
def test_another_blueprint_does_not_overwrite_a_body_that_a_person_wrote(
    tmp_path, side, action, reason
):
    was, wanted = (_rendered(blueprint) for blueprint in ("cleanup", "stored-procedure"))
    mine = was.content.replace(b"return JobResult", b"print()\n        return JobResult")
    entry = LockEntry.of(wanted.path, SCAFFOLD, was.content, keep_base=True)
    situation = Situation(wanted.path, wanted, entry, OnDisk(mine), Formats(tmp_path), side=side)
    outcome = job_modules.job_module(situation, wanted, entry, mine, was.content)
    assert (outcome.change.action, outcome.change.reason) == (action, reason)


def _rendered(blueprint):
    job = f"{{cron: 0 2 * * *, blueprint: {blueprint}}}"
    text = f"targcc: 1\nproject: {{name: shop-jobs, timezone: UTC}}\njobs: {{Nightly: {job}}}\n"
    return render_job(parse_spec(text, "targcc.yaml"), "Nightly")[0]


# Only lines of the blueprint count: a class may have a docstring of the user's.
@pytest.mark.parametrize("docstring", ["", '    """Clean up."""\n'])
def test_the_first_statement_of_a_class_is_part_of_its_body(docstring):
    bodies = [ast.parse(f"class A:\n{docstring}    x = {number}\n    y = 1\n") for number in (1, 2)]
    assert _body(bodies[0]) != _body(bodies[1])
    assert _body(ast.parse(f"class A:\n{docstring}    x = 1\n")) == _body(
        ast.parse("class A:\n    x = 1\n")
    )


# Removed jobs.

JOB = b'@job("0 2 * * *")\nclass NightlyJob: ...\n'


def _entry(content=JOB, path="jobs/nightly.py", owner=SCAFFOLD, *, keep_base=True):
    return LockEntry.of(path, owner, content, keep_base=keep_base)


@pytest.mark.parametrize(
    ("entry", "is_module"),
    [
        (_entry(), True),
        (_entry(owner=Owner.MANAGED), False),
        (_entry(path="jobs/nightly.txt"), False),
        (_entry(keep_base=False), False),
        (_entry(b"x = 1\n"), False),
        (_entry(b"def (\n"), False),
    ],
)
def test_the_module_of_a_job(entry, is_module):
    assert removed.is_job_module(entry) is is_module


@pytest.mark.parametrize(
    ("entry", "text", "name"),
    [
        (_entry(), JOB, "NightlyJob"),
        (_entry(), JOB.replace(b"Nightly", b"Other"), "OtherJob"),
        (_entry(), JOB + JOB.replace(b"Nightly", b"Other"), "NightlyJob"),
        (_entry(), JOB.replace(b"Nightly", b"A") + JOB.replace(b"Nightly", b"B"), None),
        (_entry(), b"x = 1\n", None),
        (_entry(), b"def (\n", None),
        (_entry(b"x = 1\n"), JOB, None),
        (_entry(path="a.txt"), JOB, None),
        (_entry(keep_base=False), JOB, None),
    ],
)
def test_the_job_of_a_module_that_has_left_the_spec(entry, text, name):
    job = removed.stray_job(entry, text)
    assert (None if job is None else job.name) == name


@pytest.mark.parametrize(
    ("whole_spec", "text", "blocked", "expected"),
    [
        (False, JOB + b"# mine\n", None, (KEEP, False, "")),
        (True, b"# mine\n", None, (KEEP, True, "")),
        (True, JOB + b"# mine\n", None, (UPDATE, True, "Nightly")),
        (True, JOB + b"# mine\n", "it is read-only", (KEEP, True, "Nightly")),
        (True, JOB.replace(b'")', b'", left_spec=True)'), None, (KEEP, True, "Nightly")),
    ],
)
def test_an_edited_module_that_has_left_the_spec(tmp_path, whole_spec, text, blocked, expected):
    situation = Situation(
        "jobs/nightly.py", None, _entry(), OnDisk(text, blocked), Formats(tmp_path), whole_spec=whole_spec,
    )  # fmt: skip
    outcome = removed.left_edited(situation, _entry(), text)
    change = outcome.change
    assert (change.action, change.left_spec, change.stray) == expected
    assert (outcome.entry is None) is not whole_spec
    assert (change.after is not None) is (expected[0] is UPDATE)
    assert change.after is None or b"left_spec=True" in change.after
    if expected[2]:
        assert "Adopt it: targcc-gen pull Nightly" in change.reason


def _outcome(path, action, before=b"x", *, entry=None, **options):
    return {path: Outcome(Change(path, action, "", SCAFFOLD, before, **options), entry)}


def test_the_test_of_a_deleted_job_goes_with_it():
    test = "tests/jobs/test_nightly.py"
    for action, goes in ((DELETE, True), (UNCHANGED, True), (KEEP, False)):
        outcomes = _outcome("src/jobs/nightly.py", action) | _outcome(test, KEEP, left_spec=True)
        outcomes |= _outcome("tests/jobs/test_other.py", KEEP, left_spec=True)
        gone = removed.orphans(outcomes)
        assert set(gone) == ({test} if goes else set())
    change = removed.orphans(outcomes | _outcome("src/jobs/nightly.py", DELETE))[test].change
    assert (change.action, change.reason, change.left_spec) == (DELETE, "its job is gone", False)
    stays = _outcome("src/jobs/nightly.py", DELETE, entry=_entry()) | _outcome(test, KEEP, left_spec=True)  # fmt: skip
    assert removed.orphans(stays) == {}
    assert removed.orphans(_outcome("src/jobs/nightly.py", DELETE) | _outcome(test, KEEP)) == {}


def test_edited_files_of_a_removed_job_are_put_away(tmp_path):
    lock = Lock({name: _entry(b"made\n", name) for name in ("a.py", "b.py", "c.py", "d.py")})
    outcomes = _outcome("a.py", DELETE, b"mine\n") | _outcome("b.py", DELETE, b"made\r\n")
    outcomes |= _outcome("c.py", KEEP, b"mine\n") | _outcome("d.py", DELETE, None)
    outcomes |= _outcome("e.py", DELETE, b"mine\n")
    away = removed.put_away(outcomes, lock, Disk(tmp_path))
    place = next(path for path in away if path != "a.py")
    assert set(away) == {"a.py", place}
    assert place.startswith(".targcc/removed/a.py")
    assert away["a.py"].change.reason == f"with your edits to {place}"
    assert (away[place].change.action, away[place].change.after) == (CREATE, b"mine\n")


def test_a_removed_job_is_recorded_and_comes_back(tmp_path):
    lock = Lock({"a.py": _entry(b"made\n", "a.py")})
    mine = JOB.replace(b'")', b'", left_spec=True)')
    outcomes = _outcome("a.py", DELETE, mine) | _outcome("b.py", DELETE)
    outcomes |= removed.put_away(outcomes, lock, Disk(tmp_path))
    changes = tuple(outcome.change for outcome in outcomes.values())
    plan = Plan(tmp_path, changes, lock, None, lock)
    whole = removed.with_record(plan, "Nightly", {"cron": "0 2 * * *"}, ["a.py", "b.py"])
    assert removed.with_record(plan, "Nightly", {}, ["b.py"]) is plan
    assert [change.path for change in whole.changes] == sorted(change.path for change in whole.changes)  # fmt: skip
    for change in whole.changes:
        if change.after is not None:
            (tmp_path / change.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / change.path).write_bytes(change.after)
    (job,) = removed.removed_jobs(tmp_path)
    assert (job.key, job.values) == ("Nightly", {"cron": "0 2 * * *"})
    assert list(job.files) == ["a.py"]
    assert removed.removed_files(tmp_path) == [job.files["a.py"]]

    again = (
        Change("a.py", CREATE, "", SCAFFOLD, after=b"made\n"),
        Change("b.py", CREATE, "", SCAFFOLD, after=b"made\n"),
    )
    back = {change.path: change for change in removed.bring_back(replace(plan, changes=again), job).changes}  # fmt: skip
    assert (back["a.py"].after, back["a.py"].reason) == (JOB, "as you had it")
    assert back["b.py"] == again[1]
    for place in (job.record, job.files["a.py"]):
        assert (back[place].action, back[place].reason) == (DELETE, "it is back")
    kept = replace(plan, changes=(replace(again[0], action=KEEP, after=None),))
    assert removed.bring_back(kept, job).changes[-1].reason == ""


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"job": 1, "spec": {}, "files": {}}',
        '{"job": "A", "spec": [], "files": {}}',
        '{"job": "A", "spec": {}, "files": []}',
        '{"job": "A", "spec": {}, "files": {"../a": ".targcc/removed/a"}}',
        '{"job": "A", "spec": {}, "files": {"a": "../a"}}',
        '{"job": "A", "spec": {}, "files": {"a": "b"}}',
    ],
)
def test_a_damaged_record_of_a_removed_job_is_named(tmp_path, text):
    assert removed.removed_jobs(tmp_path) == []
    folder = tmp_path / ".targcc" / "removed"
    folder.mkdir(parents=True)
    (folder / f"A{removed.RECORD_END}").write_text(text)
    with pytest.raises(DamagedError, match=r"A.* cannot be read"):
        removed.removed_jobs(tmp_path)


# Renamed jobs.

MOVE = JobMove("Nightly", "Daily", (("jobs/nightly.py", "jobs/daily.py"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class NightlyJob: ...", "class DailyJob: ..."),
        ("class NightlyJobs: ...", None),
        ("import shop.jobs.nightly", "import shop.jobs.daily"),
        ("import shop.nightly", None),
        ("from .nightly import x", "from .daily import x"),
        ("from shop.jobs.nightly import NightlyJob", "from shop.jobs.daily import DailyJob"),
        ("from shop.jobs import nightly", "from shop.jobs import daily as nightly"),
        ("from shop.jobs import nightly as n", "from shop.jobs import daily as n"),
        ("from shop.jobs import (\n    a,\n    nightly,\n)", "from shop.jobs import (\n    a,\n    daily as nightly,\n)"),
        ("from shop.jobs import x as nightly", None),
        ("from . import nightly", "from . import daily as nightly"),
        ("from shop.other import nightly", None),
        ("\0NightlyJob", None),
    ],
)  # fmt: skip
def test_the_name_of_a_job_is_changed_where_it_means_the_job(text, expected):
    assert rename.renamed(text.encode(), MOVE) == (expected or text).encode()
    assert rename.renamed(b"NightlyJob \xff", MOVE) == b"NightlyJob \xff"


OLD_PATH, NEW_PATH = "jobs/nightly.py", "jobs/daily.py"


def _tree(*paths, moves=(MOVE,)):
    return Tree.of((TreeFile(path, b"made\n", SCAFFOLD) for path in paths), moved=moves)


@pytest.mark.parametrize(
    ("on_disk", "raw", "content", "blocked"),
    [
        ([OLD_PATH], JOB, JOB.replace(b"Nightly", b"Daily"), None),
        ([], None, None, None),
        ([NEW_PATH], None, b"new", None),
        ([OLD_PATH, NEW_PATH], JOB, JOB, "it is there already, and jobs/nightly.py is to go there"),
    ],
)
def test_a_renamed_jobs_file_arrives_at_its_new_place(tmp_path, on_disk, raw, content, blocked):
    (tmp_path / "jobs").mkdir()
    for path in on_disk:
        (tmp_path / path).write_bytes(JOB if path == OLD_PATH else b"new")
    lock = Lock({OLD_PATH: _entry()})
    (item,) = rename.arrivals(_tree(NEW_PATH), lock, Disk(tmp_path)).values()
    assert (item.old, item.raw, item.disk.raw, item.disk.blocked) == (
        OLD_PATH,
        raw,
        content,
        blocked,
    )
    assert (item.entry.path, item.entry.base) == (NEW_PATH, JOB.replace(b"Nightly", b"Daily"))


@pytest.mark.parametrize(
    ("tree", "entries"),
    [
        (_tree(NEW_PATH), []),
        (_tree("other.py"), [OLD_PATH]),
        (_tree(NEW_PATH), [OLD_PATH, NEW_PATH]),
        (_tree(NEW_PATH, moves=()), [OLD_PATH]),
    ],
)
def test_nothing_arrives_that_is_not_the_spec_s(tmp_path, tree, entries):
    lock = Lock({path: _entry(path=path) for path in entries})
    assert rename.arrivals(tree, lock, Disk(tmp_path)) == {}


def test_a_job_may_be_renamed_in_its_place(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / OLD_PATH).write_bytes(JOB)
    move = JobMove("Nightly", "NIGHTLY", ((OLD_PATH, OLD_PATH),))
    lock, tree = Lock({OLD_PATH: _entry()}), _tree(OLD_PATH, moves=(move,))
    (item,) = rename.arrivals(tree, lock, Disk(tmp_path)).values()
    assert item.disk.raw == rename.renamed(JOB, move) != JOB
    assert (item.old, item.raw) == (OLD_PATH, JOB)
    same = _tree(OLD_PATH, moves=(replace(move, new="Nightly"),))
    assert rename.arrivals(same, lock, Disk(tmp_path)) == {}
    (tmp_path / OLD_PATH).unlink()
    assert rename.arrivals(tree, lock, Disk(tmp_path)) == {}


def _arrived(old=OLD_PATH, raw=JOB, blocked=None):
    return rename.Arrived(old, _entry(path=NEW_PATH), OnDisk(b"moved", blocked), raw)


@pytest.mark.parametrize(
    ("action", "after", "item", "expected"),
    [
        (UNCHANGED, None, _arrived(), {NEW_PATH: (CREATE, b"moved"), OLD_PATH: (DELETE, None)}),
        (UPDATE, b"new", _arrived(), {NEW_PATH: (CREATE, b"new"), OLD_PATH: (DELETE, None)}),
        (UNCHANGED, None, _arrived(raw=None), {NEW_PATH: (UNCHANGED, None)}),
        (UNCHANGED, None, _arrived(blocked="no"), {NEW_PATH: (CONFLICT, None), OLD_PATH: (KEEP, None)}),
        (CONFLICT, None, _arrived(), {NEW_PATH: (CONFLICT, None), OLD_PATH: (KEEP, None)}),
        (CONFLICT, b"<<<", _arrived(), {NEW_PATH: (CONFLICT, b"<<<"), OLD_PATH: (DELETE, None)}),
        (UNCHANGED, None, _arrived(NEW_PATH), {NEW_PATH: (UPDATE, b"moved")}),
        (CONFLICT, None, _arrived(NEW_PATH), {NEW_PATH: (CONFLICT, None)}),
    ],
)  # fmt: skip
def test_a_file_that_moved_is_gone_at_its_old_place(action, after, item, expected):
    change = Change(NEW_PATH, action, "why", SCAFFOLD, b"moved", after)
    outcomes = rename.arrived(Outcome(change, item.entry), item)
    assert {path: (outcome.change.action, outcome.change.after) for path, outcome in outcomes.items()} == expected  # fmt: skip
    here = outcomes[NEW_PATH].change
    if OLD_PATH in outcomes:
        assert here.reason == f"was {OLD_PATH}; {item.disk.blocked or 'why'}"
        assert outcomes[OLD_PATH].change.before == JOB
        assert here.before is None
    elif item.raw is not None:
        assert here.before == JOB


def test_modules_that_import_a_renamed_job_follow(tmp_path):
    files = {
        "src/a.py": b"from shop.jobs.nightly import NightlyJob\n",
        "src/made.py": b"NightlyJob\n",
        "src/none.py": b"x = 1\n",
        "src/.hidden/a.py": b"NightlyJob\n",
        "src/build/a.py": b"NightlyJob\n",
        "src/scheduler/a.py": b"NightlyJob\n",
        "src/changed.py": b"old\n",
        "src/gone.py": b"NightlyJob\n",
        "other/a.py": b"NightlyJob\n",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "src/changed.py").write_bytes(b"# nightly\n")
    move = JobMove("Nightly", "Daily", (("src/jobs/nightly.py", "src/jobs/daily.py"),))
    tree = Tree.of([TreeFile("src/made.py", b"", Owner.MANAGED)], moved=[move])
    outcomes = _outcome("src/changed.py", UPDATE, b"# nightly\n", after=b"NightlyJob\n")
    outcomes |= _outcome("src/gone.py", DELETE, b"NightlyJob\n")
    result = rename.mentions(tree, Disk(tmp_path), outcomes, (move,), Lock())
    changes = {path: (item.change.action, item.change.after) for path, item in result.items()}
    assert changes == {
        "src/a.py": (UPDATE, b"from shop.jobs.daily import DailyJob\n"),
        "src/changed.py": (UPDATE, b"DailyJob\n"),
    }
    assert result["src/a.py"].change.reason == "names DailyJob now"
