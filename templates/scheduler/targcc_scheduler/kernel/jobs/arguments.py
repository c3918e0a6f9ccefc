"""Typed job arguments: read from the signature, checked when a run is created, stored as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import math
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic
from pydantic_core import to_jsonable_python

from ...core.errors import ArgumentsError, ArgumentTypeError, FileError, SecretError
from ...core.masking import KNOWN
from ...core.secrets import SEALS
from ...core.stored_values import Here, expanded, is_large, may_refer
from .files import Content, File, Taken

_SECRETS = (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)
_AS_IT_IS = frozenset({str, int, bool, type(None)})
"""The types whose values need no conversion to JSON; nearly all arguments have such a type."""
_as_json = json.JSONEncoder(ensure_ascii=False).encode
"""Encode JSON like ``json.dumps``, without creating an encoder in each call."""


@dataclass(frozen=True)
class Parameters:
    """The parameters that a job's function takes.

    Args:
        context: The name of the parameter that takes the :class:`JobContext`; ``None`` without such a parameter.
        model: The model for the other parameters; ``None`` without other parameters.
        secrets: The names of secret parameters: pydantic's ``SecretStr``, ``SecretBytes``, ``Secret[…]``, or a type that contains such a type.
    """

    context: str | None
    model: type[pydantic.BaseModel] | None
    secrets: frozenset[str]

    def by_name(self, positional: Sequence[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments by name, in the order of the signature without the context.

        Raises:
            ArgumentsError: The job takes fewer arguments, or an argument is given twice.
        """
        names = list(self.model.model_fields) if self.model is not None else []
        if len(positional) > len(names):
            raise ArgumentsError(f"takes {len(names)} arguments, but got {len(positional)}")
        named = dict(zip(names, positional, strict=False))
        if twice := named.keys() & arguments.keys():
            raise ArgumentsError(f"got {', '.join(sorted(twice))} twice")
        return named | dict(arguments)

    def check(self, arguments: Mapping[str, Any]) -> str | None:
        """Check the arguments and add defaults; return them as JSON with encrypted secrets, or ``None`` for a job without arguments.

        Raises:
            ArgumentsError: An argument is missing, unknown or has the wrong type.
        """
        return self._written(arguments, None)

    def take(
        self, arguments: Mapping[str, Any], most: int
    ) -> tuple[str | None, tuple[Content, ...]]:
        """Check a run's arguments, and extract files and large arguments, which are stored beside the run's row.

        Args:
            arguments: The arguments.
            most: Maximum bytes in a file or a large argument.

        Returns:
            The result of :meth:`check`, with references instead of extracted content; and the content.

        Raises:
            ArgumentsError: An argument is missing, unknown or has the wrong type.
            FileError: A file cannot be read, or a file or argument is too large.
        """
        if self.model is None:
            return self._written(arguments, None), ()
        taken = Taken(most)
        return self._written(arguments, taken), taken.contents

    def _written(self, arguments: Mapping[str, Any], taken: Taken | None) -> str | None:
        if self.model is None:
            if arguments:
                raise ArgumentsError(f"takes no arguments, but got {', '.join(arguments)}")
            return None
        checked = _validated(self.model, dict(arguments))
        self._know(checked)
        file = _refused if taken is None else taken.file
        plain = {name: _plain(value, file) for name, value in vars(checked).items()}
        try:
            sealed = SEALS.seal(plain, self.secrets)
            text = _as_json(sealed)
            if not text.isascii():
                text.encode()
        except UnicodeEncodeError:
            raise ArgumentsError("a text among them has half a character, a surrogate") from None
        if taken is None or not taken.is_too_large(text):
            return text
        return _as_json(taken.large(sealed, but=self.secrets))

    def only(self, names: Iterable[str]) -> Parameters:
        """Return the parameters reduced to some names.

        Raises:
            ArgumentsError: A name belongs to no parameter.
        """
        known = self.model.model_fields if self.model is not None else {}
        if unknown := [name for name in names if name not in known]:
            raise ArgumentsError(f"takes no {', '.join(unknown)}: {', '.join(known) or 'nothing'}")
        fields: dict[str, Any] = {name: (known[name].annotation, known[name]) for name in names}
        return Parameters(self.context, _model(fields), self.secrets & fields.keys())

    def reseal(self, arguments_json: str) -> str:
        """Encrypt the secrets in the result of :meth:`check` again, with the newest key.

        Raises:
            SecretError: The secrets are encrypted with a key that this process does not have.
        """
        opened = self.plain(arguments_json)
        return _as_json(SEALS.seal(opened, self.secrets))

    def plain(self, arguments_json: str | None) -> dict[str, Any]:
        """Parse the result of :meth:`check` into JSON values, with decrypted secrets.

        Raises:
            SecretError: The secrets are encrypted with a key that this process does not have.
        """
        return SEALS.open(json.loads(arguments_json or "{}"), self.secrets)

    def fits(self, arguments_json: str | None) -> dict[str, Any] | None:
        """Check stored arguments before extracted content has been fetched.

        Returns:
            The result of :meth:`load`, whose files cannot be read yet; ``None`` if large arguments were extracted.

        Raises:
            ArgumentsError: The arguments do not fit the parameters; extracted values are not checked.
        """
        if self.model is None or arguments_json is None or not may_refer(arguments_json):
            return self.load(arguments_json)
        given = json.loads(arguments_json)
        small = {name: value for name, value in given.items() if not is_large(value)}
        if len(small) == len(given):
            return self.load(arguments_json)
        self.only(given)  # refuses an unknown name
        large = given.keys() - small.keys()
        rest = self.only([name for name in self.model.model_fields if name not in large])
        rest.load(json.dumps(small))
        return None

    def load(self, arguments_json: str | None, here: Here | None = None) -> dict[str, Any]:
        """Decode the result of :meth:`check` or :meth:`take` into keyword arguments for the job's function.

        Args:
            arguments_json: The arguments.
            here: The extracted content that is on this machine. Default: none.

        Raises:
            ArgumentsError: The arguments do not fit, such as after a changed signature, or cannot be decrypted.
        """
        here = here or Here()
        if arguments_json is not None and may_refer(arguments_json):
            arguments_json = expanded(arguments_json, here)
        try:
            arguments = json.loads(arguments_json or "{}")
        except ValueError as error:
            raise ArgumentsError(f"they are not JSON: {error}") from None
        if self.model is None:
            if arguments:
                raise ArgumentsError(f"takes no arguments, but got {', '.join(arguments)}")
            return {}
        try:
            loaded = _validated(self.model, SEALS.open(arguments, self.secrets), here)
        except SecretError as error:
            raise ArgumentsError(str(error)) from None
        self._know(loaded)
        return _fields(loaded)

    def _know(self, arguments: pydantic.BaseModel) -> None:
        """Register secret arguments' values, so that all later output masks them."""
        for name in self.secrets:
            for value in _secret_values(getattr(arguments, name)):
                KNOWN.add(value, passing=True)


def parameters_of(function: Callable[..., Any], *, bound: bool) -> Parameters:
    """Read the parameters from a job function's signature.

    Args:
        function: A class's method ``execute``, or a function.
        bound: Whether the first parameter is ``self``.

    Raises:
        ArgumentTypeError: A parameter has no type, a type that pydantic cannot check, or a secret type that contains a file.
    """
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    context = next((item.name for item in parameters if _takes_context(item)), None)
    rest = [item for item in parameters if item.name != context and _is_named(item)]
    if not rest:
        return Parameters(context, None, frozenset())
    fields: dict[str, Any] = {}
    for item in rest:
        fields[item.name] = (_type_of(function, item), _default(item))
    secrets = frozenset(name for name, (kind, _) in fields.items() if _is_secret(kind))
    for name in secrets:
        if _holds(fields[name][0], lambda kind: kind is File):
            raise ArgumentTypeError(
                f"the parameter {name} of {function.__qualname__}: a file is not sealed, so it cannot be in a secret"
            )
    return Parameters(context, _checked_model(function, fields), secrets)


def _checked_model(
    function: Callable[..., Any], fields: Mapping[str, Any]
) -> type[pydantic.BaseModel]:
    """Build the model; if a field fails, raise an error that names the parameter instead of pydantic's error."""
    try:
        return _model(fields)
    except Exception as error:  # noqa: BLE001 - a type may raise anything
        for name, (kind, default) in fields.items():
            try:
                _model({name: (kind, default)})
            except Exception:  # noqa: BLE001 - a type may raise anything
                shown = getattr(kind, "__qualname__", kind)
                raise ArgumentTypeError(
                    f"the parameter {name} of {function.__qualname__}: {shown} cannot be an argument. Give it a type that JSON can hold (str, int,"
                    " date, a dataclass, a pydantic model); a service belongs in the constructor"
                ) from None
        raise ArgumentTypeError(
            f"the parameters of {function.__qualname__} cannot be arguments: {error}"
        ) from None


def _model(fields: Mapping[str, Any]) -> type[pydantic.BaseModel]:
    config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    with warnings.catch_warnings():
        # A parameter may be called `json` or `copy`: no code calls pydantic's methods with these names on this model.
        warnings.filterwarnings("ignore", 'Field name ".*" in "Arguments" shadows', UserWarning)
        return pydantic.create_model("Arguments", __config__=config, **fields)


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
        raise ArgumentTypeError(
            f"the parameter {parameter.name} of {function.__qualname__} needs a type, such as {parameter.name}: str"
        )
    if not isinstance(annotation, str):
        return annotation
    # Evaluate this annotation alone: other annotations may use names that are imported for type checkers only.
    probe = types.SimpleNamespace(__annotations__={parameter.name: annotation})
    names = vars(sys.modules[function.__module__])
    try:
        return typing.get_type_hints(probe, globalns=names, include_extras=True)[parameter.name]
    except Exception as error:  # noqa: BLE001 - a type may raise anything
        raise ArgumentTypeError(
            f"the parameter {parameter.name} of {function.__qualname__}: the type {annotation} cannot be read: {error}."
            " Correct it, or import it at the top of the module, outside TYPE_CHECKING"
        ) from None


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default


def takes_file(kind: Any) -> bool:
    """Return whether a type is ``File``, or a union with ``File``."""
    return kind is File or (File in typing.get_args(kind) and typing.get_origin(kind) in _UNIONS)


_UNIONS = {typing.Union, types.UnionType}


def _is_secret(kind: Any) -> bool:
    """Return whether a type is secret or contains a secret type."""
    return _holds(
        kind,
        lambda one: (isinstance(one, type) and issubclass(one, _SECRETS))
        or typing.get_origin(one) is pydantic.Secret,
    )


def _holds(kind: Any, wanted: Callable[[Any], bool], within: tuple[Any, ...] = ()) -> bool:
    """Return whether ``wanted`` holds for a type or a type within that type; handles models that contain themselves."""
    if wanted(kind):
        return True
    parts = (*typing.get_args(kind), *_fields_of(kind))
    return any(
        _holds(part, wanted, (*within, kind))
        for part in parts
        if not any(part is outer for outer in (*within, kind))
    )


def _fields_of(kind: Any) -> Iterator[Any]:
    """Yield the field types in a model or dataclass."""
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        yield from (field.annotation for field in kind.model_fields.values())
    elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield from (field.type for field in dataclasses.fields(kind))


def _secret_values(value: object) -> Iterator[str | bytes]:
    if isinstance(value, _SECRETS):
        inner = value.get_secret_value()
        yield inner if isinstance(inner, bytes) else str(inner)
    elif isinstance(value, pydantic.BaseModel):
        yield from _secret_values(_fields(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _secret_values(vars(value))
    elif isinstance(value, Mapping):
        yield from itertools.chain.from_iterable(map(_secret_values, value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from itertools.chain.from_iterable(map(_secret_values, value))


def _validated(
    model: type[pydantic.BaseModel], values: dict[str, Any], here: Here | None = None
) -> pydantic.BaseModel:
    try:
        return model.model_validate(values, context=here)
    except pydantic.ValidationError as error:
        lines = [_line(item) for item in error.errors(include_url=False, include_input=False)]
        raise ArgumentsError("\n".join(lines)) from None


def _fields(model: pydantic.BaseModel) -> dict[str, Any]:
    """Return a model's fields by name. ``dict(model)`` would mistake a model with a field ``keys`` for a mapping."""
    return dict(iter(model))


def _line(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _plain(value: Any, file: Callable[[File], Any]) -> Any:
    """Convert a value to JSON values. Secrets stay readable, since the job needs them; ``file`` returns a file's replacement."""
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, File):
        return file(value)
    if isinstance(value, _SECRETS):
        return _plain(value.get_secret_value(), file)
    if isinstance(value, pydantic.BaseModel):
        value = _fields(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_plain(key, file)): _plain(item, file) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, file) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)  # JSON has no NaN and no infinity; pydantic parses both from texts
    return to_jsonable_python(value)


def _refused(file: File) -> Any:
    raise FileError(f"{file.name}: a file belongs to one run, and cannot be a default")
