"""The typed arguments of a job: read from its signature, checked when a run is created, kept as JSON."""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
from pydantic_core import to_jsonable_python

from ..core.errors import ArgumentsError


@dataclass(frozen=True)
class Parameters:
    """The parameters of a job's function.

    Args:
        context: The name of the parameter that takes the :class:`JobContext`; ``None`` when there is none.
        model: The other parameters as a model; ``None`` when there are none.
        secrets: The names of those that are secret (pydantic's ``SecretStr`` or ``SecretBytes``).
    """

    context: str | None
    model: type[pydantic.BaseModel] | None
    secrets: frozenset[str]

    def check(self, arguments: Mapping[str, Any]) -> str | None:
        """The arguments as JSON, checked and completed with defaults; ``None`` for a job that takes none.

        Raises:
            ArgumentsError: some are missing, unknown or of a wrong type.
        """
        if self.model is None:
            if arguments:
                raise ArgumentsError(f"takes no arguments, but got {', '.join(arguments)}")
            return None
        checked = _validated(self.model, dict(arguments))
        return json.dumps(_plain(dict(checked)), ensure_ascii=False)

    def load(self, arguments_json: str | None) -> dict[str, Any]:
        """What :meth:`check` wrote, as keyword arguments.

        Raises:
            ArgumentsError: the job's signature has changed since, and they do not fit any more.
        """
        if self.model is None:
            return {}
        checked = _validated(self.model, json.loads(arguments_json or "{}"))
        return dict(checked)


def parameters_of(function: Callable[..., Any], *, bound: bool) -> Parameters:
    """Read the signature of a job's function.

    Args:
        function: ``execute`` of a class, or a function.
        bound: Whether its first parameter is ``self``.

    Raises:
        TypeError: a parameter has no type, or one that pydantic cannot check.
    """
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    context = next((item.name for item in parameters if _takes_context(item)), None)
    rest = [item for item in parameters if item.name != context and _is_named(item)]
    if not rest:
        return Parameters(context, None, frozenset())
    fields: dict[str, Any] = {}
    for item in rest:
        fields[item.name] = (_type_of(function, item), _default(item))
    config = pydantic.ConfigDict(extra="forbid")
    model = pydantic.create_model("Arguments", __config__=config, **fields)
    secrets = frozenset(name for name, (kind, _) in fields.items() if _is_secret(kind))
    return Parameters(context, model, secrets)


def _takes_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return parameter.name in {"ctx", "context"}
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.rpartition(".")[2] == "JobContext"


def _is_named(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}


def _type_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        raise TypeError(f"the parameter {parameter.name} of {function.__qualname__} needs a type")
    if not isinstance(annotation, str):
        return annotation
    # Only this annotation is evaluated: others may use names that are imported for type checkers only.
    probe = types.SimpleNamespace(__annotations__={parameter.name: annotation})
    names = vars(sys.modules[function.__module__])
    return typing.get_type_hints(probe, globalns=names, include_extras=True)[parameter.name]


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default


def _is_secret(kind: Any) -> bool:
    if kind in {pydantic.SecretStr, pydantic.SecretBytes}:
        return True
    return any(_is_secret(part) for part in typing.get_args(kind) if _hashable(part))


def _hashable(value: object) -> bool:
    return type(value).__hash__ is not None


def _validated(model: type[pydantic.BaseModel], values: dict[str, Any]) -> pydantic.BaseModel:
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        lines = [_line(item) for item in error.errors(include_url=False, include_input=False)]
        raise ArgumentsError("\n".join(lines)) from None


def _line(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _plain(value: Any) -> Any:
    """A value as JSON holds it; secrets are not masked, since the job needs them."""
    if isinstance(value, pydantic.SecretStr | pydantic.SecretBytes):
        return _plain(value.get_secret_value())
    if isinstance(value, pydantic.BaseModel):
        return _plain(dict(value))
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return to_jsonable_python(value)
