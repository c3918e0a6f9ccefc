"""A whole project in memory: complete, the same on every machine, with an owner for each file."""

import ast
import re
import shutil
import subprocess
import tomllib

import pytest
import targcc_scheduler
import yaml
from jinja2 import Environment
from schema_scripts import scripts
from targcc_gen import assets
from targcc_gen.render import Owner, Tree, TreeFile, render_project
from targcc_gen.render.package import package_files
from targcc_gen.render.python_source import formatted
from targcc_gen.render.tree import LOCK_PATH
from targcc_gen.render.wheel import wheel_path
from targcc_gen.spec import parse_spec
from targcc_scheduler import Project
from targcc_scheduler.db.migrations.upgrade import sql_script

HEADER = b"Managed by targcc-gen"


def spec_with(more: str = "", project: str = ""):
    return parse_spec(
        f"targcc: 1\nproject: {{name: acme-jobs{project}}}\njobs:\n  A: {{type: manual}}\n{more}"
    )


@pytest.fixture(scope="module")
def tree() -> Tree:
    return render_project(spec_with())


def test_the_same_spec_gives_the_same_tree(tree):
    assert render_project(spec_with()) == tree


def test_every_managed_text_file_says_so_in_its_first_lines(tree):
    quiet = (".json", ".svg", ".min.js", "LICENSE.txt", "LICENSE", "py.typed", ".whl")
    for file in [*tree, *render_project(spec_with("scheduler: vendored\n"))]:
        head = file.content.split(b"\n", 2)[:2]
        has_header = any(HEADER in line for line in head)
        assert has_header == (
            file.owner is Owner.MANAGED and not file.path.endswith(quiet)
        ), file.path


def test_what_people_write_is_theirs(tree):
    yours = {file.path for file in tree if file.owner is Owner.SCAFFOLD}
    assert yours >= {
        "README.md",
        "pyproject.toml",
        "src/acme_jobs/jobs/a.py",
        "src/acme_jobs/main.py",
        "src/acme_jobs/services.py",
        "targcc.yaml",
        "tests/jobs/test_a.py",
    }
    assert not any("scheduler" in path for path in yours)


def test_nothing_of_the_template_is_left(tree):
    for file in tree:
        assert "{{" not in file.path
        assert not file.path.endswith((".jinja", "copier.yml", ".pyc"))


def test_every_text_file_ends_its_lines_with_lf(tree):
    for file in tree:
        assert b"\r\n" not in file.content or b"\0" in file.content, file.path


def test_a_template_with_crlf_gives_the_same_project(tree, tmp_path, monkeypatch):
    template = tmp_path / "template"
    shutil.copytree(assets.project_template(), template)
    for path in template.rglob("*"):
        if path.is_file() and b"\0" not in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(assets, "project_template", lambda: template)
    assert render_project(spec_with()) == tree


def project_of(tree: Tree) -> Project:
    """Return the project value in the rendered scheduler module."""
    source = tree.files["src/acme_jobs/scheduler.py"].content.decode()
    [call] = re.findall(r"^configure\(\n.*?^\)\n", source, re.MULTILINE | re.DOTALL)
    projects: list[Project] = []
    exec(call, {"configure": projects.append, "Project": Project})
    return projects[0]


def test_the_scheduler_is_told_what_the_spec_says():
    text = """\
database: postgresql
queues: {default: {workers: 2}, slow: {workers: 1}}
defaults: {retries: 1, backoff: 90s, timeout: 2h, queue: slow}
"""
    for scheduler in ("vendored", "package"):
        tree = render_project(
            spec_with(f"{text}scheduler: {scheduler}\n", ", timezone: Asia/Jerusalem")
        )
        assert project_of(tree) == Project(
            name="acme-jobs",
            package="acme_jobs",
            timezone="Asia/Jerusalem",
            database_url="postgresql://localhost/acme_jobs",
            queues={"default": 2, "slow": 1},
            queue="slow",
            retries=1,
            backoff="1m30s",
            timeout="2h",
        )


def test_the_scheduler_is_told_of_a_queue_that_is_limited_on_all_nodes(tree):
    limited = render_project(spec_with("queues: {tasks: {workers: 2, concurrency: 1}}\n"))

    assert project_of(limited).queue_limits == {"tasks": 1}
    assert project_of(tree).queue_limits == {}
    assert b"queue_limits" not in tree.files["src/acme_jobs/scheduler.py"].content[-900:]


ORDERED = """\
queues:
  critical: {pool: main, weight: 5}
  bulk: {pool: main, aging: 5m}
pools:
  main: {workers: 10}
"""
STAGING = """\
environments:
  staging:
    pools: {main: {workers: 2, order: strict}}
    queues: {bulk: {aging: 1m}}
"""


def test_the_scheduler_is_told_which_queues_share_workers_and_what_waiting_counts(tree):
    source = (
        render_project(spec_with(ORDERED + STAGING)).files["src/acme_jobs/scheduler.py"].content
    )
    assert b"pools" not in tree.files["src/acme_jobs/scheduler.py"].content[-900:]

    queues = {"critical": 5, "bulk": 1}
    project = project_of(render_project(spec_with(ORDERED)))
    assert project.queues == {"default": 5, "critical": 10, "bulk": 10}
    assert project.queue_aging == {"bulk": 300}
    assert project.pools == {"main": {"workers": 10, "order": "weighted", "queues": queues}}
    flat = b" ".join(source.split())
    assert b'"queue_aging": {"bulk": 60}' in flat
    assert b'"main": {"workers": 2, "order": "strict"' in flat


def test_sqlite_is_the_default(tree):
    assert project_of(tree).database_url == "sqlite:///acme_jobs.db"
    assert project_of(tree).timeout is None


def test_the_source_is_the_distribution_but_for_a_line_that_says_whose_it_is():
    tree = render_project(spec_with("scheduler: vendored\n"))
    files = {f"targcc_scheduler/{path}": content for path, content in package_files()}
    folder = assets.scheduler_distribution()
    files |= {name: (folder / name).read_bytes() for name in ("pyproject.toml", "README.md")}
    for path, content in files.items():
        rendered = tree.files[f"vendor/targcc-scheduler/{path}"].content
        head, _, rest = rendered.partition(b"\n")
        assert content in {rendered, rest, rest.removeprefix(b"\n")}, path
        assert content == rendered or HEADER in head


def test_a_project_on_the_package_has_few_files():
    tree = render_project(spec_with())
    assert len(tree) + len([LOCK_PATH]) <= 28
    assert wheel_path() in tree.files
    assert not [path for path in tree.files if path.startswith("docs/")]


def test_the_module_of_the_scheduler_offers_the_public_names_in_both_ways():
    for way in ("package", "vendored"):
        tree = render_project(spec_with(f"scheduler: {way}\n"))
        module = ast.parse(tree.files["src/acme_jobs/scheduler.py"].content)
        [names] = [
            ast.literal_eval(statement.value)
            for statement in module.body
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
        ]
        imported = [
            alias.name
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom) and node.module == "targcc_scheduler"
            for alias in node.names
        ]
        assert names == targcc_scheduler.__all__
        assert sorted(imported) == sorted(names)


def test_the_schema_is_what_alembic_prints():
    for database in ("sqlite", "postgresql", "mssql"):
        tree = render_project(spec_with(f"database: {database}\n"))
        [path] = [name for name in tree.files if name.startswith("migrations/scheduler.")]
        assert path == f"migrations/scheduler.{database}.sql"
        text = tree.files[path].content.decode()
        assert text.partition("\n\n")[2] == sql_script(database)


@pytest.mark.parametrize("name", ["scheduler.mssql.sql", "roles.mssql.sql"])
def test_the_scripts_for_sql_server_are_those_of_this_release(name):
    tree = render_project(spec_with("database: mssql\n"))
    assert tree.files[f"migrations/{name}"].content.decode() == dict(scripts())[name]


def test_only_a_project_on_sql_server_has_the_scripts_of_its_dba(tree):
    names = {path for path in tree.files if path.endswith(".sql")}
    on_server = render_project(spec_with("database: mssql\n"))
    assert names == {"migrations/scheduler.sqlite.sql"}
    assert {path for path in on_server.files if path.endswith(".sql")} == {
        f"migrations/{name}.mssql.sql" for name in ("database", "roles", "scheduler")
    }


def test_a_project_on_sql_server_requires_the_driver_and_starts_on_a_server():
    tree = render_project(spec_with("database: mssql\n"))
    pyproject = tree.files["pyproject.toml"].content.decode()
    requirement = tomllib.loads(pyproject)["project"]["dependencies"][0]
    assert requirement.startswith("targcc-scheduler[mssql,run]")
    assert project_of(tree).database_url == "mssql://localhost/acme_jobs"
    environment = tree.files[".env.example"].content.decode()
    assert "#TARGCC_DATABASE_URL=mssql://user:password@host/name\n" in environment
    dockerfile = tree.files["Dockerfile"].content.decode()
    assert "--extra mssql" in dockerfile
    assert "libltdl7" in dockerfile


def test_the_containers_of_a_project_on_sql_server_start_in_order():
    tree = render_project(spec_with("database: mssql\n"))
    services = yaml.safe_load(tree.files["compose.yaml"].content)["services"]
    assert services["database"]["image"].startswith("mcr.microsoft.com/mssql/server:")
    assert "sqlcmd" in services["database"]["healthcheck"]["test"][1]
    assert services["setup"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert services["migrate"]["depends_on"] == {
        "setup": {"condition": "service_completed_successfully"}
    }
    [mounted] = services["setup"]["volumes"]
    script = tree.files[mounted.removeprefix("./").partition(":")[0]].content.decode()
    assert "SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE" in script
    [variables] = [
        line for line in services["setup"]["command"][2].splitlines() if "export" in line
    ]
    assert all(f"{name}=" in variables for name in re.findall(r"\$\((\w+)\)", script))


def test_progress_is_told_job_by_job():
    reports = []
    render_project(
        spec_with("  B: {type: manual}\n"),
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports == [(1, 2), (2, 2)]


def test_an_app_that_was_there_before_keeps_its_own_files():
    tree = render_project(spec_with("scheduler: vendored\n", ", package: shop, inside: src"))
    assert "vendor/targcc-scheduler/targcc_scheduler/__init__.py" in tree.files
    assert "src/shop/scheduler.py" in tree.files
    assert "targcc.yaml" in tree.files
    assert not {"README.md", "pyproject.toml", "src/shop/main.py"} & tree.files.keys()
    assert not any(path.startswith("migrations/") for path in tree.files)


def test_an_app_that_was_there_before_gets_few_files_and_the_wheel_with_the_package():
    tree = render_project(spec_with(project=", package: shop, inside: src"))
    assert len(tree) <= 10
    assert wheel_path() in tree.files


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "C:/x", "a\\b", "a.", ".targcc/lock.jsonl", ".git/x"]
)  # fmt: skip
def test_a_tree_has_only_paths_that_are_safe_everywhere(path):
    with pytest.raises(ValueError, match=r"is not|is no|leaves"):
        Tree.of([TreeFile(path, b"", Owner.MANAGED)])


def test_two_paths_that_are_one_on_some_systems_are_refused():
    files = [TreeFile("a/Job.py", b"", Owner.MANAGED), TreeFile("a/job.py", b"", Owner.MANAGED)]
    with pytest.raises(ValueError, match="one file on some systems"):
        Tree.of(files)


@pytest.mark.parametrize("scheduler", ["vendored", "package"])
@pytest.mark.parametrize("queues", [1, 12])
def test_the_file_that_is_made_for_the_project_is_as_black_leaves_it(scheduler, queues):
    names = ", ".join(f"queue-{number}: {{workers: 2}}" for number in range(queues))
    tree = render_project(spec_with(f"scheduler: {scheduler}\nqueues: {{{names}}}\n"))
    source = tree.files["src/acme_jobs/scheduler.py"].content.decode()
    assert formatted(source) == source


def test_a_template_is_compiled_once_for_all_projects(monkeypatch):
    compiled = []
    generate = Environment._generate
    monkeypatch.setattr(
        Environment,
        "_generate",
        lambda self, source, name, *rest, **options: compiled.append(name)
        or generate(self, source, name, *rest, **options),
    )
    for name in ("first-jobs", "second-jobs", "third-jobs"):
        before = len(compiled)
        text = f"targcc: 1\nproject:\n  name: {name}\n"
        readme = render_project(parse_spec(text), spec_text=text).files["README.md"].content
        assert name in readme.decode()
    assert len(compiled) == before


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("rules", ["", "F,RUF100", "E,F,I,W,UP,PL,TC,RUF"])
def test_the_public_names_count_as_used_whatever_rules_a_project_selects(tree, tmp_path, rules):
    """A `noqa` counts as unused (RUF100) where its rule is not selected: the module needs none."""
    [file] = [file for file in tree if file.path.endswith("/scheduler.py")]
    (tmp_path / "scheduler.py").write_bytes(file.content)
    assert b"noqa" not in file.content
    check = ("ruff", "check", "--isolated", "--no-cache", *(("--select", rules) if rules else ()))
    done = subprocess.run([*check, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
