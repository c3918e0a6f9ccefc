"""`targcc-gen scheduler`: a project changes between a copy and the package, and nothing of what people wrote is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli.commands.change.scheduler import scheduler
from targcc_gen.cli.commands.create.patch import patch
from targcc_gen.errors import TargccError
from targcc_gen.render import render_project
from targcc_gen.render.tree import LOCK_PATH
from targcc_gen.render.wheel import wheel_path
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan

Switch = Callable[..., tuple[int, str, str]]
SPEC = """\
# Our jobs
targcc: 1
project: {{name: acme-jobs{}}}  # the name
jobs:
  # at night
  Nightly: {{cron: "0 2 * * *"}}
"""
TABLES = "src/acme_jobs/scheduler/storage/tables.py"
INIT = "src/acme_jobs/scheduler/__init__.py"


def made(root: Path, text: str) -> Path:
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    return root


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("fresh") / "acme-jobs", SPEC.format(""))


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    """A project with a copy of the scheduler."""
    return Path(shutil.copytree(fresh, tmp_path / "acme-jobs"))


@pytest.fixture
def switch(project: Path) -> Switch:
    """Run the command; its exit status, output and error text."""

    def invoke(*arguments: str, root: Path = project) -> tuple[int, str, str]:
        result = CliRunner().invoke(scheduler, [*arguments, "--project", str(root)])
        error = result.exception
        if isinstance(error, TargccError):
            return error.exit_status, result.stdout, f"{error.message}\n{error.hint or ''}"
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return result.exit_code, result.stdout, result.stderr

    return invoke


def contents(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_there_and_back_is_the_project_as_it_was(project: Path, switch: Switch):
    before = contents(project)

    assert switch("package")[0] == 0
    between = contents(project)
    assert switch("vendored")[0] == 0

    assert len(between) <= 25
    assert [path for path in between if "/scheduler/" in path] == [INIT]
    assert wheel_path() in between
    after = contents(project)
    for path in (
        "targcc.yaml",
        LOCK_PATH,
    ):  # the spec says now what it left out, and the lock has its checksum
        assert after.pop(path) != before.pop(path)
    assert after == before


def test_a_switched_project_is_what_its_spec_asks_for(project: Path, switch: Switch):
    for way in ("package", "vendored"):
        switch(way)
        text = (project / "targcc.yaml").read_text(encoding="utf-8")
        assert make_plan(render_project(parse_spec(text), spec_text=text), project).is_empty


def test_the_spec_keeps_its_comments(project: Path, switch: Switch):
    switch("package")

    text = (project / "targcc.yaml").read_text(encoding="utf-8")
    line = "project: {name: acme-jobs}  # the name\n"
    assert text == SPEC.format("").replace(line, f"{line}scheduler: package\n")


@pytest.mark.parametrize("way", ["packaged", "", "Vendored "])
def test_another_word_is_refused_with_the_two_that_there_are(switch, way):
    status, _, error = switch(way)
    assert status == 2
    assert "'vendored'" in error
    assert "'package'" in error


def test_a_folder_that_is_no_project_says_so_and_stays_as_it_is(tmp_path, switch):
    (tmp_path / "elsewhere").mkdir()
    status, _, error = switch("package", root=tmp_path / "elsewhere")
    assert status == 2
    assert "targcc.yaml" in error
    assert contents(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, PermissionError("read-only")])
def test_a_switch_that_is_broken_off_leaves_everything_as_it_was(
    project, switch, monkeypatch, failure
):
    before, replace, count = contents(project), Path.replace, iter(range(10_000))

    def fail_in_the_middle(self: Path, target: Path) -> Path:
        if next(count) == 5:
            raise failure
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_in_the_middle)
    try:
        status = switch("package")[0]
    except (KeyboardInterrupt, PermissionError):
        status = 1
    assert next(count) > 5
    assert status != 0
    assert contents(project) == before


def test_the_way_that_it_is_already_changes_nothing(project: Path, switch: Switch):
    before = contents(project)

    status, output, _ = switch("vendored")

    assert (status, contents(project)) == (0, before)
    assert "Nothing to do" in output


def test_a_dry_run_writes_nothing_and_shows_little_of_the_copy(project: Path, switch: Switch):
    before = contents(project)

    status, output, _ = switch("package", "--dry-run", "--diff")

    assert (status, contents(project)) == (0, before)
    assert "delete    src/acme_jobs/scheduler/" in output
    assert '+  "targcc-scheduler[run]==' in output
    assert TABLES not in output
    assert output.endswith("Nothing was written.\n")


def test_an_edit_is_shown_and_stops_the_switch(project: Path, switch: Switch):
    with (project / TABLES).open("a", encoding="utf-8") as file:
        file.write("MINE = 1\n")
    before = contents(project)

    status, output, error = switch("package")

    assert (status, contents(project)) == (3, before)
    assert "+MINE = 1" in output
    assert TABLES in error
    assert "--drop-edits" in error


def test_an_edit_is_dropped_when_that_is_said_and_a_pristine_file_comes_back(
    project: Path, switch: Switch
):
    pristine = (project / TABLES).read_bytes()
    (project / TABLES).write_bytes(pristine + b"MINE = 1\n")
    (project / INIT).write_bytes((project / INIT).read_bytes() + b"MINE = 1\n")

    status, output, _ = switch("package", "--drop-edits")

    assert status == 0
    assert "+MINE = 1" in output
    assert not (project / TABLES).exists()
    assert b"MINE" not in (project / INIT).read_bytes()
    assert switch("vendored")[0] == 0
    assert (project / TABLES).read_bytes() == pristine


def test_an_edit_of_the_one_file_of_the_other_way_stops_the_way_back(project: Path, switch: Switch):
    switch("package")
    (project / INIT).write_bytes((project / INIT).read_bytes() + b"MINE = 1\n")

    assert switch("vendored")[0] == 3
    assert switch("vendored", "--drop-edits")[0] == 0
    assert b"MINE" not in (project / INIT).read_bytes()


def test_line_ends_are_no_edit(project: Path, switch: Switch):
    (project / TABLES).write_bytes((project / TABLES).read_bytes().replace(b"\n", b"\r\n"))

    assert switch("package")[0] == 0


def test_people_s_own_files_in_the_folder_stay_and_are_named(project: Path, switch: Switch):
    write(project, "src/acme_jobs/scheduler/alerts/pager.py", "PAGER = 1\n")

    status, output, _ = switch("package")

    assert status == 0
    assert "stays     src/acme_jobs/scheduler/alerts/pager.py" in output
    assert (project / "src/acme_jobs/scheduler/alerts/pager.py").read_text() == "PAGER = 1\n"


def test_no_folders_of_compiled_files_are_left(project: Path, switch: Switch):
    write(project, "src/acme_jobs/scheduler/storage/__pycache__/tables.pyc", "")

    switch("package")

    assert not (project / "src/acme_jobs/scheduler/storage").exists()


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("from acme_jobs.scheduler.storage.tables import job_run", "job_run"),
        ("from ..scheduler.storage.tables import job_run as runs", "job_run as runs"),
        ("from acme_jobs.scheduler.storage.tables import job_server", None),
        ("from acme_jobs.scheduler import storage", None),
        ("import acme_jobs.scheduler.storage.tables", None),
        ('TARGET = "acme_jobs.scheduler.alerts.dispatcher.send"', None),
    ],
)
def test_an_import_that_needs_a_copy_is_named_with_what_to_write(
    project: Path, switch: Switch, line: str, instead: str | None
):
    write(project, "src/acme_jobs/jobs/deep.py", f'"""A job."""\n\n{line}\n')
    before = contents(project)

    status, output, error = switch("package", "--json")

    assert (status, contents(project)) == (3, before)
    [found] = json.loads(output)["imports"]
    assert (found["path"], found["line"]) == ("src/acme_jobs/jobs/deep.py", 3)
    assert found["instead"] == (instead and f"from acme_jobs.scheduler import {instead}")
    assert "1 line imports" in error


def test_imports_of_public_names_are_fine_and_so_is_the_way_back(project: Path, switch: Switch):
    line = "from acme_jobs.scheduler import job_run\n"
    text = 'SCHEDULER = "acme_jobs.scheduler.Mailer"\n'
    write(project, "tests/test_mine.py", f'"""See acme_jobs.scheduler.storage."""\n{line}{text}')

    assert switch("package")[0] == 0

    write(project, "tests/test_mine.py", "from acme_jobs.scheduler.storage import tables\n")
    assert switch("vendored")[0] == 0


def test_edited_files_of_people_follow_where_they_can(project: Path, switch: Switch):
    readme, pyproject = project / "README.md", project / "pyproject.toml"
    readme.write_text(f"{readme.read_text(encoding='utf-8')}\nCall Dana.\n", encoding="utf-8")
    pyproject.write_bytes(
        pyproject.read_bytes()
        .replace(b'  "click', b'  "boto3>=1",\n  "click')
        .replace(b"\n", b"\r\n")
    )

    assert switch("package")[0] == 0

    assert "pip install --find-links vendor ." in readme.read_text(encoding="utf-8")
    assert readme.read_text(encoding="utf-8").endswith("Call Dana.\n")
    assert b'  "boto3>=1",\r\n' in pyproject.read_bytes()
    assert pyproject.read_bytes().count(b"\n") == pyproject.read_bytes().count(b"\r\n")
    spec = (project / "targcc.yaml").read_text(encoding="utf-8")
    later = make_plan(render_project(parse_spec(spec), spec_text=spec), project)
    assert not [one.path for one in later.changes if one.writes]  # the edits are known as such


def test_what_cannot_follow_is_said(project: Path, switch: Switch):
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8").replace(
        "the scheduler, in rooms", "the machine, in rooms"
    )
    readme.write_text(text, encoding="utf-8")

    status, output, _ = switch("package")

    assert status == 0
    assert ".targcc/kept/README.md.diff" in output
    assert readme.read_text(encoding="utf-8") == text


def test_what_people_removed_stays_away(project: Path, switch: Switch):
    (project / "README.md").unlink()
    (project / "pyproject.toml").unlink()

    assert switch("package")[0] == 0

    assert not (project / "README.md").exists()
    assert not (project / "pyproject.toml").exists()


def test_a_file_in_the_way_of_the_copy_is_a_conflict(project: Path, switch: Switch):
    switch("package")
    write(project, TABLES, "MINE = 1\n")
    before = contents(project)

    status, _, _ = switch("vendored")

    assert (status, contents(project)) == (3, before)


def test_an_app_that_was_there_before_switches_too(tmp_path: Path, switch: Switch):
    text = SPEC.format(", package: shop, inside: .")
    shop = made(tmp_path / "shop", text)
    write(shop, "pyproject.toml", '[project]\nname = "shop"\ndependencies = ["fastapi"]\n')

    assert switch("package", root=shop)[0] == 0

    assert [path for path in contents(shop) if "/scheduler/" in path] == [
        "shop/scheduler/__init__.py"
    ]
    pyproject = (shop / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dependencies = ["fastapi", "targcc-scheduler[run]==' in pyproject
    text = (shop / "targcc.yaml").read_text(encoding="utf-8")
    later = make_plan(render_project(parse_spec(text), spec_text=text), shop)
    assert later.is_empty  # and it does not take the app's pyproject.toml for its own
    assert switch("vendored", root=shop)[0] == 0
    assert "targcc-scheduler" not in (shop / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "text", "pin"),
    [
        ("requirements.txt", "fastapi\nclick>=8\n", "./vendor/targcc_scheduler"),
        pytest.param(
            "pyproject.toml",
            '[tool.poetry]\nname = "shop"\n\n[tool.poetry.dependencies]\nfastapi = "*"\nclick = ">=8"\n',
            'targcc-scheduler = { path = "vendor/',
            marks=pytest.mark.soak,
        ),
        pytest.param(
            "setup.cfg",
            "[options]\ninstall_requires =\n    fastapi\n    click>=8\n",
            "targcc-scheduler[run]==",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_an_app_s_requirements_follow_where_it_lists_them(
    tmp_path: Path, switch: Switch, path: str, text: str, pin: str
):
    """There and back, and out by undo: what a copy runs on is known to be ours, and what the app asks for itself stays."""
    shop = tmp_path / "shop"
    write(shop, "shop/main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    write(shop, "shop/__init__.py", "")
    write(shop, path, text)
    patched = CliRunner().invoke(patch, ["--project", str(shop), "--vendored", "--no-verify"])
    assert patched.exit_code == 0, patched.output
    assert f"{path} has these already, and the scheduler needs: click" in patched.output
    vendored = (shop / path).read_text(encoding="utf-8")
    assert [vendored.count(name) for name in ("alembic", "click", "fastapi")] == [1, 1, 1]

    status, output, _ = switch("package", root=shop)

    package = (shop / path).read_text(encoding="utf-8")
    assert (status, "Next: " in output, pin in package) == (0, True, True)
    assert "alembic" not in package
    assert [line for line in text.splitlines() if line not in package.splitlines()] == []
    assert switch("vendored", root=shop)[0] == 0
    assert (shop / path).read_text(encoding="utf-8") == vendored
    CliRunner().invoke(patch, ["--project", str(shop), "--undo"], catch_exceptions=False)
    assert {*contents(shop)} == {"shop/main.py", "shop/__init__.py", path}
    assert (shop / path).read_text(encoding="utf-8") == text
