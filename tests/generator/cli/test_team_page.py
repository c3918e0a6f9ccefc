"""The blueprint and the override from the page for teams work."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "teams.md"
STEP = re.compile(
    r"^<!-- (?P<how>file|add to): (?P<path>\S+) -->\n```\w+\n(?P<text>.*?)^```$"
    r"|^```console\n(?P<commands>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def targcc_gen(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="targcc-gen")
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.usefixtures("processes")
def test_the_page_makes_a_blueprint_and_an_override(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chapter = PAGE.read_text(encoding="utf-8").partition("## A blueprint of your own")[2]
    output = ""
    for step in STEP.finditer(chapter):
        if step["commands"] is None:
            place = Path(step["path"])
            place.parent.mkdir(parents=True, exist_ok=True)
            before = place.read_text(encoding="utf-8") if step["how"] == "add to" else ""
            place.write_text(before + step["text"], encoding="utf-8")
            continue
        for line in step["commands"].splitlines():
            command = shlex.split(line.removeprefix("$ "))
            if command[0] == "cd":
                monkeypatch.chdir(command[1])
            else:
                assert command[0] == "targcc-gen", line
                output += targcc_gen(*command[1:])

    assert "feed: it is right (blueprints/feed)" in output
    assert "feed              Reads a feed  (blueprints/feed)" in output
    assert "they read no files, reach no network and run no Python" in output
    assert '+LABEL team="feeds"' in output
    assert Path("Dockerfile").read_text(encoding="utf-8").endswith('\nLABEL team="feeds"\n')
    targcc_gen("regenerate", "--check")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/jobs/test_nightly_feed.py"],
        env={"PYTHONPATH": "src", "PATH": "", "SYSTEMROOT": "C:\\Windows"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "team/app"
    (root.parent / ".git").mkdir(parents=True)
    folder = root / "blueprints/feed"
    folder.mkdir(parents=True)
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if step["how"] == "file":
            place = root / step["path"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(step["text"], encoding="utf-8")
    (root / "templates/overrides/Dockerfile.jinja").unlink()
    (root / "targcc.yaml").write_text(
        "targcc: 1\nproject: {name: app}\nscheduler: package\nblueprints: [./blueprints]\n"
        "jobs:\n  Nightly: {type: manual, blueprint: feed}\n"
    )
    monkeypatch.chdir(root)
    return root


def test_a_change_upstream_is_due_like_an_upgrade(project):
    targcc_gen("regenerate")
    part = project / "blueprints/feed/job.py.jinja"
    part.write_text(part.read_text().replace("two", "three"))

    output = targcc_gen("regenerate", "--check", status=1)

    assert "template  blueprints/feed  changed: jobs that are there keep their text" in output
    assert "first time" not in output
    assert '"changed_templates"' in targcc_gen("regenerate", "--json")
    targcc_gen("regenerate", "--check")
    assert "three" not in (project / "src/app/jobs/nightly.py").read_text()


def test_an_organisation_has_blueprints_and_overrides_for_all_its_projects(project):
    team = project.parent
    (project / "blueprints").rename(team / "ours")
    override(team, "Dockerfile.jinja", "{{ original }}# ours\n")
    (team / "org.yaml").write_text("blueprints: [ours]\ndefaults: {retries: 9}\n")
    spec = project / "targcc.yaml"
    spec.write_text(spec.read_text().replace("blueprints: [./blueprints]", "extends: ../org.yaml"))

    output = targcc_gen("regenerate")

    assert "  ../ours/feed\n  ../templates/overrides/Dockerfile.jinja\n" in output
    assert (project / "Dockerfile").read_text().endswith("\n# ours\n")
    assert "retries=9" in (project / "src/app/scheduler.py").read_text()
    assert "feed              Reads a feed  (../ours/feed)" in targcc_gen("blueprints")
    targcc_gen("regenerate", "--check")


def test_a_job_of_an_environment_is_not_removed_behind_its_back(project):
    spec = project / "targcc.yaml"
    spec.write_text(
        f"{spec.read_text()}environments: {{staging: {{jobs: {{Nightly: {{retries: 0}}}}}}}}\n"
    )

    output = targcc_gen("job", "--remove", "Nightly", status=2)

    assert "take environments.staging.jobs.Nightly out of targcc.yaml first" in output


@pytest.mark.parametrize(
    ("part", "old", "new", "problem"),
    [
        ("job.py.jinja", "return JobResult", "return JobResult(", "job.py.jinja: it makes no Python"),
        ("job.py.jinja", "{{ job.parameters }}", "", "execute does not take {{ job.parameters }}: sample_id"),
        ("job.py.jinja", "{{ job.docstring }}", "{{ job.docstrin }}", "job.py.jinja:8: "),
        ("job.py.jinja", '["one", "two"]', "['one', 'two']", "is not in black's style"),
        ("job.py.jinja", "{{ job.class_name }}", "Other", "it makes no class {{ job.class_name }}"),
        ("blueprint.yaml", "[lines, len]", "[lines]", "taken lacks len"),
        ("blueprint.yaml", "summary", "sumary", "it has no summary"),
        ("blueprint.yaml", "retries: 5", "retris: 5", "defaults: "),
        ("blueprint.yaml", "taken:", "tokens:", "unknown key tokens"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_is_wrong_with_a_blueprint_is_said(part, old, new, problem):
    place = Path("blueprints/feed") / part
    place.write_text(place.read_text().replace(old, new))

    output = targcc_gen("blueprints", "check", status=1)

    assert problem in output


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ project.__init__.__globals__ }}",
        "{{ job.__class__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{% for n in range(1000000000) %}{% endfor %}",
        "{{ 'x' | center(1000000000) }}",
        "{{ cycler }}",
        "{{ joiner() }}",
        "{{ lipsum(1000) }}",
        "{{ nothing }}",
        "{% if %}",
    ],
)
def test_a_template_reaches_nothing_outside(template):
    from targcc_gen.errors import InputError
    from targcc_gen.render.jinja import rendered

    with pytest.raises(InputError, match=r"^here:1: "):
        rendered("here", template, {"project": {"name": "app"}, "job": object()})


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda root: (root / "blueprints/feed/job.py.jinja").unlink(), "there is no such file"),
        (lambda root: (root / "blueprints/feed").rename(root / "blueprints/Feed"), "lower-case letters"),
        (lambda root: (root / "blueprints/feed").rename(root / "blueprints/report"), "has a blueprint report itself"),
        (lambda root: (root / "blueprints/feed/test.py.jinja").write_bytes(b"x" * 300_000), "is larger than 200 kB"),
        (lambda root: link(root / "blueprints/feed/test.py.jinja", "/etc/passwd"), "is no regular file"),
        (lambda root: (root / "blueprints").rename(root / "elsewhere"), "targcc.yaml:4:14: error[TG404]: there is no such folder"),
        (lambda root: link(root / "blueprints", "/etc", move=True), "targcc.yaml:4:14: error[TG404]: the folder is outside"),
        (lambda root: override(root, "targcc.yaml"), "is not a team's to replace"),
        (lambda root: override(root, "src/{{ package }}/jobs/x.py"), "is not a team's to replace"),
        (lambda root: override(root, ".targcc/lock.jsonl"), "is not a file of the project"),
        (lambda root: override(root, ".git/hooks/post-checkout"), "is not a file of the project"),
        (lambda root: override(root, "a.txt.jinja", "{{ x.y }}"), "templates/overrides/a.txt.jinja:1: 'x' is undefined"),
    ],
)  # fmt: skip
def test_hostile_blueprints_and_overrides_are_refused(project, make, problem):
    make(project)

    assert problem in targcc_gen("regenerate", status=2)
    assert not (project / "src").exists()


def link(path: Path, target: str, *, move: bool = False) -> None:
    path.rename(path.with_name("moved")) if move else path.unlink()
    path.symlink_to(target)


def override(root: Path, path: str, text: str = "x\n") -> None:
    place = root / "templates/overrides" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
