"""Finding the jobs: every module of the jobs package is imported, and what carries ``@job`` is a job."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ...core.errors import ArgumentsError, HookError, JobError
from ...core.masking import mask
from ...features.flows.declared import flow_declarations
from ...project import Project, current
from .chains import refused
from .declaration import Declaration
from .definition import JobDefinition
from .hooks import Hooks, kinds_of

log = logging.getLogger("targcc.jobs.discovery")

_HOOKS = "hooks"
"""The module of hooks: without it, jobs would run for the wrong tenant, or unseen."""


_DECLARED = re.compile(
    r"""^(?:class|(?:async[ ]+)?def)[ ]+(\w+)|\bname[ ]*=[ ]*["']([^"'\n]+)["']""", re.MULTILINE
)
"""A class or function of a module, or the name that a declaration gives."""


@dataclass(frozen=True)
class BrokenModule:
    """A job file that could not be used; the others run.

    Args:
        module: Its dotted name.
        path: The file, if it is known.
        error: The last line of the traceback, or what is wrong; secrets are masked, here and in the next.
        traceback: All of it, from the job file on.
    """

    module: str
    path: str | None
    error: str
    traceback: str

    def names(self) -> frozenset[str]:
        """Return the names that a job in this file may have: its classes, functions, names in quotes, and that of the file itself.

        The file is read as text, since it may not even be Python.
        """
        names = {self.module.rpartition(".")[2]}
        if self.path is not None:
            try:
                text = Path(self.path).read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            names.update(first or second for first, second in _DECLARED.findall(text))
        return frozenset(names)


@dataclass
class Discovered:
    """What was found.

    Args:
        project: Whose defaults complete the declarations.
        definitions: The jobs by name.
        broken: The files that could not be used.
        modules: The modules that were looked at.
        hooks: Gets the hooks.
    """

    project: Project = field(default_factory=current)
    definitions: dict[str, JobDefinition] = field(default_factory=dict)
    broken: list[BrokenModule] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    hooks: Hooks = field(default_factory=Hooks)


def discover(
    package: str, project: Project | None = None, hooks: Hooks | None = None
) -> Discovered:
    """Import every module of ``package``, sub-packages too, and collect the jobs and hooks in them.

    Modules are taken in the order of their names; of two jobs with one name the first counts, and the second's file is
    reported as broken.

    Args:
        package: A dotted name such as ``acme_jobs.jobs``.
        project: Whose defaults complete the declarations. Default: the project of this process.
        hooks: Gets the hooks.
    """
    found = Discovered(project or current(), hooks=hooks or Hooks())
    discover_more(package, found)
    _add_flows(found)
    return found


def _add_flows(found: Discovered) -> None:
    """The jobs that start the project's flows."""
    for name, declared in flow_declarations(found.project):
        try:
            if isinstance(declared, Exception):
                raise declared
            _add(declared, found)
        except (ValueError, JobError) as error:
            text = f"flow {name} of targcc.yaml cannot be used: {error}"
            found.broken.append(BrokenModule(f"flow {name}", None, text, text))
            log.error(text)  # noqa: TRY400 - the spec is wrong, and no code


def discover_more(package: str, found: Discovered) -> None:
    """Import the modules of ``package`` that were not there when ``found`` was made, and add what is in them.

    A module that was imported stays as it is: Python keeps it, and its jobs may be running.
    """
    importlib.invalidate_caches()
    known = len(found.broken)
    for name in _modules(package, found):
        if name in found.modules:
            continue
        found.modules.add(name)
        module = _import(name, found)
        if module is not None:
            _collect(module, found)
    for job, why in refused(found.definitions).items():
        gone = found.definitions.pop(job)
        found.broken.append(_broken(gone.module, JobError(why)))
    for broken in found.broken[known:]:
        if broken.module == f"{package}.{_HOOKS}":
            found.hooks.refuse(f"no job runs, since {broken.module} cannot be used: {broken.error}")
        log.error("%s cannot be used: %s\n%s", broken.module, broken.error, broken.traceback)


def _modules(package: str, found: Discovered) -> Iterator[str]:
    """``package`` and everything in it, depth first; a package that does not import ends there."""
    yield package
    for name, is_package in _children(getattr(sys.modules.get(package), "__path__", None) or ()):
        if is_package:
            yield from _modules(f"{package}.{name}", found)
        else:
            yield f"{package}.{name}"


def _children(folders: Iterable[str]) -> list[tuple[str, bool]]:
    """Modules and packages, by name; also the folders of Python files that have no ``__init__.py``, which pkgutil passes over."""
    folders = list(folders)
    children = {item.name: item.ispkg for item in pkgutil.iter_modules(folders)}
    for folder in map(Path, folders):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isidentifier() and path.is_dir() and any(path.rglob("*.py")):
                children.setdefault(path.name, True)
    return sorted(children.items())


def _import(name: str, found: Discovered) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a job file may raise anything
        found.broken.append(_broken(name, error))
        return None


def _collect(module: ModuleType, found: Discovered) -> None:
    for value in list(vars(module).values()):
        if (kinds := kinds_of(value)) and value.__module__ == module.__name__:
            _find_hook(value, kinds, module, found)
        mark = vars(value).get("__job__") if hasattr(value, "__dict__") else None
        if not isinstance(mark, Declaration):
            continue
        if getattr(value, "__module__", None) != module.__name__:
            continue
        try:
            _add(mark, found)
        except Exception as error:  # noqa: BLE001 - evaluating a type may raise anything
            found.broken.append(_broken(module.__name__, error))


def _find_hook(
    hook: Callable[..., Any], kinds: Sequence[str], module: ModuleType, found: Discovered
) -> None:
    try:
        found.hooks.find(hook, kinds)
    except HookError as error:
        found.broken.append(_broken(module.__name__, error))


def _add(declaration: Declaration, found: Discovered) -> None:
    known = found.definitions.get(declaration.name)
    if known is not None and known.target is declaration.target:  # a second name for the same class
        return
    if known is not None:
        where = f"{known.module}.{known.target.__qualname__}"
        raise ValueError(
            f"the job name {known.name!r} is taken by {where}: give {declaration.target.__qualname__} another with name="
        )
    definition = declaration.complete(found.project)
    check(definition)
    _check_earlier_names(definition, found)
    found.definitions[definition.name] = definition


def _check_earlier_names(definition: JobDefinition, found: Discovered) -> None:
    """Nobody takes over the rows of a job that is there."""
    for one in found.definitions.values():
        if one.name in definition.aliases or definition.name in one.aliases:
            both = f"{definition.name} and {one.name}"
            raise ValueError(f"{both} are two jobs, and aliases= says they are one: drop it there")


def check(definition: JobDefinition) -> None:
    """Check what would otherwise fail at the first run.

    Raises:
        TypeError: a parameter has no type, or one that cannot be checked.
        JobError: a job that runs by itself needs arguments.
    """
    parameters = definition.signature
    if definition.schedule is None and not definition.after:
        return
    try:
        parameters.check({})
    except ArgumentsError as error:
        raise JobError(
            f"{definition.name} runs by itself, so its arguments need defaults: {error}"
        ) from None


def _broken(name: str, error: BaseException) -> BrokenModule:
    path = _path(name)
    shown = traceback.TracebackException.from_exception(error)
    while shown.stack and path is not None and shown.stack[0].filename != path:
        if not any(frame.filename == path for frame in shown.stack):
            break
        del shown.stack[0]
    lines = [mask(line) for line in shown.format()]
    return BrokenModule(name, path, lines[-1].strip(), "".join(lines))


def _path(name: str) -> str | None:
    module = sys.modules.get(name)
    if module is not None:
        return inspect.getsourcefile(module)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec else None
