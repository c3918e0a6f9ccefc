"""Discover jobs and hooks: import every module in the jobs package and collect the decorated classes and functions."""

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

from ...core.errors import ArgumentsError, ArgumentTypeError, HookError, JobError
from ...core.masking import mask
from ...project import Project, current
from ..feature import Jobs, load
from .chains import refused
from .declaration import Declaration
from .definition import JobDefinition
from .hooks import Hooks, kinds_of

log = logging.getLogger("targcc.jobs.discovery")

_HOOKS = "hooks"
"""The hooks module. If this module is broken, no job runs: a job without hooks might run for the wrong tenant, or unmonitored."""


_DECLARED = re.compile(
    r"""^(?:class|(?:async[ ]+)?def)[ ]+(\w+)|\bname[ ]*=[ ]*["']([^"'\n]+)["']""", re.MULTILINE
)
"""A class or function at the module's top level, or a declaration's argument ``name=``."""


@dataclass(frozen=True)
class BrokenModule:
    """A job file that could not be used; jobs in other files run.

    Args:
        module: The module's dotted name.
        path: The file's path, if known.
        error: The traceback's last line, or the reason; secrets are masked.
        traceback: The traceback from the job file on; secrets are masked.
        line: The line of the error in the file, if known.
        advice: The way out, if there is a specific one.
    """

    module: str
    path: str | None
    error: str
    traceback: str
    line: int | None = None
    advice: str = ""

    @property
    def place(self) -> str:
        """The file with the line, relative to the current folder if below it; the module's name without a file."""
        return place_of(self.path, self.line) or self.module

    def names(self) -> frozenset[str]:
        """Return the names that a job in this file may have: classes, functions, values for ``name=``, and the file's name.

        The file is searched as text, since a broken file may not parse as Python.
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
    """The discovered jobs, hooks and broken files.

    Args:
        project: The project whose defaults complete the declarations.
        definitions: The jobs by name.
        broken: The files that could not be used.
        modules: The imported modules' names.
        hooks: Receives the discovered hooks.
        renamed: The jobs' names by their earlier names.
    """

    project: Project = field(default_factory=current)
    definitions: dict[str, JobDefinition] = field(default_factory=dict)
    broken: list[BrokenModule] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    hooks: Hooks = field(default_factory=Hooks)
    renamed: dict[str, str] = field(default_factory=dict)


def discover(
    package: str, project: Project | None = None, hooks: Hooks | None = None
) -> Discovered:
    """Import every module in ``package`` and its sub-packages; collect the jobs and hooks.

    Modules are imported in name order. If two jobs have the same name, the first job is used and the second job's
    file is reported as broken.

    Args:
        package: A dotted name such as ``acme_jobs.jobs``.
        project: The project whose defaults complete the declarations. Default: this process's project.
        hooks: Receives the hooks. Default: new hooks.
    """
    discovered = Discovered(project or current(), hooks=hooks or Hooks())
    discover_more(package, discovered)
    _add_declared(discovered)
    return discovered


def _add_declared(discovered: Discovered) -> None:
    """Add the jobs that targcc.yaml declares, such as jobs that start flows; report a declaration that cannot be used as broken."""
    for name, declared in (pair for jobs in load(Jobs) for pair in jobs(discovered.project)):
        try:
            if isinstance(declared, Exception):
                raise declared
            _add(declared, discovered)
        except (ValueError, JobError) as error:
            text = f"{name} of targcc.yaml cannot be used: {error}"
            discovered.broken.append(BrokenModule(name, None, text, text))
            log.error(text)  # noqa: TRY400 - the spec is wrong, and no code


def discover_more(package: str, discovered: Discovered) -> None:
    """Import the modules in ``package`` that ``discovered`` does not have yet, and add their jobs and hooks.

    An imported module is not imported again: Python caches modules, and the module's jobs may be running.
    """
    importlib.invalidate_caches()
    known = len(discovered.broken)
    discovered.renamed.clear()
    for job in discovered.definitions.values():
        _note_earlier_names(job, discovered)
    for name in _modules(package, discovered):
        if name in discovered.modules:
            continue
        discovered.modules.add(name)
        module = _import(name, discovered)
        if module is not None:
            _collect(module, discovered)
    for key, why in refused(discovered.definitions).items():
        gone = discovered.definitions.pop(key)
        discovered.broken.append(_broken(gone.module, JobError(why)))
    for broken in discovered.broken[known:]:
        if broken.module == f"{package}.{_HOOKS}":
            discovered.hooks.refuse(
                f"no job runs, since {broken.module} cannot be used: {broken.error}"
            )
        log.error("%s cannot be used: %s\n%s", broken.module, broken.error, broken.traceback)


def _modules(package: str, discovered: Discovered) -> Iterator[str]:
    """Yield the names of ``package`` and all modules in it, depth first; skip the content if a package cannot be imported."""
    yield package
    for name, is_package in _children(getattr(sys.modules.get(package), "__path__", None) or ()):
        if is_package:
            yield from _modules(f"{package}.{name}", discovered)
        else:
            yield f"{package}.{name}"


def _children(folders: Iterable[str]) -> list[tuple[str, bool]]:
    """Return modules and packages by name, including folders with Python files but without ``__init__.py``, which pkgutil omits."""
    folders = list(folders)
    children = {item.name: item.ispkg for item in pkgutil.iter_modules(folders)}
    for folder in map(Path, folders):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.isidentifier() and path.is_dir() and any(path.rglob("*.py")):
                children.setdefault(path.name, True)
    return sorted(children.items())


def _import(name: str, discovered: Discovered) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a job file may raise anything
        discovered.broken.append(_broken(name, error))
        return None


def _collect(module: ModuleType, discovered: Discovered) -> None:
    for value in list(vars(module).values()):
        if (kinds := kinds_of(value)) and value.__module__ == module.__name__:
            _find_hook(value, kinds, module, discovered)
        mark = vars(value).get("__job__") if hasattr(value, "__dict__") else None
        if not isinstance(mark, Declaration):
            continue
        if getattr(value, "__module__", None) != module.__name__:
            continue
        try:
            _add(mark, discovered)
        except Exception as error:  # noqa: BLE001 - evaluating a type may raise anything
            discovered.broken.append(_broken(module.__name__, error, _line(mark.target, error)))


def _find_hook(
    hook: Callable[..., Any], kinds: Sequence[str], module: ModuleType, discovered: Discovered
) -> None:
    try:
        discovered.hooks.find(hook, kinds)
    except HookError as error:
        discovered.broken.append(_broken(module.__name__, error))


def _add(declaration: Declaration, discovered: Discovered) -> None:
    known = discovered.definitions.get(declaration.name)
    if known is not None and known.target is declaration.target:  # a second name for the same class
        return
    if known is not None:
        where = f"{known.module}.{known.target.__qualname__}"
        raise ValueError(
            f"the job name {known.name!r} is taken by {where}: give {declaration.target.__qualname__} another with name="
        )
    definition = declaration.complete(discovered.project)
    check(definition)
    _check_earlier_names(definition, discovered)
    discovered.definitions[definition.name] = definition
    _note_earlier_names(definition, discovered)


def _note_earlier_names(definition: JobDefinition, discovered: Discovered) -> None:
    for alias in definition.aliases:
        discovered.renamed.setdefault(alias, definition.name)


def _check_earlier_names(definition: JobDefinition, discovered: Discovered) -> None:
    """Check that no alias names an existing job: the alias would take over that job's rows."""
    for name in (*definition.aliases, discovered.renamed.get(definition.name)):
        if name in discovered.definitions:
            both = f"{definition.name} and {name}"
            raise ValueError(f"{both} are two jobs, and aliases= says they are one: drop it there")


def check(definition: JobDefinition) -> None:
    """Check a job's arguments before the first run.

    Raises:
        TypeError: A parameter has no type, or a type that pydantic cannot check.
        JobError: A job with a schedule or with ``after`` has arguments without defaults.
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


def place_of(path: str | None, line: int | None) -> str:
    """Return ``path:line`` relative to the current folder if below it; an empty text without a path."""
    if path is None:
        return ""
    file = Path(path)
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return f"{file}:{line}" if line else str(file)


_EXECUTE = "execute"


def _line(target: Callable[..., Any], error: Exception) -> int | None:
    is_argument = inspect.isclass(target) and isinstance(error, ArgumentTypeError)
    return line_of(getattr(target, _EXECUTE) if is_argument else target)


def line_of(target: Callable[..., Any]) -> int | None:
    """Return the line of a job's function or of its class; ``None`` if the source is unknown."""
    try:
        return inspect.getsourcelines(target)[1]
    except (OSError, TypeError):
        return None


_ADVICE = "correct it and start again; the other jobs run"


def _advice(error: BaseException) -> str:
    """Return the way out of an error while a job file was imported."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        return f"install {missing}, or correct the import, and start again; the other jobs run"
    return _ADVICE


def _broken(name: str, error: BaseException, line: int | None = None) -> BrokenModule:
    path = _path(name)
    shown = traceback.TracebackException.from_exception(error)
    while shown.stack and path is not None and shown.stack[0].filename != path:
        if not any(frame.filename == path for frame in shown.stack):
            break
        del shown.stack[0]
    lines = [mask(text) for text in shown.format()]
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    in_file = [frame.lineno for frame in shown.stack if frame.filename == path]
    line = in_file[-1] if in_file else line
    return BrokenModule(name, path, _summary(error, shown), "".join(lines), line, _advice(error))


def _summary(error: BaseException, shown: traceback.TracebackException) -> str:
    """Return an error in one line, without the class if the error is the scheduler's: its message says all."""
    if type(error).__module__ == JobError.__module__ and str(error):
        return mask(str(error)).splitlines()[0]
    message = mask("".join(shown.format_exception_only())).strip().splitlines()
    return message[-1] if isinstance(error, SyntaxError) else message[0]


def _path(name: str) -> str | None:
    module = sys.modules.get(name)
    if module is not None:
        return inspect.getsourcefile(module)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec else None
