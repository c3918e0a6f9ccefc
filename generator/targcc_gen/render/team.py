"""A team's own templates: place its files, and check its blueprints before use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from targcc_gen.errors import BlueprintError, InputError
from targcc_gen.render.blueprints import blueprint
from targcc_gen.render.python_source import formatted
from targcc_gen.render.tree import TreeFile, is_inherited, owner_of, path_problem, summary_of
from targcc_gen.spec.blueprint_names import (
    Override,
    TeamBlueprint,
    current,
    own_params,
    taken_names,
)
from targcc_gen.spec.models import Spec, build_job

# A team's files, in place of the generator's or in addition.


def overlaid(files: list[TreeFile], spec: Spec, data: dict[str, Any]) -> list[TreeFile]:
    """Replace or add a team's files in a project.

    Args:
        files: The generator's files.
        spec: The project's spec.
        data: The variables of templates. Each template also gets `original`, the generator's text of the file.

    Raises:
        InputError: A team may not replace the file, or the file cannot be rendered.
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
    from targcc_gen.render.jinja import rendered

    original = "" if known is None else known.content.decode("utf-8", "replace")
    return rendered(override.origin, override.text, {**data, "original": original})


def _check(override: Override, path: str, spec: Spec) -> None:
    package = f"src/{spec.project.package}"
    ours = (".targcc/", "vendor/", f"{package}/scheduler.py", f"{package}/jobs/", "tests/jobs/")
    problem = path_problem(path)
    if problem is None and (path == "targcc.yaml" or path.startswith(ours)):
        problem = "is not a team's to replace: jobs come from blueprints, the scheduler is as it is"
    if problem is not None:
        raise BlueprintError(f"{override.origin}: {path} {problem}")


def pins() -> dict[str, str]:
    """Map each template of a team to its checksum, and each repository to its commit, by the name in the lock."""
    library = current()
    return {
        **library.commits,
        **{item.origin: item.sha256 for item in library.blueprints.values()},
        **{item.origin: item.sha256 for item in library.overrides.values()},
    }


# Check a team's blueprint by rendering it for a few jobs.

_FUNCTIONS = (ast.AsyncFunctionDef, ast.FunctionDef)
_SAMPLES: tuple[dict[str, Any], ...] = (
    {"cron": "0 2 * * *", "description": 'Says "so" and \\ more'},
    {"type": "manual", "params": {"sample_id": "int", "since_day": "date = 2026-01-01"}},
)
_KEYS = frozenset({"summary", "docstring", "defaults", "taken", "params"})


def problems_of(team: TeamBlueprint) -> Iterator[str]:
    """Yield each problem of a blueprint, with its file and line."""
    where = f"{team.origin}/blueprint.yaml"
    try:
        blueprint(team.name)
        yield from _unknown_keys(team, where)
        yield from _defaults(team, where)
        for sample in _SAMPLES:
            yield from _rendered(team, sample)
    except InputError as error:
        yield error.message + (f" ({error.hint})" if error.hint else "")


def _unknown_keys(team: TeamBlueprint, where: str) -> Iterator[str]:
    from targcc_gen.spec.loader import parse_tree

    for key, (name, _) in parse_tree(team.texts["blueprint.yaml"], where)[0].entries.items():
        if key not in _KEYS:
            known = ", ".join(sorted(_KEYS))
            yield f"{where}:{name.start.line + 1}: unknown key {key} (it has {known})"


def _defaults(team: TeamBlueprint, where: str) -> Iterator[str]:
    defaults = blueprint(team.name).defaults
    try:
        build_job("Sample", {"type": "manual", **defaults})
    except InputError as error:
        yield f"{where}: defaults: {error.message}"


def _rendered(team: TeamBlueprint, sample: dict[str, Any]) -> Iterator[str]:
    from targcc_gen.render.jobs import job_files

    job = {**sample, "blueprint": team.name}
    spec = Spec.model_validate(
        {"targcc": 1, "project": {"name": "sample-project"}, "jobs": {"Sample": job}}
    )
    try:
        module, test = job_files(spec, "Sample")
    except SyntaxError as error:
        yield f"{team.origin}: it makes no Python: {error}"
        return
    for file, part in ((module, "job.py.jinja"), (test, "test.py.jinja")):
        where, text = f"{team.origin}/{part}", file.content.decode()
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            yield f"{where}: it makes no Python: {error.msg}, in line {error.lineno} of what it makes"
            continue
        if formatted(text) != text:
            yield f"{where}: what it makes is not in black's style"
        if part == "job.py.jinja":
            yield from _job(team, where, tree, spec)


def _job(team: TeamBlueprint, where: str, tree: ast.Module, spec: Spec) -> Iterator[str]:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list]
    jobs = [node for node in classes if node.name == "SampleJob"]
    if len(jobs) != 1:
        yield f"{where}: it makes no class {{{{ job.class_name }}}} with {{{{ job.decorator }}}} above it"
        return
    execute = next(
        (
            inner
            for inner in jobs[0].body
            if isinstance(inner, _FUNCTIONS) and inner.name == "execute"
        ),
        None,
    )
    if execute is None:
        yield f"{where}: its class has no execute(self, ctx: JobContext{{{{ job.parameters }}}})"
        return
    given = {argument.arg for argument in [*execute.args.args, *execute.args.kwonlyargs]}
    missing = spec.jobs["Sample"].params.keys() - given
    if missing:
        yield f"{where}: execute does not take {{{{ job.parameters }}}}: {', '.join(sorted(missing))}"
    used = _used(execute) - given
    taken = taken_names(team.name) | own_params(team.name).keys()
    if used - taken:
        listed = ", ".join(sorted(used - taken))
        yield f"{team.origin}/blueprint.yaml: taken lacks {listed}: a parameter of that name would hide it"


def _used(execute: ast.AsyncFunctionDef | ast.FunctionDef) -> set[str]:
    """Return the names that the body binds or reads, except names of classes and constants."""
    used: set[str] = set()
    for node in (inner for statement in execute.body for inner in ast.walk(statement)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.arg):
            used.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            used.add(node.name)
    return {name for name in used if name[0].islower()}
