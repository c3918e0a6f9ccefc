"""Only one command fetches blueprints from git; the copies are pinned, and nothing of a repository is trusted."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.errors import InputError
from targcc_gen.spec.library import Upstream, upstream_problem
from targcc_gen.sync import Lock, blueprint_repositories

FEED = {
    "blueprint.yaml": "summary: Reads a feed\ndocstring: Read the feed.\n",
    "job.py.jinja": """{{ job.module_docstring }}

from {{ package }}.scheduler import JobContext, JobResult, job


{{ job.decorator }}
class {{ job.class_name }}:
    {{ job.docstring }}

    async def execute(self, ctx: JobContext{{ job.parameters }}) -> JobResult:
        return JobResult.success("one")
""",
    "test.py.jinja": "",
}
SPEC = """\
targcc: 1
project: {name: app}
scheduler: package
blueprints: ["git+%s"]
jobs:
  Nightly: {type: manual, blueprint: feed}
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=env,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


def release(work: Path, tag: str, files: dict[str, str | None]) -> None:
    """Commit files, or links where the text begins with `->`, and push the commit with a tag."""
    for path, text in files.items():
        place = work / path
        place.unlink(missing_ok=True)
        if text is None:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            place.symlink_to(text.removeprefix("->"))
        else:
            place.write_text(text, encoding="utf-8", newline="\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", tag)
    git(work, "tag", tag)
    git(work, "push", "-q", "origin", "HEAD:main", tag)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """Return the URL of a bare repository with two valid releases and some invalid releases."""
    folder = tmp_path_factory.mktemp("upstream")
    git(folder, "init", "-q", "--bare", "team.git")
    git(folder, "clone", "-q", "team.git", "work")
    work = folder / "work"
    feed = {f"lib/feed/{name}": text for name, text in FEED.items()}
    hook = {".gitattributes": "* filter=evil\n", ".gitmodules": "[submodule]\n"}
    release(work, "v1", feed | hook | {"README.md": "ours\n"})
    job = "lib/feed/job.py.jinja"
    release(work, "v2", {job: feed[job].replace("one", "two")})
    release(work, "linked", {job: "->/etc/passwd"})
    release(work, "large", {job: "x" * 300_000})
    release(work, "lacking", {job: None})
    release(work, "named", {job: feed[job], "lib/Feed Me/blueprint.yaml": "x"})
    return (folder / "team.git").as_uri()


def targcc_gen(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="targcc-gen")
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.usefixtures("processes")
def test_a_repository_is_asked_by_fetch_alone_and_pinned(upstream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec, way = Path("targcc.yaml"), os.environ["PATH"]
    spec.write_text(SPEC % f"{upstream}@v1#lib")

    monkeypatch.setenv("PATH", "")  # without git on the path, any other call of git fails
    output = targcc_gen("regenerate", status=2)
    assert "targcc.yaml:4:14: error[TG404]: the project has no copy of it yet" in output
    assert "run: targcc-gen blueprints fetch" in output
    assert "git is not installed" in targcc_gen("blueprints", "fetch", status=2)
    monkeypatch.setenv("PATH", way)
    assert not targcc_gen("blueprints", "fetch", "--dry-run").count("Commit")
    assert not Path(".targcc").exists()
    data = json.loads(CliRunner().invoke(main, ["blueprints", "fetch", "--json"]).stdout)
    (commit,) = data["commits"].values()
    monkeypatch.setenv("PATH", "")
    output = targcc_gen("regenerate")
    assert "git+file:///" in output  # shown before the first use
    assert f"@v1#lib, {commit[:10]})" in targcc_gen("blueprints")
    targcc_gen("regenerate", "--check")
    assert Lock.load(tmp_path).templates[f"git+{upstream}#lib"] == commit
    assert 'success("one")' in Path("src/app/jobs/nightly.py").read_text()

    # Another release is requested: the existing copy is not of that release.
    spec.write_text(SPEC % f"{upstream}@v2#lib")
    assert "no copy of it yet" in targcc_gen("regenerate", "--check", status=2)
    monkeypatch.setenv("PATH", way)
    assert '+        return JobResult.success("two")' in targcc_gen("blueprints", "fetch", "--diff")
    output = targcc_gen("regenerate", "--check", status=1)
    assert f"template  git+{upstream}#lib  changed" in output
    targcc_gen("regenerate")
    assert "Nothing to do" in targcc_gen("blueprints", "fetch")

    # An edited copy is detected, and the next fetch restores the repository's text.
    (copy,) = Path(".targcc/blueprints").glob("team-*/feed/job.py.jinja")
    copy.write_text(copy.read_text().replace("two", "three"))
    assert "/feed  changed" in targcc_gen("regenerate", "--check", status=1)
    targcc_gen("blueprints", "fetch")
    targcc_gen("regenerate", "--check")

    # Pin by commit. Removing the blueprint from the spec removes the copy from the project.
    at = git(Path(upstream.removeprefix("file://")), "rev-parse", "v2")
    spec.write_text(SPEC % f"{upstream}@{at}#lib")
    targcc_gen("blueprints", "fetch")
    assert targcc_gen("blueprints").count(at[:10]) == 2
    spec.write_text("targcc: 1\nproject: {name: app}\nscheduler: package\n")
    targcc_gen("blueprints", "fetch")
    assert not Path(".targcc/blueprints").exists()


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        ("linked#lib", "feed/job.py.jinja is no regular file"),
        ("large#lib", "feed/job.py.jinja is larger than 200 kB"),
        ("lacking#lib", "it has no feed/job.py.jinja"),
        ("named#lib", "a blueprint's name is lower-case letters, digits and -: Feed Me"),
        ("v1", "it has no folders with a blueprint.yaml there"),
        ("v1#nowhere", "git says: fatal: "),
        ("v9#lib", "git says: fatal: "),
        ("main#lib", "git says: fatal: "),
        ("0123456789012345678901234567890123456789#lib", "git says: "),
    ],
)
def test_what_a_repository_has_is_not_trusted(upstream, ref, problem):
    with pytest.raises(InputError) as raised:
        blueprint_repositories.fetch(Upstream.parse(f"git+{upstream}@{ref}"))
    assert problem in raised.value.message


@pytest.mark.usefixtures("processes")
def test_a_repository_without_an_end_is_given_up(upstream, monkeypatch):
    source = Upstream.parse(f"git+{upstream}@v1#lib")
    monkeypatch.setattr(blueprint_repositories, "LARGEST_REPOSITORY", 100)
    with pytest.raises(InputError, match="it has more than 0 MB"):
        blueprint_repositories.fetch(source)
    monkeypatch.setattr(blueprint_repositories, "PATIENCE", 0.0)
    with pytest.raises(InputError, match="it takes longer than 0 s"):
        blueprint_repositories.fetch(source)


@pytest.mark.parametrize(
    "address",
    [
        "git+ext::sh -c touch% x@v1",
        "git+http://example.com/x@v1",
        "git+ssh://-oProxyCommand=x/y@v1",
        "git+ssh://-l@example.com/x@v1",
        "git+https://user:secret@example.com/x@v1",
        "git+https://example.com/-x@v1",
        "git+https://example.com/x@--upload-pack=x",
        "git+https://example.com/x@v1..v2",
        "git+https://example.com/x@v1:refs/heads/main",
        "git+https://example.com/x",
        "git+ssh://git@example.com/x",
        "git+https://example.com/x@v1#../..",
        "git+https://example.com/x@v1#/etc",
        "git+https://example.com/x@v1#-x",
        "git+file://host/x@v1",
        "git+https://example.com/x\n@v1",
        "git+https://example.com/" + "x" * 500 + "@v1",
        "git+",
    ],
)
def test_an_address_that_git_would_take_for_something_else_is_refused(address):
    assert upstream_problem(address) is not None


def test_addresses_are_read_into_their_parts():
    by_ssh = Upstream.parse("git+ssh://git@example.com:2222/~team/blue.git@v1.4#a/b")
    assert (by_ssh.url, by_ssh.ref, by_ssh.folder) == (
        "ssh://git@example.com:2222/~team/blue.git",
        "v1.4",
        "a/b",
    )
    assert by_ssh.place.startswith(".targcc/blueprints/blue-")
    in_file = Upstream.parse("git+file:///C:/team/blue.git@release/7")
    assert (in_file.url, in_file.ref, in_file.folder) == (
        "file:///C:/team/blue.git",
        "release/7",
        "",
    )
