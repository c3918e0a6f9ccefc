"""Add the dependency where a project declares its dependencies, in the project's style; removal restores every byte."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from targcc_gen.dependencies.declare import Texts, declare, undeclare
from targcc_gen.dependencies.dependency import Dependency, index_dependency
from targcc_gen.patch.prepare import exclusions, image_notes
from targcc_gen.render.package import Origin

WHEEL = "vendor/targcc_scheduler-1.0-py3-none-any.whl"
NEEDED = [Dependency("targcc-scheduler", ("run",), "==1.0", WHEEL)]
RUNS_ON = [
    index_dependency(requirement)
    for requirement in ("alembic>=1.16", "Click>=8.2,<9", "sqlalchemy[asyncio]>=2.1")
]
PIN = '"targcc-scheduler[run]==1.0"'
SOURCE = f'targcc-scheduler = {{ path = "{WHEEL}" }}\n'
POETRY = f'targcc-scheduler = {{ path = "{WHEEL}", extras = ["run"] }}\n'

PLACES: dict[str, tuple[str, str, str, str]] = {
    "pep621": (
        "pyproject.toml",
        '[project]\ndependencies = [\n  "fastapi>=0.1",  # web\n  "b",\n]\n\n[tool.black]\n',
        f'"fastapi>=0.1",  # web\n  {PIN},\n  "b",\n',
        "--find-links vendor",
    ),
    "uv sources": (
        "pyproject.toml",
        '[project]\ndependencies = ["b"]\n\n[tool.uv.sources]\nb = { path = "b" }\n\n[tool.x]\n',
        f'b = {{ path = "b" }}\n{SOURCE}\n[tool.x]\n',
        "uv sync",
    ),
    "no list yet": (
        "pyproject.toml",
        '[project]\nname = "x"\n',
        f"dependencies = [\n  {PIN},\n]\n",
        "--find-links vendor",
    ),
    "the extra with FastAPI": (
        "pyproject.toml",
        '[project]\ndependencies = ["b"]\n[project.optional-dependencies]\nweb = ["fastapi[standard]", "c"]\n',
        f'web = ["fastapi[standard]", {PIN}, "c"]\n',
        "",
    ),
    "the group with FastAPI": (
        "pyproject.toml",
        '[project]\ndependencies = []\n[dependency-groups]\nweb = ["FastAPI"]\n',
        f'web = ["FastAPI", {PIN}]\n',
        "",
    ),
    "pdm": (
        "pyproject.toml",
        '[project]\ndependencies = ["fastapi"]\n[tool.pdm]\n',
        f'"targcc-scheduler[run] @ file:///${{PROJECT_ROOT}}/{WHEEL}"]\n[tool.pdm]\n',
        "pdm install",
    ),
    "poetry": (
        "pyproject.toml",
        '[tool.poetry]\nname = "x"\n\n[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\n\n[build-system]\n',
        f'fastapi = "*"\n{POETRY}\n[build-system]\n',
        "poetry install",
    ),
    "poetry's group": (
        "pyproject.toml",
        '[tool.poetry]\nname = "x"\n[tool.poetry.group.web.dependencies]\nfastapi = "*"\n',
        f'fastapi = "*"\n{POETRY}',
        "poetry install",
    ),
    "poetry with PEP 621": (
        "pyproject.toml",
        '[project]\ndependencies = ["fastapi"]\n[tool.poetry]\npackages = []\n',
        f"[tool.poetry.dependencies]\n{POETRY}",
        "poetry install",
    ),
    "requirements.txt": (
        "requirements.txt",
        "a\nFastAPI[all]==1\nb",
        f"FastAPI[all]==1\n./{WHEEL}[run]\nb",
        "-r requirements.txt",
    ),
    "requirements.in": ("requirements.in", "a\n", f"a\n./{WHEEL}[run]\n", "pip-compile"),
    "a folder of them": (
        "requirements/base.txt",
        "a\nfastapi",
        f"fastapi\n./{WHEEL}[run]",
        "-r requirements/base.txt",
    ),
    "Pipfile": (
        "Pipfile",
        '[packages]\nfastapi = "*"\n\n[dev-packages]\n',
        f'targcc-scheduler = {{file = "./{WHEEL}", extras = ["run"]}}\n\n[dev-packages]\n',
        "pipenv install",
    ),
    "setup.cfg": (
        "setup.cfg",
        "[options]\ninstall_requires =\n    fastapi\n    b\n\n[flake8]\n",
        "    b\n    targcc-scheduler[run]==1.0\n\n[flake8]\n",
        "--find-links vendor",
    ),
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("name", PLACES)
def test_the_dependency_is_declared_and_undeclared(tmp_path: Path, name: str, ends: str):
    path, text, after, install = PLACES[name]
    before = text.replace("\n", ends).encode()
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(before)

    declaration = declare(Texts(tmp_path), NEEDED)

    assert (declaration.path, declaration.before, declaration.lines) == (path, before, ())
    assert after.replace("\n", ends).encode() in declaration.after
    assert install in declaration.install
    (tmp_path / path).write_bytes(declaration.after)
    assert undeclared(tmp_path, NEEDED) == [(path, declaration.after, before)]


def undeclared(
    root: Path, needed: Sequence[Dependency], path: str = ""
) -> list[tuple[str, bytes, bytes]]:
    texts = Texts(root)
    undeclare(texts, needed, path)
    return [*texts.changes()]


@pytest.mark.parametrize("name", PLACES)
def test_what_a_copy_runs_on_is_declared_in_the_same_list(tmp_path: Path, name: str):
    """Keep the list's order, skip dependencies that the project declares itself, and restore every byte on removal."""
    path, text, _, _ = PLACES[name]
    before = text.encode()
    (tmp_path / path).parent.mkdir(exist_ok=True)
    for new in (RUNS_ON, [RUNS_ON[0], RUNS_ON[2]]):
        (tmp_path / path).write_bytes(before)

        declaration = declare(Texts(tmp_path), RUNS_ON)

        assert (declaration.path, declaration.added) == (
            path,
            tuple(dependency.pinned for dependency in new),
        )
        assert declaration.present == tuple(
            dependency.pinned for dependency in RUNS_ON if dependency not in new
        )
        assert "find-links" not in declaration.install
        shown = [declaration.after.find(dependency.name.encode()) for dependency in new]
        assert -1 not in shown
        assert shown == sorted(shown)
        if path.endswith(".toml") or path == "Pipfile":
            tomllib.loads(declaration.after.decode())
        (tmp_path / path).write_bytes(declaration.after)
        assert undeclared(tmp_path, new, path) == [(path, declaration.after, before)]
        assert undeclared(tmp_path, new, "other.txt") == []
        (tmp_path / path).write_bytes(text.encode())
        # as if the project declared this dependency itself
        before = declare(Texts(tmp_path), RUNS_ON[1:2]).after


def test_distributions_are_known_by_their_whole_name(tmp_path: Path):
    (tmp_path / "requirements.txt").write_text("click-plugins\nSQLAlchemy ~= 2.0\nalembic.x\n")

    declaration = declare(Texts(tmp_path), RUNS_ON)

    assert declaration.added == ("alembic>=1.16", "Click>=8.2,<9")
    (tmp_path / "requirements.txt").write_bytes(declaration.after)
    assert undeclared(tmp_path, RUNS_ON[:2])[0][2] == declaration.before


def test_where_people_told_uv_of_a_fork_it_stays(tmp_path: Path):
    fork = 'targcc-scheduler = { path = "../fork" }\n'
    text = f'[project]\ndependencies = ["fastapi"]\n\n[tool.uv.sources]\n{fork}'
    (tmp_path / "pyproject.toml").write_text(text)

    declaration = declare(Texts(tmp_path), NEEDED)

    assert declaration.after.decode() == text.replace('"fastapi"', f'"fastapi", {PIN}')
    (tmp_path / "pyproject.toml").write_bytes(declaration.after)
    assert undeclared(tmp_path, NEEDED)[0][2].decode() == text


def test_the_file_that_requires_fastapi_is_the_one(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.fastapi]\n")
    (tmp_path / "requirements.txt").write_text("fastapi\n")

    assert declare(Texts(tmp_path), NEEDED).path == "requirements.txt"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("setup.py", "setup(install_requires=['fastapi'])\n"),
        ("requirements.txt", "fastapi==1 --hash=sha256:aa\n"),
        ("pyproject.toml", "[project]\ndynamic = ['dependencies']\n"),
        ("pyproject.toml", "[project\n"),
        ("setup.cfg", "[options]\ninstall_requires = file: requirements.txt\n"),
        ("requirements.txt", "fastapi\r\nb\n"),
    ],
)
def test_where_no_file_can_be_edited_the_line_is_said(tmp_path: Path, path: str, text: str):
    (tmp_path / path).write_bytes(text.encode())

    declaration = declare(Texts(tmp_path), NEEDED)

    assert (declaration.path, declaration.lines) == ("", (f"./{WHEEL}[run]",))


TOOLS = ("black", "isort", "mypy", "pyright", "pylint", "flake8")


def test_the_projects_own_tools_are_told_to_leave_the_source_alone(tmp_path: Path):
    tools: dict[str, object] = {name: {} for name in TOOLS}

    hints = exclusions(tmp_path, {"tool": tools})

    assert len(hints) == len(tools)
    assert all("vendor" in line.rpartition(": ")[2] for line in hints)
    assert exclusions(tmp_path, {}) == []
    (tmp_path / ".flake8").touch()
    (tmp_path / "setup.cfg").write_text("[mypy]\n")
    assert exclusions(tmp_path, {}) == [
        "setup.cfg: keep mypy out of vendor/targcc-scheduler: exclude = ^vendor/",
        ".flake8: keep flake8 out of vendor/targcc-scheduler: extend-exclude = vendor",
    ]


SOURCE_TREE = Dependency("targcc-scheduler", ("run",), "==1.0", "vendor/targcc-scheduler")
GIT = Dependency(
    "targcc-scheduler",
    ("run",),
    origin=Origin("https://git.example.com/gen", commit="a" * 40, folder="templates/scheduler"),
)
FILE = Dependency(
    "targcc-scheduler", ("run",), origin=Origin("https://x.example.com/s.whl", sha256="b" * 64)
)
AT_GIT = f"git+https://git.example.com/gen@{'a' * 40}#subdirectory=templates/scheduler"
SPELLED = {
    "uv": (
        "pyproject.toml",
        '[project]\ndependencies = ["fastapi"]\n\n[tool.uv]\n',
        'targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }',
        f'"targcc-scheduler[run] @ {AT_GIT}"',
    ),
    "requirements": (
        "requirements.txt",
        "fastapi\n",
        "-e ./vendor/targcc-scheduler[run]",
        f"targcc-scheduler[run] @ {AT_GIT}",
    ),
    "poetry": (
        "pyproject.toml",
        '[tool.poetry.dependencies]\nfastapi = "*"\n',
        'targcc-scheduler = { path = "vendor/targcc-scheduler", develop = true, extras = ["run"] }',
        f'git = "https://git.example.com/gen", rev = "{"a" * 40}", subdirectory = "templates/scheduler"',
    ),
    "pipfile": (
        "Pipfile",
        '[packages]\nfastapi = "*"\n',
        'targcc-scheduler = {path = "./vendor/targcc-scheduler", editable = true, extras = ["run"]}',
        f'ref = "{"a" * 40}", subdirectory = "templates/scheduler"',
    ),
}


@pytest.mark.parametrize("tool", SPELLED)
def test_a_folder_and_a_repository_are_declared_as_each_tool_has_them(tmp_path: Path, tool: str):
    path, before, folder, repository = SPELLED[tool]
    (tmp_path / path).write_text(before)
    for needed, line in ((SOURCE_TREE, folder), (GIT, repository), (FILE, "b" * 64)):
        texts = Texts(tmp_path)
        declared = declare(texts, [needed])
        assert declared.path == path
        assert line in declared.after.decode()
        undeclare(texts, [needed])
        assert texts.read(path) == before.encode()


@pytest.mark.parametrize(
    ("dockerfile", "line"),
    [
        ("FROM python:3.13\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n", 3),
        ("FROM python:3.13\nCOPY pyproject.toml \\\n  uv.lock ./\nRUN --mount=type=cache,target=/c \\\n  uv sync --locked\n", 4),
        ("FROM python:3.13\nCOPY . .\nRUN pip install -r requirements.txt\n", None),
        ("FROM python:3.13\nCOPY requirements.txt vendor ./\nRUN pip install -r requirements.txt\n", None),
        ("FROM python:3.13\nRUN pip install uv\nCOPY ./ /app\nRUN uv sync\n", None),
        ("FROM python:3.13\nCOPY --from=build /vendor /opt\nRUN poetry install\n", 3),
    ],
)  # fmt: skip
def test_an_image_that_installs_before_it_has_the_wheel_is_named(tmp_path, dockerfile, line):
    (tmp_path / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    notes = image_notes(tmp_path)
    assert [note.partition(": ")[0] for note in notes] == ([f"Dockerfile:{line}"] if line else [])
