"""Tables of the layers in ``docs/architecture.md``, generated from the code. Run this file to write the tables anew."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
GENERATOR = ROOT / "generator" / "targcc_gen"
SCHEDULER = ROOT / "templates" / "scheduler" / "targcc_scheduler"


def drawn(page: str) -> str:
    """Return the page with both tables generated from the current code."""
    for name in ("generator", "scheduler"):
        sys.path.insert(0, str(ROOT / "tests" / name))
    import test_generator_layers
    import test_layers

    page = _with_table(page, "generator layers", _table(GENERATOR, test_generator_layers.LAYERS))
    return _with_table(page, "layers", _table(SCHEDULER, test_layers.LAYERS))


def _with_table(page: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}{end}{after}"


def _table(package: Path, layers: tuple[tuple[str, ...], ...]) -> str:
    lines = ["| layer | folder or module | what is in it |", "|---|---|---|"]
    for layer in reversed(range(len(layers))):
        for name in layers[layer]:
            lines += [
                f"| {layer} | {_shown(path, package)} | {_first_line(path)} |"
                for path in _rows(package, name)
            ]
    return "\n".join(lines) + "\n"


def _rows(package: Path, name: str) -> list[Path]:
    """Return the module, or the folder and its subfolders with modules."""
    folder = package / name
    if not folder.is_dir():
        return [package / f"{name}.py"]
    return [
        folder,
        *sorted(file.parent for file in folder.rglob("__init__.py") if file.parent != folder),
    ]


def _shown(path: Path, package: Path) -> str:
    name = path.relative_to(package).with_suffix("").as_posix()
    return f"`{name}/`" if path.is_dir() else f"`{name.strip('_')}`"


def _first_line(path: Path) -> str:
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
