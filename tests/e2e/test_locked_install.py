"""CI workflow and image of a project install exactly the locked packages, each checked by its hash."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rendered_projects import WAYS
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform == "win32", reason="the workflow runs on Linux"),
]

LOCK = "requirements.lock"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Version as from setup-uv; a path would lead out of the project's environment."""


def rendered(folder: Path, way: str, extra: str = "") -> Path:
    spec = f"targcc: 1\nproject: {{name: acme-jobs}}\nscheduler: {way}\n{extra}"
    apply(make_plan(render_project(parse_spec(spec), spec_text=spec), folder / "acme-jobs"))
    return folder / "acme-jobs"


def run(root: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=root,
        env=clean | {"UV_PYTHON": VERSION} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def workflow(root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the commands of a project's workflow on GitHub or GitLab, and its variables."""
    gitlab = root / ".gitlab-ci.yml"
    if gitlab.exists():
        jobs = yaml.safe_load(gitlab.read_text(encoding="utf-8"))
        check = jobs["check"]
        commands = [*check["before_script"], *check["script"], *jobs["regenerate"]["script"]]
        return [line for line in commands if not line.startswith("pip install")], check["variables"]
    text = (root / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["check"]
    return [step["run"] for step in job["steps"] if "run" in step], job["env"]


def install(root: Path) -> str:
    """Run the steps before the first tool; return the output of the failed step, or an empty text."""
    commands, variables = workflow(root)
    for command in commands:
        if "uv run" in command:
            return ""
        done = run(root, command, **variables)
        if done.returncode:
            return done.stdout + done.stderr
    return ""


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Wheels of the generator and the scheduler, as the comment in the workflow says."""
    folder = tmp_path_factory.mktemp("dist")
    repository = Path(__file__).resolve().parents[2]
    subprocess.run(
        ["uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder],
        cwd=repository,
        check=True,
    )
    return folder


def installed(root: Path) -> set[str]:
    """Return the packages installed from an index; scheduler and project are installed from files."""
    return set(re.findall(r"^[\w.-]+==\S+", run(root, "uv pip freeze").stdout, re.MULTILINE))


def locked(root: Path) -> set[str]:
    return set(
        re.findall(r"^[\w.-]+==\S+", (root / LOCK).read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("way", WAYS)
def test_what_is_installed_is_what_the_lock_names(way, tmp_path):
    root = rendered(tmp_path, way)
    assert install(root) == ""
    assert installed(root) <= locked(root)
    output = run(root, "uv run targcc --version", UV_NO_SYNC="1").stdout
    assert output.startswith("acme-jobs, targcc-scheduler ")
    assert way in output


def test_another_file_than_the_one_that_was_locked_is_refused(tmp_path):
    root = rendered(tmp_path, "vendored")
    lock = root / LOCK
    first, rest = lock.read_text(encoding="utf-8").split("\naiosqlite", 1)
    forged = re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", first)
    lock.write_text(f"{forged}\naiosqlite{rest}", encoding="utf-8")
    assert "aiosmtplib" in install(root)


def built(root: Path) -> str:
    """Run the Dockerfile lines that install the dependencies; return the output on failure, or an empty text."""
    dockerfile = (root / "Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"uv pip install -r (?:.*\\\n)+.*", dockerfile)
    done = run(root, f"uv venv --clear; {command}")
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("way", "extra"),
    [
        ("package", ""),
        ("package", "ci: gitlab\nchecks: strict\n"),
        ("vendored", "checks: strict\n"),
        ("vendored", "ci: gitlab\n"),
    ],
)
def test_the_first_push_is_green(way, extra, tmp_path, dist):
    jobs = "jobs: {Daily: {cron: '0 2 * * *', blueprint: heartbeat}}\n"
    root = rendered(tmp_path, way, extra + jobs)
    for wheel in dist.glob("targcc_gen-*.whl" if way == "package" else "*.whl"):
        shutil.copy(wheel, root / "vendor")
    commands, variables = workflow(root)
    assert commands[-1].startswith("uvx ")
    for command in commands:
        done = run(root, command, **variables)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_the_package_is_built_by_what_the_lock_names(tmp_path):
    root = rendered(tmp_path, "vendored")
    lock = root / LOCK
    text = lock.read_text(encoding="utf-8")
    lock.write_text(re.sub("(?m)^hatchling==[0-9.]+", "hatchling==1.0", text), encoding="utf-8")
    (build,) = re.findall(
        r"uv pip install --no-deps .*", (root / "Dockerfile").read_text(encoding="utf-8")
    )
    assert "hatchling==1.0" in run(root, f"uv venv; {build}").stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_image_has_what_the_lock_names(way, tmp_path):
    root = rendered(tmp_path, way)
    assert built(root) == ""
    assert installed(root) <= locked(root)
    assert not any(requirement.startswith("black==") for requirement in installed(root))


@pytest.mark.parametrize("installs", [install, built])
def test_a_requirement_that_the_lock_lacks_is_named(installs, tmp_path):
    root = rendered(tmp_path, "vendored")
    pyproject = root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(
        text.replace("dependencies = [", 'dependencies = [\n  "tabulate",', 1), encoding="utf-8"
    )
    assert "tabulate" in installs(root)


APPLICATIONS = Path(__file__).resolve().parents[1] / "data" / "applications"


def own_workflow(root: Path) -> str:
    """Return the commands of an application's workflow, and the line that docs/patch.md adds, as a shell script."""
    page = (APPLICATIONS.parents[2] / "docs" / "patch.md").read_text(encoding="utf-8")
    github, gitlab = re.findall(r"^- (?:run: )?(uvx .*)$", page, re.MULTILINE)
    if (root / ".gitlab-ci.yml").exists():
        check = yaml.safe_load((root / ".gitlab-ci.yml").read_text(encoding="utf-8"))["check"]
        return "\n".join([*check["before_script"], *check["script"], "pip install uv", gitlab])
    text = (root / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["check"]
    variables = [f"export {name}={value}" for name, value in job["env"].items()]
    return "\n".join([*variables, *(step["run"] for step in job["steps"] if "run" in step), github])


@pytest.mark.parametrize(
    ("name", "words", "install"),
    [("orders", "", "uv sync"), ("prefixed", "--prefix /ops", "")],
    ids=["github", "gitlab"],
)
def test_the_first_push_of_a_patched_application_is_green(name, words, install, tmp_path, dist):
    """Patch and commit as a developer does; run the application's own workflow in a clone."""
    root, clone = tmp_path / name, tmp_path / "clone" / name
    shutil.copytree(APPLICATIONS / name, root, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
    commit = f"""
        git init -q && {Path(sys.executable).with_name("targcc-gen")} patch --no-verify {words}
        {install}
        cp {dist}/targcc_gen-*.whl vendor
        printf '.venv\n__pycache__\n*.db\n' > .gitignore
        git add . && git -c user.name=dev -c user.email=dev@example.com commit -qm "Add the scheduler"
        git clone -q . {clone}
    """
    done = run(root, commit)
    assert done.returncode == 0, done.stdout + done.stderr

    done = run(clone, f"set -x; {own_workflow(clone)}")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "regenerate --check" in done.stderr
    assert (clone / "targcc.yaml").is_file()
