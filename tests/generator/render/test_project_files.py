"""The files around a project's code are consistent with the code and with each other."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from targcc_gen.render import Owner, Tree, render_project
from targcc_gen.spec import load_spec
from targcc_scheduler.core.states import RunState
from targcc_scheduler.kernel.jobs.declaration import JobOptions

SPEC = Path(__file__).parents[2] / "data" / "e2e" / "every-blueprint.yaml"
PACKAGE = "vendor/targcc-scheduler/targcc_scheduler"
HEADER = re.compile("Managed by targcc-gen.*regenerate merges edits")


@pytest.fixture(scope="module")
def tree() -> Tree:
    return render_project(load_spec(SPEC).model_copy(update={"scheduler": "vendored"}))


@pytest.fixture(scope="module")
def texts(tree: Tree) -> dict[str, str]:
    return {file.path: file.content.decode() for file in tree if b"\0" not in file.content}


@pytest.mark.usefixtures("processes")
def test_python_m_package_is_the_command_line(tmp_path):
    for file in render_project(load_spec(SPEC)):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    [package] = (tmp_path / "src").iterdir()
    answers = [
        subprocess.run(
            [sys.executable, "-m", module, "--help"],
            capture_output=True,
            encoding="utf-8",
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": "src"},
        ).stdout
        for module in (package.name, f"{package.name}.scheduler")
    ]
    assert answers[0] == answers[1]
    assert "Usage: targcc" in answers[0]


def settings_of(source: str, prefix: str) -> set[str]:
    """Return the settings that a module declares, as environment variables."""
    classes = re.findall(
        r"^class \w+\(BaseSettings\):\n(.*?)(?=^\S)", source + "\n#", re.MULTILINE | re.DOTALL
    )
    names = re.findall(r"^    ([a-z_]+): ", "".join(classes), re.MULTILINE)
    return {f"{prefix}{name}".upper() for name in names}


def test_the_example_of_env_has_every_setting_and_no_other(texts):
    settings = settings_of(texts[f"{PACKAGE}/settings.py"], "TARGCC_")
    settings |= settings_of(texts[f"{PACKAGE}/services/settings.py"], "APP_")

    settings.add("TARGCC_DEV_DATABASE_URL")  # `targcc dev` reads it before there are settings
    explained = set(re.findall(r"^#?([A-Z][A-Z_]+)=", texts[".env.example"], re.MULTILINE))

    assert explained == settings


def test_every_managed_file_says_so_and_no_other_does(tree):
    plain = (".json", ".svg", ".mako", ".gitattributes", ".js", ".txt", ".typed", "LICENSE")
    for file in tree:
        if b"\0" in file.content or file.path.endswith(plain) or "static" in file.path:
            continue
        top = "\n".join(file.content.decode().splitlines()[:2])
        assert bool(HEADER.search(top)) == (file.owner is Owner.MANAGED), file.path


def test_the_readme_and_the_guides_link_to_files_that_are_there(texts):
    for path in (
        "README.md",
        f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md",
        f"{PACKAGE}/docs/MIGRATION_GUIDE.md",
    ):
        for link in re.findall(r"\]\(((?!http)[^)#]+)", texts[path]):
            assert (Path(path).parent / link).as_posix() in texts, f"{path}: {link}"


def test_the_guide_has_every_option_of_a_job(texts):
    guide = texts[f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md"]
    options = set(JobOptions.__annotations__) - {"left_spec"}  # set by the generator, not by people

    assert {option for option in options if f"{option}=" not in guide} == set()


def test_what_the_guide_keeps_black_out_of_has_what_the_project_keeps_it_out_of(texts):
    (pattern,) = re.findall(
        r'`extend-exclude = "(\^[^"]+)"`', texts[f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md"]
    )
    black = tomllib.loads(texts["pyproject.toml"])["tool"]["black"]
    path = "/vendor/targcc-scheduler/x.py"

    assert re.search(black["extend-exclude"], path)
    assert re.search(pattern, path)
    assert re.search(pattern, "/alembic/env.py")


def test_the_guide_has_every_state_of_a_run(texts):
    _, _, table = texts[f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md"].partition(
        "A run goes through these states:"
    )
    table, _, _ = table.partition("Useful SQL")

    assert set(re.findall(r"`([a-z]+)`", table)) == {str(state) for state in RunState}


def test_the_guides_have_what_waits_for_others(texts):
    hangfire = texts[f"{PACKAGE}/docs/MIGRATION_GUIDE.md"].partition("## From Hangfire")[2]

    assert [
        call for call in ("after=run", "scheduler.batch(", "limit={") if call not in hangfire
    ] == []
    assert (
        "TARGCC_UNKNOWN_AFTER" in texts[f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md"]
    )  # such a run waits


@pytest.mark.parametrize(
    "path", [f"{PACKAGE}/docs/JOB_DEVELOPMENT_GUIDE.md", f"{PACKAGE}/docs/MIGRATION_GUIDE.md"]
)
def test_a_guide_s_contents_lead_to_its_sections(texts, path):
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", texts[path], flags=re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}

    links = re.findall(r"\]\(#([^)]+)\)", texts[path])

    assert links
    assert set(links) <= anchors


@pytest.mark.parametrize(
    "path", ["compose.yaml", ".github/workflows/ci.yml", ".pre-commit-config.yaml"]
)
def test_a_yaml_file_is_one_whatever_the_project_is_called(texts, path):
    assert isinstance(yaml.safe_load(texts[path]), dict)


def test_ci_and_pre_commit_check_that_the_managed_files_follow_the_spec(texts):
    for path in (".github/workflows/ci.yml", ".pre-commit-config.yaml"):
        assert "targcc-gen regenerate --check" in texts[path]


def test_an_image_is_built_from_what_the_context_lets_through(texts):
    let_through = set(re.findall(r"^!(.+)$", texts[".dockerignore"], re.MULTILINE))

    assert {"src/", "pyproject.toml", "README.md"} <= let_through
    assert ".env" not in let_through


def test_what_an_image_and_a_check_are_made_of_has_exact_versions(texts):
    docker, workflow = texts["Dockerfile"], texts[".github/workflows/ci.yml"]
    images = re.findall(r"^(?:FROM|COPY --from=)\s*([a-z./-]+:\S+)", docker, re.MULTILINE)
    actions = re.findall(r"uses: (\S+)", workflow)
    programs = re.findall(r"uvx (?:--with \S+ )?(?:--from )?\"?([a-z-]+\S*)", workflow)

    assert len(images) == 3
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in images)
    assert len(actions) == 3
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in actions)
    assert len(programs) == 3
    assert all("==" in program or program.startswith("vendor/") for program in programs)


def test_an_image_is_installed_by_hashes_and_runs_without_rights(texts):
    build, last = re.split(r"^FROM ", texts["Dockerfile"], flags=re.MULTILINE)[1:]

    assert "--constraints requirements.lock" in build
    assert "grep -vxFf /tmp/locked" in build  # installs nothing outside the lock
    assert "/uv" not in last
    assert "pip" not in last
    assert last.index("useradd") < last.index("USER app") < last.index("CMD [")
    assert "HEALTHCHECK" in last


def test_containers_have_no_password_at_hand_and_reach_what_they_need(texts):
    compose = yaml.safe_load(texts["compose.yaml"])
    services = compose["services"]

    assert not re.search(
        r"\$\{|PASSWORD:|:[^@/\s]+@(?!database/jobs\" > secrets)", texts["compose.yaml"]
    )
    assert all(secret["file"].startswith("secrets/") for secret in compose["secrets"].values())
    assert "secrets/" in texts[".gitignore"].splitlines()
    assert compose["networks"]["database"] == {"internal": True}
    assert services["database"]["networks"] == ["database"]
    assert "ports" not in services["database"]
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"]
    for name in ("migrate", "web", "worker"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    for service in services.values():
        assert "no-new-privileges:true" in service["security_opt"]


def test_ci_may_read_and_nothing_else(texts):
    workflow = yaml.safe_load(texts[".github/workflows/ci.yml"])

    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    checkout = workflow["jobs"]["check"]["steps"][0]
    assert checkout["with"]["persist-credentials"] is False


def test_no_text_of_a_spec_stands_in_what_machines_run(texts):
    spec = load_spec(SPEC)
    hostile = 'x"; $(touch /tmp/x) `id` ${{ github.token }}\nRUN id\n- run: id'
    words = {"description": hostile, "display_name": hostile}
    jobs = {name: job.model_copy(update=words) for name, job in spec.jobs.items()}
    project = spec.project.model_copy(update={"description": hostile})
    changed = spec.model_copy(update={"project": project, "jobs": jobs, "scheduler": "vendored"})
    again = {
        file.path: file.content.decode()
        for file in render_project(changed)
        if b"\0" not in file.content
    }

    for path in (
        "Dockerfile",
        "compose.yaml",
        ".github/workflows/ci.yml",
        ".pre-commit-config.yaml",
    ):
        assert again[path] == texts[path]
    assert again["README.md"] != texts["README.md"]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_update_tools_find_versions_in_the_formats_that_they_read(ci):
    """The default patterns of Renovate's managers pep621, dockerfile, docker-compose, github-actions and gitlabci."""
    spec = load_spec(SPEC).model_copy(update={"ci": ci})
    texts = {
        file.path: file.content.decode()
        for file in render_project(spec)
        if b"\0" not in file.content
    }
    project = tomllib.loads(texts["pyproject.toml"])
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    images = re.findall(r"(?m)^(?:FROM|COPY --from=)\s*([^\s/]*[/\w.-]+:\S+)", texts["Dockerfile"])
    composed = yaml.safe_load(texts["compose.yaml"])["services"].values()
    images += [service["image"] for service in composed if "image" in service]
    if ci == "gitlab":
        jobs = yaml.safe_load(texts[".gitlab-ci.yml"]).values()
        images += [job["image"] for job in jobs]
    else:
        uses = re.findall(r"(?m)^ +- uses: (.*)$", texts[".github/workflows/ci.yml"])
        assert len(uses) == 3
        assert all(
            re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses
        )

    assert all(Requirement(text).specifier for group in groups for text in group)
    assert len(images) >= 4
    assert all(re.search(r":v?\d+(\.\d+)*(-\w+)?$", image) for image in images), images
    assert "uv.lock" not in texts[".gitignore"]
