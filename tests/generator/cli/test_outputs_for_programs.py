"""Output for programs: `--json` conforms to its schemas, and annotations follow GitHub and GitLab."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.cli.json_output import schema_of
from targcc_gen.sync import Lock

PUBLISHED = Path(__file__).resolve().parents[2] / "data" / "printed_json.txt"
WORKFLOW = ".github/workflows/ci.yml"


def targcc_gen(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="targcc-gen")
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture(scope="module")
def born(tmp_path_factory):
    root = tmp_path_factory.mktemp("born") / "acme-jobs"
    targcc_gen("new", str(root), "--yes", "--scheduler", "package")
    return root


@pytest.fixture
def project(born, tmp_path, monkeypatch):
    root = tmp_path / "acme-jobs"
    shutil.copytree(born, root)
    monkeypatch.chdir(root)
    return root


def promises(schema: dict, place: str) -> Iterator[str]:
    """Yield one line per guaranteed key of the output: place, type, and whether it is optional."""
    kind = schema.get("type", "any")
    yield f"{place}: {kind if isinstance(kind, str) else ' or '.join(kind)}"
    for name, inner in schema.get("properties", {}).items():
        mark = "" if name in schema.get("required", ()) else "?"
        yield from promises(inner, f"{place}.{name}{mark}")
    if "items" in schema:
        yield from promises(schema["items"], f"{place}[]")


def test_what_a_release_printed_the_next_ones_print_too():
    """A new key adds a line to the file. A removed or changed line breaks existing programs."""
    names = ("plan", "status", "doctor", "blueprints", "explain", "codes", "errors")
    now = [line for name in names for line in promises(schema_of(name), name)]
    published = PUBLISHED.read_text(encoding="utf-8").splitlines()
    assert [line for line in published if line not in now] == []
    assert [line for line in now if line not in published] == [], f"add it to {PUBLISHED}"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("schema", "command"),
    [
        ("plan", ("job", "Report", "--cron", "0 2 * * *", "--json", "--dry-run")),
        ("plan", ("job", "Report", "--manual", "--json")),
        ("plan", ("regenerate", "--json")),
        ("plan", ("regenerate", "--check", "--json")),
        ("plan", ("eject", WORKFLOW, "--json")),
        ("status", ("status", "--json")),
        ("doctor", ("doctor", "--json")),
        ("blueprints", ("blueprints", "--json")),
        ("codes", ("explain", "TG201", "--json")),
    ],
)
def test_an_output_is_as_its_schema_says(schema, command):
    output = json.loads(targcc_gen(*command))

    published = json.loads(targcc_gen("schema", schema))
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(output, published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("something else", published)


WRONG_SPEC = "targcc: 1\nproject: {name: acme-jobs}\nqueus: {}\njobs: {A: {cron: x}}\n"
READING = (
    ("status",),
    ("regenerate",),
    ("regenerate", "--check"),
    ("regenerate", "--dry-run"),
    ("job", "Report", "--manual"),
    ("pull",),
    ("restore", "README.md"),
    ("scheduler", "vendored"),
    ("explain", "jobs"),
)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_wrong_spec_is_told_to_a_program_with_its_places(project, command):
    (project / "targcc.yaml").write_text(WRONG_SPEC)

    output = json.loads(targcc_gen(*command, "--json", status=2))

    jsonschema.validate(output, json.loads(targcc_gen("schema", "errors")))
    places = {
        (error["code"], error["file"].split("/")[-1], error["line"]) for error in output["errors"]
    }
    assert ("spec", "targcc.yaml", 3) in places
    assert (output["schema_version"], output["exit_status"], output["written"]) == (1, 2, False)


FAILING = {
    "no such option": (("status", "--jsn", "--json"), 2, "usage", None),
    "no such command": (("statu", "--json"), 2, "usage", None),
    "no project": (("status", "--project", "/", "--json"), 2, "input", None),
    "a cron text": (("cron", "61 * * * *", "--json"), 2, "input", None),
    "an export": (("import-legacy", "jobs.sql", "--timezone", "UTC", "--json"), 2, None, None),
    "no app": (("patch", "targcc.py", "--json"), 2, "source", 1),
    "no name": (("new", "9 lives", "--name", "!", "--yes", "--json"), 2, None, None),
    "nothing to restore": (("restore", "nothing.py", "--json"), 2, "input", None),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("case", FAILING)
def test_every_other_failure_is_told_to_a_program_too(case):
    command, status, code, line = FAILING[case]
    Path("targcc.py").write_text("app = (\n")
    Path("jobs.sql").write_text("SELECT 1\n")

    output = json.loads(targcc_gen(*command, status=status))

    jsonschema.validate(output, schema_of("errors"))
    (error,) = output["errors"]
    assert code in {None, error["code"]}
    assert error["line"] == line
    assert error["message"]


def test_a_damaged_lock_is_told_with_its_line(project):
    lock = project / ".targcc/lock.jsonl"
    lock.write_text(lock.read_text().replace("{", "[", 2))

    (error,) = json.loads(targcc_gen("status", "--json", status=2))["errors"]

    assert (error["code"], error["file"], error["line"]) == ("input", ".targcc/lock.jsonl", 1)
    assert "git checkout" in error["hint"]


@pytest.mark.usefixtures("project")
def test_what_was_printed_before_a_failure_is_the_only_json():
    Path("targcc.yaml").write_text(
        Path("targcc.yaml").read_text().replace("workers: 5", "workers: 6")
    )
    output = json.loads(targcc_gen("regenerate", "--check", "--json", status=1))
    assert "changes" in output


def test_an_error_of_ours_is_told_as_one(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("targcc_gen.cli.project.open_project", fail)
    (error,) = json.loads(targcc_gen("status", "--json", status=70))["errors"]
    assert (error["code"], error["message"]) == ("internal", "ZeroDivisionError: of ours")


def test_every_code_is_in_the_schema():
    from targcc_gen.cli.json_output import CODES
    from targcc_gen.errors import TargccError

    def codes(kind: type[TargccError]) -> set[str]:
        return {kind.kind}.union(*(codes(subclass) for subclass in kind.__subclasses__()))

    assert codes(TargccError) <= set(CODES)


@pytest.mark.usefixtures("processes")
def test_a_conflict_is_in_the_schema_of_a_plan(project):
    from targcc_gen.sync import LockEntry

    path = "tests/test_project.py"
    lock = Lock.load(project)
    entry = lock.entries[path]
    first, _, rest = entry.base.partition(b"\n")
    older = LockEntry.of(path, entry.owner, first + b" older\n" + rest, keep_base=True)
    (project / ".targcc/lock.jsonl").write_text(Lock({**lock.entries, path: older}).dump())
    (project / path).write_bytes(first + b" mine\n" + rest)

    output = json.loads(targcc_gen("regenerate", "--check", "--json", status=1))
    shown = targcc_gen("regenerate", "--check", "--format", "github", status=1)

    jsonschema.validate(output, json.loads(targcc_gen("schema", "plan")))
    (change,) = [item for item in output["changes"] if item["action"] == "conflict"]
    assert change["collisions"][0]["first"] == 1
    assert shown.startswith(f"::error file={path},line=1,title=targcc-gen::you and targcc-gen")


@pytest.mark.usefixtures("project")
def test_github_shows_what_is_due_at_its_line():
    spec = Path("targcc.yaml")
    spec.write_text(f"{spec.read_text().partition('jobs:')[0]}jobs: {{Fresh: {{type: manual}}}}\n")

    lines = targcc_gen("regenerate", "--check", "--format", "github", status=1).splitlines()

    path = "src/acme_jobs/jobs/fresh.py"
    assert lines[0] == (
        f"::warning file={path},line=1,title=targcc-gen::create {path}. Run: targcc-gen regenerate"
    )
    assert all(line.startswith("::warning file=") for line in lines)


def test_gitlab_reads_a_report_of_a_project_in_a_folder_of_its_repository(project):
    (project.parent / ".git").mkdir()
    (project / "targcc.yaml").write_text("targcc: 1\nproject: {name: acme-jobs}\nqueus: {}\n")

    report = json.loads(targcc_gen("regenerate", "--check", "--format", "gitlab", status=2))

    assert [finding["location"] for finding in report] == [
        {"path": "acme-jobs/targcc.yaml", "lines": {"begin": 3}}
    ]
    assert "queues" in report[0]["description"]
    assert set(report[0]) == {"description", "check_name", "fingerprint", "severity", "location"}


def test_what_two_branches_changed_differently_is_in_the_report(project):
    spec = project / "targcc.yaml"
    sides = "<<<<<<< HEAD\ndatabase: sqlite\n=======\ndatabase: postgresql\n>>>>>>> topic\n"
    spec.write_text(f"targcc: 1\nproject: {{name: acme-jobs}}\n{sides}")

    (finding,) = json.loads(targcc_gen("regenerate", "--check", "--format", "gitlab", status=3))

    assert "database: sqlite (HEAD), postgresql (topic)" in finding["description"]
    assert finding["severity"] == "critical"


@pytest.mark.usefixtures("project")
def test_nothing_due_is_an_empty_report():
    assert json.loads(targcc_gen("regenerate", "--check", "--format", "gitlab")) == []
    assert targcc_gen("regenerate", "--check", "--format", "github") == ""


def test_a_text_cannot_end_githubs_command():
    from targcc_gen.cli.ci_annotations import Annotation, _of_github

    line = _of_github(Annotation("a,b:c.py", 3, "50%\n::error::x", is_conflict=True))

    assert line == "::error file=a%2Cb%3Ac.py,line=3,title=targcc-gen::50%25%0A::error::x"


@pytest.mark.usefixtures("project")
def test_an_older_generator_refuses_a_newer_project():
    lock = Path(".targcc/lock.jsonl")
    first, _, rest = lock.read_text().partition("\n")
    header = {**json.loads(first), "generator": "99.1.0"}
    lock.write_text(f"{json.dumps(header)}\n{rest}")

    result = CliRunner().invoke(main, ["status"], prog_name="targcc-gen")

    assert result.exit_code == 2
    assert "this project needs targcc-gen 99.1.0 or newer, and this is the older" in result.stderr
    assert "targcc_gen-99.1.0-py3-none-any.whl" in result.stderr
