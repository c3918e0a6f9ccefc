"""Layouts of imports in new files, from the settings of isort, ruff and black."""

from __future__ import annotations

from pathlib import Path

import pytest
from targcc_gen.render.package import SOURCE_TREE
from targcc_gen.sync.import_style import ImportStyle, laid_out, line_length, read_style

SOURCE = '''"""Jobs."""

from acme.zoo import beta, Alpha, LIMIT, a_name as other
import os
from .. import up
from acme.many import (
    one,
    two,
)
import acme.Base

import abc

if abc:
    from acme.rare import second, first

print(os)
'''
MANY = "from acme.many import (\n    one,\n    two,\n)\n"
ZOO = "from acme.zoo import LIMIT, Alpha, a_name as other, beta\n"
RARE = "    from acme.rare import first, second\n"
LAID_OUT: dict[str, tuple[ImportStyle, str, str]] = {
    "one name a line, but for a module": (
        ImportStyle(single_line=True, exclusions=frozenset({"acme.many"})),
        (
            "import acme.Base\nimport os\nfrom .. import up\n"
            f"{MANY}from acme.zoo import LIMIT\nfrom acme.zoo import Alpha\nfrom acme.zoo import a_name as other\nfrom acme.zoo import beta\n"
        ),
        "    from acme.rare import first\n    from acme.rare import second\n",
    ),
    "both kinds sorted together": (
        ImportStyle(mixed=True),
        f"from .. import up\nimport acme.Base\n{MANY}{ZOO}import os\n",
        RARE,
    ),
    "names sorted without their case": (
        ImportStyle(by_type=False),
        f"import acme.Base\nimport os\nfrom .. import up\n{MANY}from acme.zoo import a_name as other, Alpha, beta, LIMIT\n",
        RARE,
    ),
    "sorted by the text": (
        ImportStyle(by_text=True, mixed=True),
        f"from .. import up\nimport acme.Base\n{MANY}{ZOO}import os\n",
        RARE,
    ),
    "a line between the kinds": (
        ImportStyle(between=1),
        f"import acme.Base\nimport os\n\nfrom .. import up\n{MANY}{ZOO}",
        RARE,
    ),
    "short lines": (
        ImportStyle(length=38, comma=False, keeps=False),
        (
            "import acme.Base\nimport os\nfrom .. import up\nfrom acme.many import one, two\n"
            "from acme.zoo import (\n    LIMIT,\n    Alpha,\n    a_name as other,\n    beta\n)\n"
        ),
        "    from acme.rare import (\n        first,\n        second\n    )\n",
    ),
    "a grid": (
        ImportStyle(length=39, mode=0, comma=False, keeps=False),
        (
            "import acme.Base\nimport os\nfrom .. import up\nfrom acme.many import one, two\n"
            "from acme.zoo import (LIMIT, Alpha,\n                      a_name as other,\n                      beta)\n"
        ),
        RARE,
    ),
    "grouped": (
        ImportStyle(length=38, mode=5, keeps=False),
        (
            "import acme.Base\nimport os\nfrom .. import up\nfrom acme.many import one, two\n"
            "from acme.zoo import (\n    LIMIT, Alpha, a_name as other,\n    beta,\n)\n"
        ),
        "    from acme.rare import (\n        first, second,\n    )\n",
    ),
    "several lines from three names on": (
        ImportStyle(wrap=3, keeps=False),
        (
            "import acme.Base\nimport os\nfrom .. import up\nfrom acme.many import one, two\n"
            "from acme.zoo import (\n    LIMIT,\n    Alpha,\n    a_name as other,\n    beta,\n)\n"
        ),
        RARE,
    ),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_imports_are_sorted_and_broken_as_the_settings_say(name):
    style, imports, below_if = LAID_OUT[name]
    text = laid_out("src/acme/new.py", SOURCE.encode(), style).decode()
    assert text == f'"""Jobs."""\n\n{imports}\nimport abc\n\nif abc:\n{below_if}\nprint(os)\n'
    assert laid_out("src/acme/new.py", text.encode(), style).decode() == text


@pytest.mark.parametrize(("lines", "there"), [(0, 3), (2, 1), (3, 0)])
def test_the_last_import_has_the_lines_below_it_that_the_settings_say(lines, there):
    given = f"import os\nimport abc\n{chr(10) * there}print(os)\n\n\nimport re\n{chr(10) * there}print(re)\n"
    text = laid_out("new.py", given.encode(), ImportStyle(lines_after=lines)).decode()
    assert (
        text
        == f"import abc\nimport os\n{chr(10) * there}print(os)\n\n\nimport re\n{chr(10) * lines}print(re)\n"
    )
    only = b"import os\nimport abc\n"
    assert laid_out("new.py", only, ImportStyle(lines_after=lines)) == b"import abc\nimport os\n"


@pytest.mark.parametrize(
    ("path", "content", "style"),
    [
        ("README.md", "import os\nimport abc\n", ImportStyle(mixed=True)),
        (f"{SOURCE_TREE}/a.py", "import os\nimport abc\n", ImportStyle(mixed=True)),
        ("new.py", "import os\nimport abc\n", ImportStyle()),
        ("new.py", "import os import abc\n", ImportStyle(mixed=True)),
        ("new.py", "import os\0\n", ImportStyle(mixed=True)),
    ],
)
def test_other_files_stay_as_they_are(path, content, style):
    assert laid_out(path, content.encode(), style) == content.encode()


BLACK = {"length": 88, "mode": 3, "comma": True}
ISORT = {"length": 79, "mode": 0, "comma": False, "keeps": False}
STYLES: dict[str, tuple[str, str, ImportStyle]] = {
    "nothing": ("pyproject.toml", "", ImportStyle()),
    "isort alone": (
        "pyproject.toml",
        "[tool.isort]\nknown_first_party = ['x']",
        ImportStyle(**ISORT),
    ),
    "a profile": ("pyproject.toml", "[tool.isort]\nprofile = 'black'", ImportStyle(**BLACK)),
    "a profile and more": (
        "setup.cfg",
        "[isort]\nprofile = attrs\nline_length = 100\nforce_single_line = yes\nsingle_line_exclusions = typing, abc",
        ImportStyle(
            **{**BLACK, "length": 100, "keeps": False},
            lines_after=2,
            between=1,
            single_line=True,
            exclusions=frozenset({"typing", "abc"}),
        ),
    ),
    "a layout by name": (
        ".isort.cfg",
        "[settings]\nmulti_line_output = vertical_grid_grouped\nforce_grid_wrap = 4",
        ImportStyle(**{**ISORT, "mode": 5}, wrap=4),
    ),
    "a layout that is not followed": (
        "tox.ini",
        "[isort]\nmulti_line_output = 9\nlines_after_imports = -1\nline_length = wide",
        ImportStyle(**{**ISORT, "mode": 3, "length": 88}),
    ),
    "google": (
        "setup.cfg",
        "[isort]\nprofile = google",
        ImportStyle(
            **{**ISORT, "length": 1000},
            single_line=True,
            mixed=True,
            by_type=False,
            exclusions=frozenset({"typing"}),
        ),
    ),
    "sorted by the text": (
        "setup.cfg",
        "[isort]\nlexicographical = true",
        ImportStyle(**ISORT, by_text=True),
    ),
    "ruff": (
        "ruff.toml",
        "line-length = 120\n[lint.isort]\norder-by-type = false\nsplit-on-trailing-comma = false",
        ImportStyle(length=120, by_type=False, keeps=False),
    ),
    "a broken file": (".isort.cfg", "force_single_line", ImportStyle()),
}


@pytest.mark.parametrize("name", STYLES)
def test_the_settings_are_those_of_the_tools(tmp_path: Path, name):
    file, text, style = STYLES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert read_style(tmp_path) == style


def test_the_nearest_settings_within_the_repository_hold(tmp_path: Path):
    project = tmp_path / "repository" / "services" / "jobs"
    project.mkdir(parents=True)
    (tmp_path / "ruff.toml").write_text("line-length = 60", encoding="utf-8")
    (tmp_path / "repository" / ".git").mkdir()
    assert line_length(project) == 88
    (tmp_path / "repository" / "ruff.toml").write_text("line-length = 100", encoding="utf-8")
    assert line_length(project) == 100
    black = "[tool.black]\nline-length = 90\n[tool.ruff]\nline-length = 95\n"
    (project / "pyproject.toml").write_text(black, encoding="utf-8")
    assert line_length(project) == 90
    (project / "pyproject.toml").write_text(black.replace("black", "other"), encoding="utf-8")
    assert line_length(project) == 95
