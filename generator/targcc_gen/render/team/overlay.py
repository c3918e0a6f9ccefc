"""Files of a team in the place of the generator's, or beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import InputError
from targcc_gen.render.owners import is_inherited, owner_of, summary_of
from targcc_gen.render.tree import TreeFile, path_problem
from targcc_gen.spec.blueprint_names import Override, current

if TYPE_CHECKING:
    from targcc_gen.spec import Spec


def overlaid(files: list[TreeFile], spec: Spec, data: dict[str, Any]) -> list[TreeFile]:
    """The project's files, with those of a team in their places.

    Args:
        files: As the generator makes them.
        spec: The project.
        data: What templates are told; beside it each is told `original`, the generator's text of the file.

    Raises:
        InputError: A file of the team has no business there, or cannot be rendered.
    """
    overrides = current().overrides
    if not overrides:
        return files
    by_path = {file.path: file for file in files}
    for override in overrides.values():
        path = override.path.replace("{{ package }}", spec.project.package)
        _check(override, path, spec)
        known = by_path.get(path)
        text = _text(override, known, data)
        by_path[path] = (
            replace(known, content=text.encode(), earlier=())
            if known is not None
            else TreeFile(
                path,
                text.encode(),
                owner_of(path, spec.project.package),
                inherited=is_inherited(path, spec.project.package),
                summary=summary_of(path, spec.project.package),
            )
        )
    return list(by_path.values())


def _text(override: Override, known: TreeFile | None, data: dict[str, Any]) -> str:
    if not override.is_template:
        return override.text
    from targcc_gen.render.team.sandbox import rendered

    original = "" if known is None else known.content.decode("utf-8", "replace")
    return rendered(override.origin, override.text, {**data, "original": original})


def _check(override: Override, path: str, spec: Spec) -> None:
    package = f"src/{spec.project.package}"
    ours = (".targcc/", "vendor/", f"{package}/scheduler.py", f"{package}/jobs/", "tests/jobs/")
    problem = path_problem(path)
    if problem is None and (path == "targcc.yaml" or path.startswith(ours)):
        problem = "is not a team's to replace: jobs come from blueprints, the scheduler is as it is"
    if problem is not None:
        raise InputError(f"{override.origin}: {path} {problem}")


def pins() -> dict[str, str]:
    """The checksum of each template of a team that a project has, and the commit of each repository, by its name in the lock."""
    library = current()
    return {
        **library.commits,
        **{one.origin: one.sha256 for one in library.blueprints.values()},
        **{one.origin: one.sha256 for one in library.overrides.values()},
    }
