"""Derive project, package and module of an app file from its folders and imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from targcc_gen.errors import InputError
from targcc_gen.patch.app_file import AppFile, Source
from targcc_gen.patch.apps import find_file
from targcc_gen.patch.layout import Layout, find_layout, find_root

APP = "from fastapi import FastAPI\napp = FastAPI()\n"


def write(root: Path, *paths: str, **texts: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(
            APP if path.endswith(("main.py", "app.py")) else "", encoding="utf-8"
        )
    for name, text in texts.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")


def layout_of(root: Path, path: str, text: str = APP, module: str | None = None) -> Layout:
    return find_layout(AppFile(Source(path, text.encode())), root / path, root, module)


@pytest.mark.parametrize(
    ("files", "path", "module", "package", "inside"),
    [
        (
            ["src/shop/__init__.py", "src/shop/main.py"],
            "src/shop/main.py",
            "shop.main",
            "shop",
            "src",
        ),
        (["shop/__init__.py", "shop/main.py"], "shop/main.py", "shop.main", "shop", "."),
        (["shop/__init__.py"], "shop/__init__.py", "shop", "shop", "."),
        (
            ["src/shop/__init__.py", "src/shop/web/__init__.py", "src/shop/web/app.py"],
            "src/shop/web/app.py",
            "shop.web.app",
            "shop.web",
            "src",
        ),
        (
            ["backend/app/__init__.py", "backend/app/main.py"],
            "backend/app/main.py",
            "app.main",
            "app",
            "backend",
        ),
        (["main.py"], "main.py", "main", "", "."),
        (["src/main.py"], "src/main.py", "main", "", "src"),
    ],
)
def test_init_files_say_where_the_package_begins(tmp_path, *, files, path, module, package, inside):
    write(tmp_path, *files)
    layout = layout_of(tmp_path, path)
    assert (layout.module, layout.package, layout.inside) == (module, package, inside)


@pytest.mark.parametrize(
    ("line", "module", "inside"),
    [
        ("from .db import connect", "app.main", "."),
        ("from app.db import connect", "app.main", "."),
        ("from db import connect", "main", "app"),
    ],
)
def test_without_init_files_the_imports_say_it(tmp_path, line, module, inside):
    write(tmp_path, "app/main.py", "app/db.py")
    layout = layout_of(tmp_path, "app/main.py", f"{line}\n{APP}")
    assert (layout.module, layout.inside) == (module, inside)


@pytest.mark.parametrize("line", ["from .db import connect", "from src.db import connect"])
def test_a_src_folder_may_itself_be_the_package(tmp_path, line):
    write(tmp_path, "src/main.py", "src/db.py", "src/shop/web.py")
    layout = layout_of(tmp_path, "src/main.py", f"{line}\n{APP}")
    assert (layout.module, layout.inside) == ("src.main", ".")
    nested = layout_of(tmp_path, "src/shop/web.py", f"from src.db import connect\n{APP}")
    assert (nested.module, nested.inside) == ("src.shop.web", ".")


def test_a_file_that_may_be_imported_in_two_ways_is_refused_until_app_says_which(tmp_path):
    write(tmp_path, "app/main.py")
    with pytest.raises(InputError, match=r"it may be imported as app.main or as main") as caught:
        layout_of(tmp_path, "app/main.py")
    assert "--app app.main:app or --app main:app" in (caught.value.hint or "")
    assert layout_of(tmp_path, "app/main.py", module="app.main").inside == "."
    assert layout_of(tmp_path, "app/main.py", module="main").inside == "app"


def test_app_that_names_another_module_is_refused(tmp_path):
    write(tmp_path, "app/main.py")
    with pytest.raises(InputError, match=r"app/main.py is not the file of that module"):
        layout_of(tmp_path, "app/main.py", module="shop.main")


def test_a_file_outside_the_project_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    write(tmp_path, "main.py")
    with pytest.raises(InputError, match="is not in the project"):
        find_layout(
            AppFile(Source("main.py", APP.encode())), tmp_path / "main.py", tmp_path / "inner"
        )


def test_the_nearest_spec_is_the_project_then_the_nearest_pyproject(tmp_path):
    write(tmp_path, "pyproject.toml", "api/requirements.txt", "api/app/main.py")
    assert find_root(tmp_path / "api/app/main.py") == tmp_path / "api"
    write(tmp_path, "targcc.yaml")
    assert find_root(tmp_path / "api/app/main.py") == tmp_path


def test_the_only_file_that_makes_an_app_is_found(tmp_path):
    write(
        tmp_path,
        "src/shop/main.py",
        "tests/main.py",
        ".venv/lib/main.py",
        "env311/pyvenv.cfg",
        "env311/app.py",
    )
    write(
        tmp_path,
        broken="from fastapi import FastAPI\napp = FastAPI(\n",
        plain="print('fastapi (')\n",
    )
    write(tmp_path, test_main=APP, conftest=APP)
    assert find_file(tmp_path) == tmp_path / "src/shop/main.py"


def test_the_error_of_the_only_file_that_could_make_one_is_told(tmp_path):
    write(tmp_path, main="from fastapi import FastAPI\napp = FastAPI(\n")
    with pytest.raises(InputError, match=r"^main.py:2:14: error: '\(' was never closed"):
        find_file(tmp_path)


def test_files_of_the_scheduler_itself_do_not_count(tmp_path):
    write(tmp_path, "main.py")
    write(tmp_path, managed=f"# Managed by targcc-gen: regenerate merges your edits\n{APP}")
    assert find_file(tmp_path) == tmp_path / "main.py"


def test_several_files_are_listed(tmp_path):
    write(tmp_path, "a/main.py", "b/app.py")
    with pytest.raises(InputError, match=r"2 files .*\n  a/main.py\n  b/app.py") as caught:
        find_file(tmp_path)
    assert caught.value.hint == "Name the one to patch: targcc-gen patch a/main.py"


def test_no_file_is_said(tmp_path):
    with pytest.raises(InputError, match="makes a FastAPI app"):
        find_file(tmp_path)


def test_the_module_of_app_is_the_file(tmp_path):
    write(tmp_path, "src/shop/main.py", "src/shop/__init__.py", "src/other/main.py")
    assert find_file(tmp_path, "shop.main") == tmp_path / "src/shop/main.py"
    with pytest.raises(InputError, match=r"no file is that module\n  shop/admin.py"):
        find_file(tmp_path, "shop.admin")
