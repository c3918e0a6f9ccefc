"""What a job's constructor asks for."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from dishka import AsyncContainer
from dishka.exceptions import NoFactoryError


async def services_for(
    target: type, container: AsyncContainer | None, offers: Mapping[type, Any]
) -> dict[str, Any]:
    """What a class asks for in its constructor, by type.

    Args:
        target: The class.
        container: Where services come from.
        offers: What there is besides, by type; looked at first.

    Raises:
        TypeError: something is asked for that nobody offers.
    """
    services: dict[str, Any] = {}
    for parameter, kind in _wanted(target):
        if isinstance(kind, type) and kind in offers:
            services[parameter.name] = offers[kind]
            continue
        found, service = await _service(kind, container)
        if found:
            services[parameter.name] = service
        elif parameter.default is parameter.empty:
            raise TypeError(_nobody_offers(target, parameter, kind))
    return services


@lru_cache(maxsize=1_000)
def _wanted(target: type) -> Sequence[tuple[inspect.Parameter, Any]]:
    """The parameters of a class's constructor with their types; found once, as that takes longer than many a job."""
    wanted = [
        parameter
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if not wanted:
        return ()
    types = typing.get_type_hints(target.__init__, vars(sys.modules[target.__module__]))  # type: ignore[misc]  # read, not called
    return [(parameter, types.get(parameter.name)) for parameter in wanted]


async def _service(kind: Any, container: AsyncContainer | None) -> tuple[bool, Any]:
    if container is None or kind is None:
        return False, None
    try:
        return True, await container.get(kind)
    except NoFactoryError as error:
        if error.requested.type_hint is not kind:  # offered, but what it needs itself is not
            raise
        return False, None


def _nobody_offers(target: type, parameter: inspect.Parameter, kind: Any) -> str:
    if kind is None:
        return f"{target.__name__}: the constructor's parameter {parameter.name} needs a type, so that it can be offered"
    return (
        f"{target.__name__} asks for {parameter.name}: {getattr(kind, '__qualname__', kind)}, which nobody offers: "
        "add it to services.py"
    )
