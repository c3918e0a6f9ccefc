"""Arguments of `execute` that differ between code and spec, and jobs whose blueprint changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.render.blueprints import blueprint_names, own_parameters
from targcc_gen.spec.blueprint_names import own_params
from targcc_gen.sync.merge import Collision

if TYPE_CHECKING:
    from targcc_gen.render.tree import JobFacts, TreeFile


# Changes of a job's blueprint or arguments since the generator's last text.


@dataclass(frozen=True)
class Shape:
    """A change of a job's module beyond its decorator.

    Attributes:
        reason: The spec's change, in words.
        is_other_blueprint: Whether the blueprint changed.
    """

    reason: str
    is_other_blueprint: bool = False


def new_shape(base: bytes, generated: TreeFile) -> Shape | None:
    """Return the spec's change beyond the decorator; None for no change.

    A change of the generator's own blueprints does not count: existing jobs keep their bodies after an upgrade.

    Args:
        base: The generator's last text of the module.
        generated: The generator's new text of the module.
    """
    facts = generated.job
    if facts is None or base == generated.content:
        return None
    was, now = _parsed(base), _parsed(generated.content)
    if was is None or now is None:
        return None
    if _body(was) != _body(now):
        before = closest_blueprint(base, facts)
        if before != facts.blueprint:
            return Shape(f"the spec says blueprint: {facts.blueprint} now", is_other_blueprint=True)
    if _other_arguments(base, generated.content, facts.blueprint):
        return Shape("the spec says other params now")
    if _settings(was) != _settings(now):
        return Shape("the spec says another procedure or default now")
    return None


def closest_blueprint(text: bytes, facts: JobFacts, *, at_least: float = 0) -> str:
    """Return the blueprint whose rendering of this job shares most lines with `text`.

    Args:
        text: Text of the module.
        facts: The job.
        at_least: Minimum share of common lines, 0 to 1; below the minimum, return an empty name.
    """
    lines = _lines(text)

    def likeness(name: str) -> tuple[float, bool, str]:
        other = _lines(facts.as_blueprint(name) or b"")
        common = len(lines & other) / max(1, len(lines | other))
        return round(common, 6), name == facts.blueprint, name

    nearest = max(blueprint_names(), key=likeness)
    return nearest if likeness(nearest)[0] >= at_least else ""


def _lines(text: bytes) -> set[bytes]:
    return {line.strip() for line in text.splitlines()} - {b""}


def _parsed(text: bytes) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _other_arguments(base: bytes, generated: bytes, blueprint: str) -> bool:
    """Return whether the spec changed the arguments. An argument of the blueprint's own may appear or vanish with a release."""
    was, now, own = _arguments(base), _arguments(generated), own_params(blueprint)
    come_or_gone = {name for name in was.keys() ^ now.keys() if name in own}
    return any(was.get(name) != now.get(name) for name in {*was, *now} if name not in come_or_gone)


def _arguments(text: bytes) -> dict[str, tuple[str, str]]:
    try:
        pairs = own_parameters(text.decode())
    except LookupError:
        return {}
    return {
        argument.arg: (ast.unparse(argument), "" if default is None else ast.unparse(default))
        for argument, default in pairs
    }


def _settings(module: ast.Module) -> dict[str, str]:
    """Return the constants that the spec sets in a module."""
    return {
        name: ast.unparse(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0]))
    }


def constant_name(target: ast.expr) -> str:
    """Return the name of a constant that the spec sets; empty for any other target."""
    if isinstance(target, ast.Name) and (
        target.id == "PROCEDURE" or target.id.startswith("DEFAULT_")
    ):
        return target.id
    return ""


def _body(module: ast.Module) -> list[str]:
    """Return the statements that come from the blueprint: without imports, docstrings and the decorator."""
    result = []
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
            node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr | ast.Assign):
            result.append(ast.dump(node))
    return result


# Arguments changed in the code.

PARAMS = "params"
PROCEDURE = "procedure"
"""Word below `keep`, as `PARAMS`: the code's value wins over the spec."""

_CONSTANT = "PROCEDURE"
_MODULE = re.compile(r"\b\w+\.(?=\w)")
_SPELLINGS = (
    (re.compile(r"^Sequence\["), "list["),
    (re.compile(r"^(dict|Mapping)(\[str, Any\])?$"), "dict"),
)


@dataclass(frozen=True)
class Argument:
    """An argument as declared in a module.

    Attributes:
        kind: The type, in one spelling.
        default: Source of the default, with constants replaced by their values; empty for none.
        line: Line number, from 1.
    """

    kind: str
    default: str
    line: int

    def same(self, other: Argument | None) -> bool:
        """Return whether type and default are equal."""
        return other is not None and (self.kind, self.default) == (other.kind, other.default)

    def shown(self, name: str) -> str:
        """Return the argument as written in a signature."""
        kind = f": {self.kind}" if self.kind else ""
        return f"{name}{kind}{f' = {self.default}' if self.default else ''}\n"


@dataclass(frozen=True)
class Declared:
    """The declarations of a module.

    Attributes:
        arguments: Arguments by name, in the order of the signature.
        line: Line number of `execute`, from 1.
        takes_any: Whether `execute` has `**kwargs`.
        procedure: Source of the procedure; empty for none.
        procedure_line: Line number of the procedure.
    """

    arguments: Mapping[str, Argument]
    line: int = 1
    takes_any: bool = False
    procedure: str = ""
    procedure_line: int = 1


@dataclass(frozen=True)
class Drift:
    """Differences between the code and the spec.

    Attributes:
        names: Arguments that a user changed or removed.
        procedure: Whether the procedure differs.
        collisions: The differences, each with its lines.
    """

    names: tuple[str, ...] = ()
    procedure: bool = False
    collisions: tuple[Collision, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Keys of the spec that differ."""
        return (*([PARAMS] if self.names else []), *([PROCEDURE] if self.procedure else []))


def drift(
    existing: bytes, base: bytes, generated: bytes, *, blueprint: str, keep: Collection[str] = ()
) -> Drift:
    """Compare the arguments and the procedure of a module with the spec.

    Arguments that the spec does not list are ignored. Arguments of the blueprint's own are ignored too.

    Args:
        existing: The user's file.
        base: The generator's last text of the file.
        generated: The file rendered from the spec.
        blueprint: Blueprint of the module.
        keep: Words whose value in the code wins over the spec.
    """
    now, was, wanted = declared(existing), declared(base), declared(generated)
    if now is None or was is None or wanted is None:
        return Drift()
    names: list[str] = []
    collisions: list[Collision] = []
    skipped = wanted.arguments.keys() if PARAMS in keep else own_params(blueprint).keys()
    for name, argument in wanted.arguments.items():
        before, current = was.arguments.get(name), now.arguments.get(name)
        if name in skipped or before is None or (current is None and now.takes_any):
            continue
        if current is None or not (current.same(argument) or current.same(before)):
            line = now.line if current is None else current.line
            shown = f"no {name}\n" if current is None else current.shown(name)
            names.append(name)
            collisions.append(Collision(line, line, shown, argument.shown(name)))
    other = now.procedure not in {"", was.procedure, wanted.procedure} and bool(wanted.procedure)
    other = other and PROCEDURE not in keep
    if other:
        shown, line = f"{_CONSTANT} = {now.procedure}\n", now.procedure_line
        collisions.append(Collision(line, line, shown, f"{_CONSTANT} = {wanted.procedure}\n"))
    return Drift(tuple(names), other, tuple(collisions))


def declared(text: bytes) -> Declared | None:
    """Return the declarations of a module; None for invalid Python or a module without `execute`."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    constants = {
        name: node
        for node in module.body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0]))
    }
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "execute":
            procedure = constants.pop(_CONSTANT, None)
            values = {name: constant.value for name, constant in constants.items()}
            return Declared(
                {arg.arg: _argument(arg, default, values) for arg, default in _pairs(node.args)},
                node.lineno,
                node.args.kwarg is not None,
                "" if procedure is None else ast.unparse(procedure.value),
                1 if procedure is None else procedure.lineno,
            )
    return None


def _pairs(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    """Return the arguments after `self` and the context, each with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*defaults, *arguments.defaults], strict=True))[1:]
    if pairs and (pairs[0][0].arg == "ctx" or _kind(pairs[0][0]) == "JobContext"):
        del pairs[0]
    return [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def _argument(
    argument: ast.arg, default: ast.expr | None, constants: Mapping[str, ast.expr]
) -> Argument:
    if isinstance(default, ast.Name):
        default = constants.get(default.id, default)
    return Argument(_kind(argument), "" if default is None else _value(default), argument.lineno)


def _kind(argument: ast.arg) -> str:
    annotation = argument.annotation
    if annotation is None:
        return ""
    quoted = isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
    text = str(annotation.value) if quoted else ast.unparse(annotation)  # type: ignore[attr-defined]
    text = _MODULE.sub("", text)
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    return text


def _value(node: ast.expr) -> str:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return _MODULE.sub("", ast.unparse(node))
    return repr(list(value) if isinstance(value, tuple) else value)
