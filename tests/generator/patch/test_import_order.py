"""The inserted import stands where the host's isort or ruff wants it, and undo restores every byte."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.cli.commands.patch import patch

APP = "app = FastAPI()\n"
STANDARD = "import os\nfrom pathlib import Path\n\n"
THIRD = "from fastapi import FastAPI\n"
OURS = "from shop.scheduler import scheduler_router\n"
USES = '\nprint(os.name, Path("."))\n'

# The head of shop/main.py before and after the patch; the app's own modules are `shop.db` and `tools`.
HEADS = {
    "a block of its own below the packages": (
        f"{STANDARD}{THIRD}\n",
        f"{STANDARD}{THIRD}\nfrom shop.scheduler import scheduler_router\n\n",
    ),
    "sorted into the block of the app's own packages": (
        f"{STANDARD}{THIRD}\nimport tools\nfrom shop.db import a\nfrom shop.work import b\n\n",
        f"{STANDARD}{THIRD}\nimport tools\nfrom shop.db import a\n{OURS}from shop.work import b\n\n",
    ),
    "first in that block, above its comment": (
        f"{THIRD}\n# ours\nfrom shop.work import b\n\n",
        f"{THIRD}\nfrom shop.scheduler import scheduler_router\n\n# ours\nfrom shop.work import b\n\n",
    ),
    "sorted among relative imports": (
        f"{THIRD}\nfrom . import db\nfrom .work import b\n\n",
        f"{THIRD}\nfrom . import db\nfrom .scheduler import scheduler_router\nfrom .work import b\n\n",
    ),
    "before relative imports of a parent": (
        f"{THIRD}\nfrom .work import b\n\n",
        f"{THIRD}\nfrom .scheduler import scheduler_router\nfrom .work import b\n\n",
    ),
    "below imports over several lines": (
        f"{STANDARD}from fastapi import (\n    FastAPI,\n)\n\n",
        f"{STANDARD}from fastapi import (\n    FastAPI,\n)\n\nfrom shop.scheduler import scheduler_router\n\n",
    ),
}


def project(root: Path, head: str, settings: str = "") -> Path:
    """Create the project with the package `shop` and the module `tools`."""
    used = USES if "import os" in head else ""
    files = {
        "pyproject.toml": f'[project]\nname = "shop"\nversion = "1"\ndependencies = ["fastapi"]\n{settings}',
        "tools.py": "",
        "shop/__init__.py": "",
        "shop/db.py": "a = 1\n",
        "shop/work.py": "b = 1\n",
        "shop/main.py": f"{head}{APP}{used}",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def patched(root: Path, *words: str) -> str:
    result = CliRunner().invoke(patch, ["--project", str(root), "--no-verify", *words])
    assert result.exit_code == 0, result.output
    return (root / "shop/main.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HEADS)
def test_the_import_stands_in_its_section_and_is_undone(tmp_path: Path, name: str):
    before, after = HEADS[name]
    root = project(tmp_path, before)
    text = (root / "shop/main.py").read_bytes()

    assert patched(root).startswith(f"{after}{APP}")

    result = CliRunner().invoke(patch, ["--project", str(root), "--undo"])
    assert result.exit_code == 0, result.output
    assert (root / "shop/main.py").read_bytes() == text


@pytest.mark.parametrize(
    ("settings", "imported"),
    [
        (
            "[tool.ruff.lint.isort]\nforce-sort-within-sections = true\n",
            "from shop.work import b\nimport tools\n",
        ),
        (
            "[tool.isort]\nforce_sort_within_sections = true\n",
            "from shop.work import b\nimport tools\n",
        ),
    ],
)
def test_imports_that_are_sorted_together_stay_so(tmp_path: Path, settings: str, imported: str):
    root = project(tmp_path, f"{THIRD}\n{imported}\n", settings)

    text = patched(root)

    assert f"from shop.scheduler import scheduler_router\n{imported}" in text


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("prefix", ["", "/ops"])
def test_ruff_has_nothing_to_say_about_the_order_of_imports(tmp_path: Path, prefix: str):
    """All heads are patched, and ruff's rule I001 passes before and after."""
    roots = [project(tmp_path / str(index), head) for index, (head, _) in enumerate(HEADS.values())]
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I"]

    def report() -> str:
        files = [str(root / "shop/main.py") for root in roots]
        return "".join(
            subprocess.run(
                [*check, "shop/main.py"], cwd=root, capture_output=True, text=True, check=False
            ).stdout
            for root in roots[: len(files)]
        )

    assert "I001" not in report()
    for root in roots:
        patched(root, *(["--prefix", prefix] if prefix else []))
    assert "I001" not in report(), report()


@pytest.mark.usefixtures("processes")
def test_settings_of_the_repository_hold_for_a_project_below_it(tmp_path: Path):
    """ruff reads the nearest settings above a file, and their `src` begins at their folder: the example's framework is first-party."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src/fastapi").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.ruff]\nsrc = ["src"]\n', encoding="utf-8")
    root = project(tmp_path / "examples/shop", f"{STANDARD}{THIRD}\n")
    check = (sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "I", "shop/main.py")
    run = partial(subprocess.run, check, cwd=root, capture_output=True, text=True, check=False)
    assert run().returncode == 0

    text = patched(root)

    assert f"{THIRD}from shop.scheduler import scheduler_router\n" in text
    assert run().returncode == 0, run().stdout


# Settings of the app, a head of shop/main.py that keeps to them, and the tool that has the settings.
STYLES = {
    "one name an import": (
        "[tool.ruff.lint.isort]\nforce-single-line = true\n",
        "import os\nfrom pathlib import Path\n\nfrom fastapi import Depends\nfrom fastapi import FastAPI\n\nfrom shop.work import b\n\n",
        "ruff",
    ),
    "two lines below the imports": (
        "[tool.ruff.lint.isort]\nlines-after-imports = 2\n",
        f"{THIRD}\nfrom shop.db import a\n\n\n",
        "ruff",
    ),
    "names without regard to their kind": (
        "[tool.ruff.lint.isort]\norder-by-type = false\nforce-sort-within-sections = true\n",
        f"{THIRD}\nfrom shop.work import b\nimport tools\n\n",
        "ruff",
    ),
    "a first-party name": (
        '[tool.ruff.lint.isort]\nknown-first-party = ["shop"]\n',
        f"{STANDARD}{THIRD}\n",
        "ruff",
    ),
    "the package named as third-party": (
        '[tool.ruff.lint.isort]\nknown-third-party = ["shop"]\n',
        f"{STANDARD}{THIRD}from shop.work import b\n\n",
        "ruff",
    ),
    "relative imports, the closest first": (
        '[tool.ruff.lint.isort]\nrelative-imports-order = "closest-to-furthest"\n',
        f"{THIRD}\nfrom .db import a\n\n",
        "ruff",
    ),
    "a line between both kinds of imports": (
        "[tool.ruff.lint.isort]\nlines-between-types = 1\n",
        f"{THIRD}\nimport tools\n\n",
        "ruff",
    ),
    "isort without a profile": (
        "[tool.isort]\nknown_first_party = ['shop', 'tools']\n",
        f"{THIRD}\nimport tools\nfrom shop.db import a\n\n",
        "isort",
    ),
    "isort without a comma": (
        "[tool.isort]\nmulti_line_output = 3\nforce_grid_wrap = 2\nline_length = 79\n",
        f"{THIRD}\nfrom shop.db import a\n\n",
        "isort",
    ),
    **{
        profile: (
            f'[tool.isort]\nprofile = "{profile}"\n',
            f"{THIRD}\nfrom shop.db import a\n\n",
            "isort",
        )
        for profile in ("black", "django")
    },
    **{
        profile: (
            f'[tool.isort]\nprofile = "{profile}"\n',
            f"{THIRD}\nfrom shop.db import a\n\n\n",
            "isort",
        )
        for profile in ("attrs", "pycharm")
    },
    **{
        profile: (
            f'[tool.isort]\nprofile = "{profile}"\n',
            f"{THIRD}\nfrom shop.work import b\nimport tools\n\n",
            "isort",
        )
        for profile in ("google", "open_stack", "appnexus")
    },
}
COVERAGE = "[tool.coverage.report]\nfail_under = 90\n"


def checked(root: Path, tool: str) -> subprocess.CompletedProcess[str]:
    """Check the order of all imports of an app, without what no isort reads: the wheel and the settings of the generator."""
    words = {
        "ruff": ("ruff", "check", "--no-cache", "--select", "I"),
        "isort": ("isort", "--check-only", "--diff"),
    }
    command = (sys.executable, "-m", *words[tool], "shop", "tests")
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", STYLES)
def test_new_files_and_the_inserted_import_keep_to_the_settings_of_the_app(
    tmp_path: Path, name: str
):
    """isort or ruff passes before the patch and after; the files count as the generator's, and undo restores the app."""
    settings, head, tool = STYLES[name]
    root = project(tmp_path, head, f"{settings}{COVERAGE}")
    (root / "tests").mkdir()
    (root / "tests/test_shop.py").write_text("import shop.main\n", encoding="utf-8")
    text = (root / "shop/main.py").read_bytes()
    before = checked(root, tool)
    assert before.returncode == 0, before.stdout

    patched(root)

    after = checked(root, tool)
    assert after.returncode == 0, after.stdout
    assert {path.name for path in (root / "tests").iterdir()} > {"test_shop.py"}
    up_to_date = CliRunner().invoke(main, ["regenerate", "--check", "--project", str(root)])
    assert up_to_date.exit_code == 0, up_to_date.output
    job = CliRunner().invoke(main, ["job", "DailyReport", "--every", "1h", "--project", str(root)])
    assert job.exit_code == 0, job.output
    assert checked(root, tool).returncode == 0, checked(root, tool).stdout
    removed = CliRunner().invoke(main, ["job", "DailyReport", "--remove", "--project", str(root)])
    assert removed.exit_code == 0, removed.output

    result = CliRunner().invoke(main, ["patch", "--project", str(root), "--undo"])

    assert result.exit_code == 0, result.output
    assert (root / "shop/main.py").read_bytes() == text
    assert not (root / "shop/scheduler.py").exists(), result.output
