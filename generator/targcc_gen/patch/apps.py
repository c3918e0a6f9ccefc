"""Find the FastAPI apps of a file and of a project, and say why an app cannot be wired."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from targcc_gen.errors import AppChoiceError, InputError
from targcc_gen.patch.app_file import (
    FUNCTIONS,
    AppFile,
    Source,
    SourceError,
    code_of,
    dotted,
    names_in,
    targets_of,
    walk,
)

# Apps in a file.

Branch = tuple[ast.AST, str]
"""A compound statement and one of its branches; only one branch of a statement runs."""

_SERVERS = ("run", "serve", "Config")
_SHOWN = 60  # characters of code that fit in a message


@dataclass(frozen=True)
class Construction:
    """A call that makes a FastAPI app.

    Args:
        target: The name that holds the app, `app` or `self.app`; empty without a name.
        scope: The functions and classes around the call, outermost first: `("create_app",)`; `()` at module level.
        line: The first line of the statement, from 1.
        last_line: The last line of the statement.
        column: The column of the call, from 1.
        problem: Why no line can follow the statement, or `None`.
        branches: The compound statements around the call inside its scope, outermost first.
        handed_out: Whether the function returns, keeps or serves the app.
        is_returned: Whether the call is the return value: `return FastAPI()`.
        follow: The line to insert after, and the line whose indentation to take. Both are the statement's own, unless
            another branch binds the app from elsewhere: then both are the compound statement's.
        bound: The name that the statement binds to the app or to its wrapper.
        mounted: The line of a call that mounts the new app directly: `app.mount("/", FastAPI())`.
    """

    target: str
    scope: tuple[str, ...]
    line: int
    last_line: int
    column: int
    problem: str | None
    branches: tuple[Branch, ...] = ()
    handed_out: bool = False
    is_returned: bool = False
    follow: tuple[int, int] = (0, 0)
    bound: str = ""
    mounted: int | None = None


@dataclass(frozen=True)
class App:
    """A name that holds a FastAPI app, with every call that makes the app: several branches may each have a call.

    Args:
        target: The name inside the scope: `app`, `self.app`.
        scope: The functions and classes around the app.
        places: The calls that make the app.
        problem: Why the app cannot be wired, or `None`.
        aliases: The module-level names that hold the factory's result.
        mounted: Whether another app mounts this app.
        outer: File, line and receiver of the call in another file that mounts this app in an unknown app; `None` without.
    """

    target: str
    scope: tuple[str, ...]
    places: tuple[Construction, ...]
    problem: str | None
    aliases: tuple[str, ...] = ()
    mounted: bool = False
    outer: tuple[str, int, str] | None = None

    @property
    def label(self) -> str:
        """The app's name in messages: the factory, `create_app`, or the target, `app`."""
        return ".".join(self.scope) or self.target or "FastAPI()"

    @property
    def line(self) -> int:
        """The line of the first call that makes the app."""
        return self.places[0].line

    def answers_to(self, name: str) -> bool:
        """Whether `--app` may mean this app: by target, by factory, by both, or by an alias."""
        return name in {
            self.target,
            ".".join(self.scope),
            ".".join((*self.scope, self.target)),
            *self.aliases,
        }


def apps_of(file: AppFile) -> tuple[App, ...]:
    """Return the apps that a file makes, in line order."""
    return _Apps(file).all()


def outer_apps(apps: Sequence[App]) -> tuple[App, ...]:
    """Return the apps that no other app mounts; all apps if each is mounted."""
    return tuple(app for app in apps if not app.mounted) or tuple(apps)


class _Apps:
    """Finds the apps of one file."""

    def __init__(self, file: AppFile) -> None:
        self._file = file

    def all(self) -> tuple[App, ...]:
        constructed = [
            self._construction(node)
            for node in self._file.nodes
            if isinstance(node, ast.Call)
            and self._file.makes_app(node)
            and not self._file.is_for_type_checkers(node)
        ]
        inner = [self._app(place.scope, "", (place,)) for place in constructed if place.mounted]
        outer = [place for place in constructed if not place.mounted]
        outer.sort(key=lambda place: (bool(place.target), place.scope, place.target, place.line))
        apps: list[App] = inner
        for (scope, target), group in groupby(outer, key=lambda place: (place.scope, place.target)):
            places = tuple(group)
            if target or all(place.is_returned for place in places):
                apps.append(self._app(scope, target, places))
            else:
                apps += [App("", scope, (place,), place.problem) for place in places]
        return tuple(sorted(apps, key=lambda app: app.line))

    def _app(self, scope: tuple[str, ...], target: str, places: tuple[Construction, ...]) -> App:
        mounted = places[0].mounted or self._mounting(target, scope)
        problem = next((p.problem for p in places if p.problem and not p.mounted), None)
        if problem is None and scope and not any(place.handed_out for place in places):
            problem = f"{'.'.join(scope)} does not return it"
        if problem is None and mounted:
            problem = (
                f"it is mounted in another app (line {mounted}), and a mounted app's lifespan does not run:"
                " wire the outer app"
            )
        joined = tuple(self._below_lifespan(self._joined(place)) for place in places)
        aliases = tuple(self._results_of(scope))
        return App(target, scope, joined, problem, aliases, mounted is not None)

    def _joined(self, place: Construction) -> Construction:
        """Return the construction; `follow` moves below the `if` when another branch binds the name to a foreign app."""
        parts = dict(place.branches)
        for node in self._file.nodes:
            if not self._binds_elsewhere(node, place):
                continue
            for statement, part in reversed([*self._branches(node)]):
                if statement in parts and parts[statement] != part:
                    line = self._file.line_of(statement)
                    return replace(place, follow=(self._file.last_line_of(statement), line))
        return place

    def _below_lifespan(self, place: Construction) -> Construction:
        """Return the construction; `follow` moves below `app.router.lifespan_context = …`, which would drop an earlier router's lifespan."""
        block = self._block_at(place)
        later = [
            statement
            for statement in block
            if self._file.line_of(statement) > place.follow[0]
            and any(self._sets_lifespan(node, place) for node in walk(statement))
        ]
        if not later:
            return place
        last = self._file.line_mates(later[-1])[-1]
        return replace(place, follow=(self._file.last_line_of(last), self._file.line_of(later[-1])))

    def _block_at(self, place: Construction) -> list[ast.stmt]:
        """Return the block of the statement that the include follows."""
        for statement, block in self._file.blocks.items():
            if self._file.line_of(statement) == place.follow[1]:
                return block
        return []

    def _sets_lifespan(self, node: ast.AST, place: Construction) -> bool:
        return (
            isinstance(node, ast.Assign)
            and bool(place.target)
            and self._file.scope_of(node) == place.scope
            and any(
                dotted(target) == f"{place.target}.router.lifespan_context"
                for target in node.targets
            )
        )

    def _binds_elsewhere(self, node: ast.AST, place: Construction) -> bool:
        """Whether a node binds the construction's name to a value that is not an app made in this file."""
        if isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            if value is None or isinstance(value, ast.Constant):
                return False
            if isinstance(value, ast.Call) and self._file.makes_app(value):
                return False
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = {dotted(target) for target in targets}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            bound = names_in(node)
        else:
            return False
        return place.target in bound and self._file.scope_of(node) == place.scope

    def _results_of(self, scope: tuple[str, ...]) -> Iterator[str]:
        """Yield the module-level names that hold the factory's result: `app` in `app = create_app()`."""
        for node in self._file.nodes:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(
                node.value, ast.Call
            ):
                continue
            if (
                len(scope) == 1
                and self._file.qualified_names(node.value.func) == {scope[0]}
                and not self._file.scope_of(node)
            ):
                yield from targets_of(node)

    def _mounting(self, target: str, scope: tuple[str, ...]) -> int | None:
        """Return the line where another app mounts the app, or a wrapper around the app; `None` if not mounted."""
        made = {f"{'.'.join(scope)}()", *self._results_of(scope)}
        for node in self._file.nodes:
            if not isinstance(node, ast.Call) or not mounts(node):
                continue
            if (
                target and dotted(node.func).rpartition(".")[0] == target
            ):  # the app mounts another app
                continue
            values = {code_of(value) for value in handed_over(node)}
            place = self._file.scope_of(node)
            if scope and place[: len(scope) - 1] == scope[:-1]:
                made.add(f"{scope[-1]}()")  # in the same scope the factory's bare name is enough
            inside = place[: len(scope)] == scope
            if values & made or (inside and target in values):
                return self._file.line_of(node)
        return None

    def _mounted_as_made(self, call: ast.Call) -> int | None:
        """Return the line of the call that mounts the new app directly: `app.mount("/", FastAPI())`."""
        for parent, child in self._file.ancestors(call):
            if isinstance(parent, ast.stmt | ast.Lambda):
                return None
            if isinstance(parent, ast.Call) and mounts(parent) and child is not parent.func:
                return self._file.line_of(parent)
        return None

    def _construction(self, call: ast.Call) -> Construction:
        parent = self._file.parents[call]
        mates = self._file.line_mates(self._file.statement_of(call))
        target, problem = _binding(parent, call)
        line, last_line = self._file.line_of(mates[0]), self._file.last_line_of(mates[-1])
        problem = problem or self._no_room(call, target) or self._surroundings(call)
        return Construction(
            target,
            self._file.scope_of(call),
            line,
            last_line,
            self._file.column_of(call),
            problem or _routes_first(call),
            tuple(reversed([*self._branches(call)])),
            self._handed_out(call, target),
            isinstance(parent, ast.Return),
            (last_line, line),
            _bound(self._file.statement_of(call)) or target,
            self._mounted_as_made(call),
        )

    def _no_room(self, call: ast.Call, target: str) -> str | None:
        statement = self._file.statement_of(call)
        if self._file.is_inline(statement):
            return "it is made on the line of the block around it, so no line can follow"
        mates = self._file.line_mates(statement)
        following = mates[next(i for i, other in enumerate(mates) if other is statement) + 1 :]
        if target and any(target.partition(".")[0] in names_in(part) for part in following):
            return f"the same line goes on to use {target}"
        return None

    def _surroundings(self, call: ast.Call) -> str | None:
        for parent, _ in self._file.ancestors(call):
            if isinstance(parent, ast.For | ast.While):
                return f"it is made in a loop (line {self._file.line_of(parent)})"
            if isinstance(parent, (*FUNCTIONS, ast.ClassDef)):
                return None
        return None

    def _branches(self, node: ast.AST) -> Iterator[Branch]:
        for parent, child in self._file.ancestors(node):
            if isinstance(parent, (*FUNCTIONS, ast.ClassDef)):
                return
            if isinstance(parent, ast.If):
                yield parent, "body" if child in parent.body else "else"
            elif isinstance(parent, ast.Try | ast.TryStar):
                alone = isinstance(child, ast.ExceptHandler) or child in parent.finalbody
                yield parent, f"{id(child)}" if alone else "body"
            elif isinstance(parent, ast.Match):
                yield parent, f"{id(child)}"

    def _handed_out(self, call: ast.Call, target: str) -> bool:
        function = next(
            (p for p, _ in self._file.ancestors(call) if isinstance(p, FUNCTIONS)), None
        )
        if function is None or "." in target or isinstance(self._file.parents[call], ast.Return):
            return True
        return any(_hands_out(node, target) for node in walk(function) if node is not call)


def mounts(call: ast.Call) -> bool:
    """Whether a call mounts an app in another app, below a path or for a host."""
    return dotted(call.func).endswith((".mount", ".host")) or (
        dotted(call.func).rpartition(".")[2] in {"Mount", "Host"}
    )


def handed_over(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the arguments of a call, and of nested calls: `GZipMiddleware(api)` and `api`."""
    for value in (*call.args, *(keyword.value for keyword in call.keywords)):
        yield value
        if isinstance(value, ast.Call):
            yield from handed_over(value)


def _hands_out(node: ast.AST, target: str) -> bool:
    """Whether a node returns the app, declares its name global, stores it in an attribute or passes it to a server."""
    if isinstance(node, ast.Return | ast.Yield):
        return node.value is not None and target in names_in(node.value)
    if isinstance(node, ast.Global):
        return target in node.names
    if isinstance(node, ast.Assign) and any(
        isinstance(assigned, ast.Attribute) for assigned in node.targets
    ):
        return target in names_in(node.value)
    if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in _SERVERS:
        return any(target in names_in(value) for value in node.args)
    return False


def _binding(parent: ast.AST, call: ast.Call) -> tuple[str, str | None]:
    """Return the name that holds an app, and the reason when no later line can use a name."""
    if isinstance(parent, ast.Assign | ast.AnnAssign) and parent.value is call:
        names = targets_of(parent) or [dotted(target) for target in _targets(parent)]
        if names and names[0]:
            return names[0], None
        return "", f"it is bound to {code_of(parent).split('=')[0].strip()}, not to a plain name"
    if isinstance(parent, ast.Return):
        return "", None
    if isinstance(parent, ast.NamedExpr):
        return "", f"it is named within an expression {_short(parent)}"
    if isinstance(parent, ast.Call | ast.keyword):
        return "", "it is wrapped as it is made"
    return "", "it is not bound to a name"


def _bound(statement: ast.stmt) -> str:
    """Return the first plain name that a statement assigns; empty for none."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return next(iter(targets_of(statement)), "")
    walruses = (inner for inner in ast.walk(statement) if isinstance(inner, ast.NamedExpr))
    return next((inner.target.id for inner in walruses), "")


def _targets(node: ast.Assign | ast.AnnAssign) -> Sequence[ast.expr]:
    return [node.target] if isinstance(node, ast.AnnAssign) else node.targets


def _short(node: ast.AST) -> str:
    text = code_of(node)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _routes_first(call: ast.Call) -> str | None:
    """Return the problem of an app made with `routes=`: the constructor's routes match before every included router."""
    if any(keyword.arg == "routes" for keyword in call.keywords):
        return "it is made with routes=, which come before every router: a catch-all there would hide the jobs"
    return None


# Find the file of a project that makes an app.

_SKIPPED = frozenset(
    {
        "__pycache__",
        "build",
        "dist",
        "docs",
        "docs_src",
        "env",
        "examples",
        "node_modules",
        "site-packages",
        "test",
        "tests",
        "venv",
    }
)
LARGEST = 2_000_000
MANAGED = b"Managed by targcc-gen:"
_HEAD = 400  # bytes searched for the mark, which is in the first or second line


class NoAppError(InputError):
    """No file of a project makes a FastAPI app."""

    code = "TG601"


def find_file(
    root: Path,
    module: str | None = None,
    is_inner: Callable[[Path], bool] | None = None,
) -> Path:
    """Return the only file of the project that makes a FastAPI app; tests, examples and environments do not count.

    Args:
        root: The project's folder.
        module: The module of `--app module:name`; if given, return that module's file.
        is_inner: Whether another app mounts the apps of a file; such files count when no other file makes an app.

    Raises:
        InputError: No file makes an app, several files do, or the only candidate is not valid Python.
    """
    if module:
        return file_of_module(root, module)
    making, broken = [], []
    for path in sorted(python_files(root)):
        try:
            making += [path] if _makes_app(root, path) else []
        except SourceError as error:
            broken.append(error)
    if len(making) > 1 and is_inner is not None:
        making = [path for path in making if not is_inner(path)] or making
    if len(making) == 1:
        return making[0]
    if not making and len(broken) == 1:
        raise broken[0]
    if not making:
        raise NoAppError(
            f"no file in {root} makes a FastAPI app, nor one of Starlette, Litestar, Django or Flask",
            hint=(
                "Name it: targcc-gen patch FILE\n"
                "A program without a web application: targcc-gen new NAME makes a project for the jobs, which runs beside it."
            ),
        )
    raise AppChoiceError(
        f"{len(making)} files in {root} make a FastAPI app\n{_listed(root, making)}",
        hint=f"Name the one to patch: targcc-gen patch {making[0].relative_to(root).as_posix()}",
    )


def _listed(root: Path, paths: Sequence[Path]) -> str:
    return "\n".join(f"  {path.relative_to(root).as_posix()}" for path in paths)


def file_of_module(root: Path, module: str) -> Path:
    """Return the file of a module that `--app module:name` names.

    Raises:
        InputError: The module has no file, or several files match.
    """
    relative = Path(*module.split("."))
    places = [
        base / name
        for base in (root, root / "src")
        for name in (relative.with_suffix(".py"), relative / "__init__.py")
    ]
    existing = [place for place in places if place.is_file()]
    if len(existing) != 1:
        where = _listed(root, existing or places)
        raise AppChoiceError(
            f"--app {module}: {'several files could be' if existing else 'no file is'} that module\n{where}",
            hint="Name the file too: targcc-gen patch FILE --app …",
        )
    return existing[0]


def python_files(root: Path) -> Iterator[Path]:
    """Yield the Python files below `root`; skip hidden folders, environments, tests, examples and builds."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not (here / name / "pyvenv.cfg").is_file()
        ]
        for name in names:
            if name.endswith(".py") and not name.startswith("test_") and name != "conftest.py":
                yield here / name


def _makes_app(root: Path, path: Path) -> bool:
    """Whether a file makes an app.

    Raises:
        SourceError: The file mentions FastAPI and is not valid Python.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError:
        return False
    if b"fastapi" not in data or b"FastAPI" not in data or MANAGED in data[:_HEAD]:
        return False
    return bool(apps_of(AppFile(Source(path.relative_to(root).as_posix(), data))))
