"""A project whose requirements exclude the scheduler is told before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from targcc_gen.cli import main
from targcc_gen.dependencies.fit import meet
from targcc_gen.dependencies.required import poetry_versions

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"


def patch(root: Path, files: dict[str, str]) -> tuple[int, str, bool]:
    """Patch an app with these files; return exit status, output, and whether anything was written."""
    for path, text in {"shop/__init__.py": "", "shop/main.py": MAIN, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    result = CliRunner().invoke(main, ["patch", "--no-verify", "--project", str(root)])
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return result.exit_code, result.output, before != after


PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
REFUSED = {
    "an upper bound": (
        {"pyproject.toml": f'{PROJECT}dependencies = ["fastapi", "pydantic<2"]\n'},
        "pyproject.toml  pydantic<2: the scheduler needs pydantic>=",
    ),
    "a pin in a list for pip": (
        {"requirements.txt": "fastapi\nSQLAlchemy==1.4.54  # the last of 1.4\n"},
        "requirements.txt  SQLAlchemy==1.4.54: the scheduler needs sqlalchemy>=",
    ),
    "a caret of Poetry": (
        {
            "pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.12"\nfastapi = "*"\nclick = {version = "^7.1", extras = []}\n'
        },
        'pyproject.toml  click = "^7.1": the scheduler needs click>=',
    ),
    "a Pipfile": (
        {"Pipfile": '[packages]\nfastapi = "*"\nhttpx = "==0.13.*"\n'},
        'Pipfile  httpx = "==0.13.*": the scheduler needs httpx>=',
    ),
    "setup.cfg": (
        {"setup.cfg": "[options]\ninstall_requires =\n    fastapi\n    jinja2<3\n"},
        "setup.cfg  jinja2<3: the scheduler needs jinja2>=",
    ),
    "a range of Python that uv locks": (
        {"pyproject.toml": f'{PROJECT}requires-python = ">=3.9"\n', "uv.lock": ""},
        'requires-python = ">=3.9": the scheduler needs Python 3.11 or later; ">=3.11" fits',
    ),
    "a Python that is too old": (
        {"pyproject.toml": f'{PROJECT}requires-python = ">=3.8,<3.11"\n'},
        'requires-python = ">=3.8,<3.11": the scheduler needs Python 3.11 or later',
    ),
    "Poetry's Python": (
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.10"\nfastapi = "*"\n'},
        'python = "^3.10": the scheduler needs Python 3.11 or later; ">=3.11,<4" fits',
    ),
    "an old patch release of Python": (
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "3.10.14"\nfastapi = "*"\n'},
        'pyproject.toml  python = "3.10.14": the scheduler needs Python 3.11 or later',
    ),
    "a file of pyenv": (
        {"requirements.txt": "fastapi\n", ".python-version": "3.10.14\n"},
        ".python-version  3.10: the scheduler needs Python 3.11 or later",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_said_before_anything_is_written(name, tmp_path: Path):
    files, line = REFUSED[name]

    status, output, written = patch(tmp_path, files)

    assert (status, written) == (2, False), output
    assert "error[TG607]: the scheduler does not fit the project's requirements" in output
    assert line in output
    assert "Nothing was written." in output


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path):
    files = {
        "pyproject.toml": f'{PROJECT}requires-python = ">=3.9"\ndependencies = ["pydantic<2", "jinja2<2"]\n[tool.uv]\n'
    }
    assert patch(tmp_path, files)[1].count("the scheduler needs") == 3


FITS = {
    "open bounds": f'{PROJECT}dependencies = ["fastapi>=0.100", "pydantic>=2,<3", "rich"]\n',
    "an older Python for pip": f'{PROJECT}requires-python = ">=3.9"\ndependencies = ["fastapi"]\n',
    "another system": f'{PROJECT}dependencies = ["fastapi", "pydantic<2; python_version < \'3.9\'"]\n',
    "an address": f'{PROJECT}dependencies = ["fastapi", "pydantic @ https://example.com/p.whl"]\n',
    "a patch release of Python": '[tool.poetry.dependencies]\npython = "3.11.7"\nfastapi = "*"\n',
    "a release to come": f'{PROJECT}dependencies = ["fastapi", "pydantic>=99"]\n',
}


@pytest.mark.parametrize("name", FITS)
def test_what_may_fit_is_left_to_the_installer(name, tmp_path: Path):
    status, output, written = patch(tmp_path, {"pyproject.toml": FITS[name]})

    assert (status, written) == (0, True), output


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("<0.30", ">=0.35", False),
        ("<=0.35", ">=0.35", True),
        ("<0.35", ">=0.35", False),
        ("==0.34.*", ">=0.35", False),
        ("==0.35.*", ">=0.35", True),
        ("~=0.34.1", ">=0.35", False),
        ("~=0.34", ">=0.35", True),
        (">=3.11", ">=3.8,<3.11", False),
        (">0.34,<0.36", ">=0.35", True),
        (">2,<3", ">=2.0,<2.5", True),
        ("!=0.35", ">=0.35", True),
        ("", ">=1", True),
        ("==1.4.54", ">=2.0", False),
        (">=3.0,<4", "<3.0", False),
        ("==2.0.0rc1", ">=1", True),
    ],
)
def test_two_ranges_of_versions_meet(left, right, expected):
    assert meet(SpecifierSet(left), SpecifierSet(right)) is expected
    assert meet(SpecifierSet(right), SpecifierSet(left)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("^1.2", ">=1.2,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2"),
        ("1.2.3", "==1.2.3"),
        (">=1,<2", ">=1,<2"),
        ("*", ""),
    ],
)
def test_constraints_of_poetry(text, expected):
    assert poetry_versions(text) == SpecifierSet(expected)
