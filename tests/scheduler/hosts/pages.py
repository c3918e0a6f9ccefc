"""Applications of ``docs/hosts``: write every file that a page shows to a folder, with a scheduler as a package."""

import re
from pathlib import Path

PAGES = Path(__file__).resolve().parents[3] / "docs" / "hosts"
_FILE = re.compile(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SCHEDULER = """
import targcc_scheduler
from targcc_scheduler import Project, configure

configure(Project(name="shop", package="shop", database_url="sqlite:///shop.db"))


def __getattr__(name):
    return getattr(targcc_scheduler, name)
"""


def write(page: str, root: Path) -> Path:
    """Write the files of a page; return the folder."""
    blocks = _FILE.findall((PAGES / page).read_text(encoding="utf-8"))
    files = {"shop/scheduler/__init__.py": SCHEDULER, **dict(blocks)}
    for name, text in files.items():
        path = root / name
        for folder in reversed(path.relative_to(root).parents):
            if folder.parts and folder.parts[0] == "shop":
                (root / folder).mkdir(parents=True, exist_ok=True)
                (root / folder / "__init__.py").touch()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
