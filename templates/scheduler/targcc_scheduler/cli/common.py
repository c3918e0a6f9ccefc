"""What the commands share: the settings, the scheduler opened for one command, types of options."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
import pydantic
from pydantic_settings import SettingsError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor, ActorKind
from ..db.engines import make_engine
from ..features.accounts import users
from ..kernel.audit import audit
from ..project import current
from ..scheduler import Scheduler
from ..schedules.errors import CronError
from ..schedules.words import parse_duration
from ..schedules.zones import parse_zone
from ..settings import Settings
from .group import CliError
from .profiles import server

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


def settings(**overrides: Any) -> Settings:
    """The settings; those that are not ``None`` in ``overrides`` go before the environment.

    Raises:
        CliError: one of them is wrong, the scheduler is off, or the command is sent to a server.
    """
    refuse_server()
    try:
        chosen = Settings(**{name: value for name, value in overrides.items() if value is not None})
    except pydantic.ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise CliError("\n".join(map(_wrong, found))) from None
    except SettingsError as error:
        raise CliError(_not_json(error)) from None
    if chosen.mode == "off":
        raise CliError("the scheduler is off: TARGCC_MODE says so")
    # A command is meant to do something, also when a test starts it.
    return chosen.model_copy(update={"mode": "embedded"}) if chosen.mode == "auto" else chosen


def _wrong(item: Mapping[str, Any]) -> str:
    """What is wrong with a setting, or with several together, by their names in the environment."""
    said = str(item["msg"]).removeprefix("Value error, ")
    if item["loc"]:
        return f"{_variable('_'.join(map(str, item['loc'])))}: {said}"
    fields = Settings.model_fields
    named = r"^[a-z]+\b|[a-z]+_[a-z_]+"  # the first word, and what is no word of English
    return re.sub(named, lambda name: _variable(name[0]) if name[0] in fields else name[0], said)


def _not_json(error: SettingsError) -> str:
    """Which setting could not be read: one that is a list or a mapping."""
    name = re.search(r'field "(\w+)"', str(error))
    return f"{_variable(name[1]) if name else 'a setting'} is not JSON"


def _variable(field: str) -> str:
    return f"TARGCC_{field.upper()}"


def refuse_server() -> None:
    """Refuse a command that is sent to a server, before it asks anything.

    Raises:
        CliError: it is.
    """
    profile = server()
    if profile is not None:
        raise CliError(
            f"{click.get_current_context().command_path} works where the project's database is, not at {profile.server}:"
            " leave --server out, or say targcc --profile local"
        )


async def has_users(chosen: Settings) -> bool:
    """Whether anybody may sign in with a password; the tables have to be there."""
    engine = make_engine(chosen.database_url)
    try:
        async with engine.connect() as connection:
            return await users.has_users(connection)
    finally:
        await engine.dispose()


@contextlib.asynccontextmanager
async def opened(*, work_on: str | None = None) -> AsyncIterator[Scheduler]:
    """The scheduler for one command, with its database brought up to date.

    Args:
        work_on: A queue to take runs from meanwhile; by default this process runs nothing.
    """
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # errors are shown as messages, not as log lines
    scheduler = Scheduler(settings())
    queues = [work_on] if work_on is not None else None
    try:
        await scheduler.start(work=work_on is not None, schedule=False, queues=queues)
        yield scheduler
    finally:
        await scheduler.stop()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(coroutine)


def audited(
    action: str, detail: str, work: Callable[[AsyncConnection, datetime], Awaitable[None]]
) -> None:
    """Do ``work`` and write it into the audit, in one transaction."""

    async def command() -> None:
        async with opened() as scheduler:
            now = scheduler.clock.now()

            async def both(db: AsyncConnection) -> None:
                await work(db, now)
                await audit(db, operator(), action, now, detail=detail)

            await scheduler.change(both)

    run(command())


def operator() -> Actor:
    """The user of this terminal, as an actor."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may have a user without a name
        name = "unknown"
    return Actor(ActorKind.CLI, name)


def duration(text: str) -> timedelta:
    """The type of options that take a duration such as ``90s``, ``15m``, ``2d``."""
    try:
        return parse_duration(text)
    except CronError as error:
        raise click.BadParameter(str(error)) from None


def instant(text: str) -> datetime:
    """The type of options that take ``2026-12-31T08:00``, in the project's zone unless it names one, or a duration from now."""
    zone = parse_zone(current().timezone)
    with contextlib.suppress(CronError):
        return datetime.now(zone) + parse_duration(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-12-31T08:00, nor a duration such as 2h"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)
