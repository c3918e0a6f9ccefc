"""A feature of the project: a table, a loop, API routes, a page and commands, with a test; written once, then its owner's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targcc_gen import assets
from targcc_gen.render.blueprints import environment
from targcc_gen.render.python_source import formatted
from targcc_gen.render.tree import Owner, TreeFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from targcc_gen.spec import Spec

_MODULES = ("__init__", "feature", "model", "loops", "api", "pages", "commands")


def feature_files(spec: Spec) -> Iterator[TreeFile]:
    """The files of all features of the spec."""
    package = spec.project.package
    for name in spec.features:
        values = {
            "package": package,
            "name": name,
            "command": name.replace("_", "-"),
            "title": name.replace("_", " ").capitalize(),
            "table": f"{package}_{name}",
        }
        folder = f"src/{package}/features/{name}"
        for module in _MODULES:
            yield _file(f"{folder}/{module}.py", f"feature/{module}.py.jinja", values)
        page = (assets.blueprints() / "feature" / "page.html").read_bytes()
        yield TreeFile(
            f"{folder}/templates/page.html", page.replace(b"\r\n", b"\n"), Owner.SCAFFOLD
        )
        yield _file(f"tests/features/test_{name}.py", "feature/test.py.jinja", values)
    if spec.features:
        docstring = b'"""Features of this project, each a folder with a manifest, feature.py."""\n'
        yield TreeFile(f"src/{package}/features/__init__.py", docstring, Owner.SCAFFOLD)


def _file(path: str, template: str, values: dict[str, str]) -> TreeFile:
    source = environment().get_template(template).render(values)
    return TreeFile(path, formatted(source).encode(), Owner.SCAFFOLD)
