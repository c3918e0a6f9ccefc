"""Projects of release 0.1 upgrade to this release without losing a line of a person."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import older_projects
import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main

# By file below the package: the generator's text of 0.1, and the person's text.
EDITS = {
    "scheduler/store/runs.py": ("MOST_LOST_WORKERS = 3\n", "MOST_LOST_WORKERS = 5\n"),
    "scheduler/alerts.py": ("_TIMEOUT_SECONDS = 15\n", "_TIMEOUT_SECONDS = 45\n"),
    "scheduler/auth.py": ("LEAST_PASSWORD = 10\n", "LEAST_PASSWORD = 14\n"),
    "scheduler/node.py": ("_ALERTS_AT_ONCE = 4\n", "_ALERTS_AT_ONCE = 2\n"),
    "scheduler/schedule.py": ("_REFRESH_SECONDS = 60.0\n", "_REFRESH_SECONDS = 15.0\n"),
    "scheduler/settings.py": (
        "    heartbeat_seconds: Seconds = 2\n",
        "    heartbeat_seconds: Seconds = 3\n",
    ),
    "scheduler/masking.py": (
        '    return _SECRET.sub(r"\\1••••••", text)\n',
        '    without_rooms = text.replace("room 101", "a room")\n    return _SECRET.sub(r"\\1••••••", without_rooms)\n',
    ),
    "scheduler/dashboard/words.py": (
        '    RunState.ENQUEUED: "waiting",\n',
        '    RunState.ENQUEUED: "in the queue of acme",\n',
    ),
    "scheduler/dashboard/templates/jobs.html": ("  <h1>Jobs</h1>\n", "  <h1>Jobs of acme</h1>\n"),
    "scheduler/outcome.py": (
        "    result = _result(ending)\n    record = _Record(ending, claim, server)\n",
        '    logging.getLogger("acme.audit").info("ended on %s", server)\n    result = _result(ending)\n    record = _Record(ending, claim, server)\n',
    ),
}
IMPORTED = ("scheduler/outcome.py", "import random\n", "import logging\nimport random\n")


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projects")
    older_projects.unpack("0.1", folder)
    return folder


@pytest.fixture(params=[("acme-jobs", "src/acme_jobs"), ("shop", "shop")], ids=["project", "app"])
def package(request, projects, tmp_path, monkeypatch):
    """Copy a project of 0.1 without edits; return its package folder."""
    project, code = request.param
    root = tmp_path / project
    shutil.copytree(projects / project, root)
    monkeypatch.chdir(root)
    return root / code


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def upgrade() -> Result:
    """Regenerate; for conflicts take the generator's text, which saves the person's text aside."""
    result = targcc_gen("regenerate")
    if result.exit_code == 3:
        result = targcc_gen("regenerate", "--generated", ".")
    assert result.exit_code == 0, result.output
    return result


def lost(root: Path, lines: list[str], output: str) -> list[str]:
    """Return the lines that are neither in the code nor saved at a reported place."""
    code = [
        path.read_text(encoding="utf-8")
        for path in root.rglob("*.*")
        if path.is_file() and path.suffix in {".py", ".html"} and ".targcc" not in path.parts
    ]
    kept = [
        path.read_text(encoding="utf-8")
        for path in (root / ".targcc/kept").rglob("*.diff")
        if path.relative_to(root).as_posix() in output
    ]
    return [
        line
        for line in lines
        if not any(line.strip() in text for text in code)
        and not any(f"+{line}" in text for text in kept)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("package")
def test_an_unedited_project_comes_along_without_a_word():
    result = targcc_gen("regenerate")
    assert result.exit_code == 0
    assert "conflict" not in result.stdout
    assert not Path(".targcc/kept").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.slow
def test_every_edited_line_is_in_the_tree_or_kept_and_named(package):
    written = []
    for path, (old, new) in EDITS.items():
        edit(package / path, old, new)
        written += [line for line in new.splitlines() if line not in old.splitlines()]
    path, old, new = IMPORTED
    edit(package / path, old, new)
    written.append("import logging")
    job = package / "jobs/heartbeat.py"
    edit(
        job,
        "        return JobResult",
        '        note = "a line in a job"\n        return JobResult',
    )
    services = package / "services.py"
    addition = "\n\nclass OrderRepository:\n    table = 'acme_orders'\n"
    services.write_text(
        services.read_text(encoding="utf-8") + addition, encoding="utf-8", newline="\n"
    )
    written.append("table = 'acme_orders'")

    result = upgrade()

    assert lost(Path.cwd(), written, result.output) == []
    assert 'note = "a line in a job"' in job.read_text(encoding="utf-8")
    assert "    table = 'acme_orders'\n" in services.read_text(encoding="utf-8")
    assert targcc_gen("regenerate", "--check").exit_code == 0
    for module in package.rglob("*.py"):
        compile(module.read_text(encoding="utf-8"), module, "exec")


@pytest.mark.slow
def test_what_a_project_got_once_follows(projects, tmp_path, monkeypatch):
    shutil.copytree(projects / "acme-jobs", tmp_path / "acme-jobs")
    monkeypatch.chdir(tmp_path / "acme-jobs")
    pyproject, ignore = Path("pyproject.toml"), Path(".gitignore")
    edit(pyproject, '  "uvicorn>=0.35",\n', '  "uvicorn>=0.35",\n  "polars>=1",\n')
    ignore.write_text(ignore.read_text(encoding="utf-8") + "exports/\n", encoding="utf-8")
    result = upgrade()
    assert (
        "merge     pyproject.toml" in result.stdout
        or ".targcc/kept/pyproject.toml.diff" in result.stdout
    )
    assert '  "polars>=1",\n' in pyproject.read_text(encoding="utf-8")
    assert ignore.read_text(encoding="utf-8").endswith("exports/\n")
    fresh = tmp_path / "fresh"
    targcc_gen("new", str(fresh), "--yes", "--name", "acme-jobs", "--scheduler", "vendored")
    for path in (
        "Dockerfile",
        "compose.yaml",
        "README.md",
        "src/acme_jobs/main.py",
        "src/acme_jobs/services.py",
    ):
        assert Path(path).read_bytes() == (fresh / path).read_bytes(), path
    assert targcc_gen("regenerate", "--check").exit_code == 0
    # Rewritten imports do not count as a person's edit: removing an unedited job leaves nothing behind.
    assert targcc_gen("job", "--remove", "DailySalesReport").exit_code == 0
    assert not Path("tests/jobs/test_daily_sales_report.py").exists()
    assert not Path(".targcc/removed").exists()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("black", "--quiet", "-l", "88", "src"), marks=pytest.mark.soak),
        pytest.param(("black", "--quiet", "-l", "100", "src"), marks=pytest.mark.soak),
        ("ruff", "format", "--quiet", "--no-cache", "src"),
        ("ruff", "check", "--fix-only", "--quiet", "--no-cache", "src"),
        pytest.param(
            (
                *[
                    "ruff",
                    "check",
                    "--fix-only",
                    "--quiet",
                    "--no-cache",
                    "--isolated",
                    "--select",
                    "ALL",
                    "src",
                ],
            ),
            marks=pytest.mark.soak,
        ),
    ],
    ids=" ".join,
)
def test_a_project_that_was_only_formatted_has_no_conflict(
    projects, tmp_path, monkeypatch, command
):
    shutil.copytree(projects / "acme-jobs", tmp_path / "acme-jobs")
    monkeypatch.chdir(tmp_path / "acme-jobs")
    subprocess.run([sys.executable, "-m", *command], check=False)
    result = targcc_gen("regenerate")
    assert result.exit_code == 0, result.output
    assert "conflict" not in result.stdout
    assert not Path(".targcc/kept").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
