"""`targcc-gen scheduler`: switch a project between vendored source and package, keeping all edits of people."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli.commands.patch import patch
from targcc_gen.cli.commands.scheduler import scheduler
from targcc_gen.errors import TargccError
from targcc_gen.render import render_project
from targcc_gen.render.wheel import wheel_path
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan

pytestmark = pytest.mark.slow  # most of its tests switch a whole project

Switch = Callable[..., tuple[int, str, str]]
SPEC = """\
# Our jobs
targcc: 1
project: {{name: acme-jobs{}}}  # the name
scheduler: vendored
jobs:
  # at night
  Nightly: {{cron: "0 2 * * *"}}
"""
SOURCE = "vendor/targcc-scheduler"
INIT = f"{SOURCE}/targcc_scheduler/__init__.py"


def made(root: Path, text: str) -> Path:
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    return root


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("fresh") / "acme-jobs", SPEC.format(""))


@pytest.fixture
def project(fresh: Path, tmp_path: Path) -> Path:
    """Copy a project with vendored scheduler source."""
    return Path(shutil.copytree(fresh, tmp_path / "acme-jobs"))


@pytest.fixture
def switch(project: Path) -> Switch:
    """Return a function that runs the command and returns exit status, output and error text."""

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
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def test_there_and_back_is_the_project_as_it_was(project: Path, switch: Switch):
    before = contents(project)

    assert switch("package")[0] == 0
    between = contents(project)
    assert switch("vendored")[0] == 0

    assert len(between) <= 28
    assert not [path for path in between if path.startswith(f"{SOURCE}/")]
    assert wheel_path() in between
    after = contents(project)
    assert after == before


def test_a_switched_project_is_what_its_spec_asks_for(project: Path, switch: Switch):
    for way in ("package", "vendored"):
        switch(way)
        text = (project / "targcc.yaml").read_text(encoding="utf-8")
        assert make_plan(render_project(parse_spec(text), spec_text=text), project).is_empty


def test_the_spec_keeps_its_comments(project: Path, switch: Switch):
    switch("package")

    text = (project / "targcc.yaml").read_text(encoding="utf-8")
    assert text == SPEC.format("").replace("scheduler: vendored\n", "scheduler: package\n")


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
    assert f"delete    {SOURCE}/  (" in output
    assert '-targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }' in output
    assert len(output.splitlines()) < 200
    assert output.endswith("Nothing was written.\n")


def test_an_edit_is_shown_and_stops_the_switch(project: Path, switch: Switch):
    with (project / INIT).open("a", encoding="utf-8") as file:
        file.write("MINE = 1\n")
    before = contents(project)

    status, output, error = switch("package")

    assert (status, contents(project)) == (3, before)
    assert "+MINE = 1" in output
    assert INIT in error
    assert "--drop-edits" in error


def test_an_edit_is_dropped_when_that_is_said_and_a_pristine_file_comes_back(
    project: Path, switch: Switch
):
    pristine = (project / INIT).read_bytes()
    (project / INIT).write_bytes(pristine + b"MINE = 1\n")

    status, output, _ = switch("package", "--drop-edits")

    assert status == 0
    assert "+MINE = 1" in output
    assert not (project / SOURCE).exists()
    assert switch("vendored")[0] == 0
    assert (project / INIT).read_bytes() == pristine


def test_an_edit_of_the_project_s_own_module_stays_in_both_ways(project: Path, switch: Switch):
    module = project / "src/acme_jobs/scheduler.py"
    module.write_bytes(module.read_bytes() + b"MINE = 1\n")

    assert switch("package")[0] == 0
    assert switch("vendored")[0] == 0
    assert module.read_bytes().endswith(b"MINE = 1\n")


def test_line_ends_are_no_edit(project: Path, switch: Switch):
    (project / INIT).write_bytes((project / INIT).read_bytes().replace(b"\n", b"\r\n"))

    assert switch("package")[0] == 0


def test_people_s_own_files_in_the_folder_stay_and_are_named(project: Path, switch: Switch):
    write(project, f"{SOURCE}/targcc_scheduler/pager.py", "PAGER = 1\n")

    status, output, _ = switch("package")

    assert status == 0
    assert f"stays     {SOURCE}/targcc_scheduler/pager.py" in output
    assert (project / f"{SOURCE}/targcc_scheduler/pager.py").read_text() == "PAGER = 1\n"


def test_no_folders_of_compiled_files_are_left(project: Path, switch: Switch):
    write(project, f"{SOURCE}/targcc_scheduler/__pycache__/project.pyc", "")

    switch("package")

    assert not (project / SOURCE).exists()


def test_imports_of_the_scheduler_are_the_same_in_both_ways(project: Path, switch: Switch):
    text = "from acme_jobs.scheduler import job_run\nfrom targcc_scheduler import Notice\n"
    write(project, "tests/test_mine.py", text)

    for way in ("package", "vendored"):
        assert switch(way)[0] == 0
        assert (project / "tests/test_mine.py").read_text() == text


def test_edited_files_of_people_follow_where_they_can(project: Path, switch: Switch):
    readme, pyproject = project / "README.md", project / "pyproject.toml"
    readme.write_text(f"{readme.read_text(encoding='utf-8')}\nCall Dana.\n", encoding="utf-8")
    pyproject.write_bytes(
        pyproject.read_bytes()
        .replace(b'  "targcc-scheduler[run]', b'  "boto3>=1",\n  "targcc-scheduler[run]')
        .replace(b"\n", b"\r\n")
    )

    assert switch("package")[0] == 0

    assert "pip install --find-links vendor ." in readme.read_text(encoding="utf-8")
    assert readme.read_text(encoding="utf-8").endswith("Call Dana.\n")
    assert b'  "boto3>=1",\r\n' in pyproject.read_bytes()
    assert pyproject.read_bytes().count(b"\n") == pyproject.read_bytes().count(b"\r\n")
    spec = (project / "targcc.yaml").read_text(encoding="utf-8")
    later = make_plan(render_project(parse_spec(spec), spec_text=spec), project)
    # the edits are recorded as a person's
    assert not [change.path for change in later.changes if change.writes]


def test_what_cannot_follow_is_said(project: Path, switch: Switch):
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8").replace(
        "the source of the scheduler, which", "the source of the machine, which"
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
    write(project, INIT, "MINE = 1\n")
    before = contents(project)

    status, _, _ = switch("vendored")

    assert (status, contents(project)) == (3, before)


@pytest.mark.slow
def test_an_app_that_was_there_before_switches_too(tmp_path: Path, switch: Switch):
    text = SPEC.format(", package: shop, inside: .")
    shop = made(tmp_path / "shop", text)
    write(shop, "pyproject.toml", '[project]\nname = "shop"\ndependencies = ["fastapi"]\n')

    assert switch("package", root=shop)[0] == 0

    assert not (shop / SOURCE).exists()
    assert (shop / "shop/scheduler.py").is_file()
    pyproject = (shop / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dependencies = ["fastapi", "targcc-scheduler[guest]==' in pyproject
    text = (shop / "targcc.yaml").read_text(encoding="utf-8")
    later = make_plan(render_project(parse_spec(text), spec_text=text), shop)
    assert later.is_empty  # the generator does not claim the app's pyproject.toml
    assert switch("vendored", root=shop)[0] == 0
    line = 'targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }'
    assert line in (shop / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
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
            "targcc-scheduler[guest]==",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_an_app_s_requirements_follow_where_it_lists_them(
    tmp_path: Path, switch: Switch, path: str, text: str, pin: str
):
    """Switch forth and back, then undo; requirements of the app itself stay."""
    shop = tmp_path / "shop"
    write(shop, "shop/main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    write(shop, "shop/__init__.py", "")
    write(shop, path, text)
    patched = CliRunner().invoke(patch, ["--project", str(shop), "--vendored", "--no-verify"])
    assert patched.exit_code == 0, patched.output
    vendored = (shop / path).read_text(encoding="utf-8")
    assert "targcc-scheduler" in vendored

    status, output, _ = switch("package", root=shop)

    package = (shop / path).read_text(encoding="utf-8")
    assert (status, "Next: " in output, pin in package) == (0, True, True)
    assert package != vendored or path == "setup.cfg"
    assert [line for line in text.splitlines() if line not in package.splitlines()] == []
    assert switch("vendored", root=shop)[0] == 0
    assert (shop / path).read_text(encoding="utf-8") == vendored
    CliRunner().invoke(patch, ["--project", str(shop), "--undo"], catch_exceptions=False)
    assert {*contents(shop)} == {"shop/main.py", "shop/__init__.py", path}
    assert (shop / path).read_text(encoding="utf-8") == text
