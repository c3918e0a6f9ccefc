"""Shared parts of the commands: settings, a scheduler for the duration of a command, option types.

A command that is sent to a server opens no scheduler, so functions import the scheduler's parts on first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..core.actor import Actor, ActorKind
from ..core.errors import ExtraMissing, SchedulerOff
from ..project import current
from ..schedules.errors import CronError
from ..schedules.words import parse_duration
from ..schedules.zones import parse_zone
from .group import CliError, LocalError, SettingError
from .profiles import server

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ..scheduler import Scheduler
    from ..settings import Settings

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


def settings(**overrides: Any) -> Settings:
    """Return the settings. Values in ``overrides`` that are not ``None`` precede the environment.

    Raises:
        CliError: a setting is invalid, the scheduler is off, or the command is sent to a server.
    """
    refuse_server()
    import pydantic

    from ..settings import Settings

    try:
        chosen = Settings(**{name: value for name, value in overrides.items() if value is not None})
    except pydantic.ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise SettingError("\n".join(map(_wrong, problems))) from None
    except (
        ValueError
    ) as error:  # the SettingsError of pydantic-settings, which early releases do not export
        raise SettingError(_not_json(error)) from None
    if chosen.missing_extra:
        raise CliError(chosen.missing_extra, code=ExtraMissing.code)
    if chosen.mode == "off":
        raise CliError("the scheduler is off: TARGCC_MODE says so", code=SchedulerOff.code)
    # A command runs the scheduler also in a test, where `auto` would turn the scheduler off.
    return chosen.model_copy(update={"mode": "embedded"}) if chosen.mode == "auto" else chosen


def _wrong(item: Mapping[str, Any]) -> str:
    """Describe an invalid setting, or an invalid combination, with the names of environment variables."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["loc"]:
        return f"{_variable('_'.join(map(str, item['loc'])))}: {message}"
    from ..settings import Settings

    fields = Settings.model_fields
    named = r"^[a-z]+\b|[a-z]+_[a-z_]+"  # the first word, and words with an underscore
    return re.sub(named, lambda name: _variable(name[0]) if name[0] in fields else name[0], message)


def _not_json(error: ValueError) -> str:
    """Describe a setting, a list or a mapping, that is no JSON."""
    name = re.search(r'field "(\w+)"', str(error))
    return f"{_variable(name[1]) if name else 'a setting'} is not JSON"


def _variable(field: str) -> str:
    return f"TARGCC_{field.upper()}"


def refuse_server() -> None:
    """Refuse a command that works only with the project's database, before the command prompts.

    Raises:
        CliError: the command is sent to a server.
    """
    profile = server()
    if profile is not None:
        raise LocalError(
            f"{click.get_current_context().command_path} works where the project's database is, not at {profile.server}:"
            " leave --server out, or say targcc --profile local"
        )


async def first_login(chosen: Settings) -> Callable[[str], str] | None:
    """Return the function that makes a link for the first person to sign in; ``None`` if no link is needed. The tables must exist."""
    from ..db.engines import make_engine
    from ..kernel.feature import FirstLogin, load

    engine = make_engine(chosen.database_url)
    try:
        async with engine.connect() as connection:
            for of_feature in load(FirstLogin):
                make_link: Callable[[str], str] | None = await of_feature(connection)
                if make_link is not None:
                    return make_link
    finally:
        await engine.dispose()
    return None


def make_scheduler(chosen: Settings) -> Scheduler:
    """Return a scheduler with these settings, not started."""
    from ..scheduler import Scheduler

    return Scheduler(chosen)


@contextlib.asynccontextmanager
async def opened(*, work_on: str | None = None) -> AsyncIterator[Scheduler]:
    """Open the scheduler for a command and migrate its database.

    Args:
        work_on: Queue to run jobs from meanwhile; by default this process runs nothing.
    """
    logging.getLogger().addHandler(
        logging.NullHandler()
    )  # show errors as messages, not as log lines
    scheduler = make_scheduler(settings())
    queues = [work_on] if work_on is not None else None
    try:
        await scheduler.start(work=work_on is not None, schedule=False, queues=queues)
        yield scheduler
    finally:
        await scheduler.stop()


def broken_lines(scheduler: Scheduler) -> Iterator[str]:
    """Yield the lines about jobs that cannot run, and about alerts that cannot be sent: place and cause, then the way out."""
    for module in scheduler.broken:
        yield f"          {module.place}  {module.error}"
        if module.advice:
            yield f"            {module.advice}"
    for item in scheduler.findings:
        if not item.fails:
            yield f"  warning {item.place}  {item.cause}"
            yield f"            {item.advice}"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine and return the result."""
    return asyncio.run(coroutine)


def audited(
    action: str, detail: str, work: Callable[[AsyncConnection, datetime], Awaitable[None]]
) -> None:
    """Run ``work`` and add an audit row, in the same transaction."""
    from ..kernel.audit import audit

    async def command() -> None:
        async with opened() as scheduler:
            now = scheduler.clock.now()

            async def both(db: AsyncConnection) -> None:
                await work(db, now)
                await audit(db, operator(), action, now, detail=detail)

            await scheduler.change(both)

    run(command())


def operator() -> Actor:
    """Return the terminal's user as an actor."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container may have a user without a name
        name = "unknown"
    return Actor(ActorKind.CLI, name)


def duration(text: str) -> timedelta:
    """Parse an option's duration such as ``90s``, ``15m``, ``2d``.

    Raises:
        click.BadParameter: the text is no duration.
    """
    try:
        return parse_duration(text)
    except CronError as error:
        raise click.BadParameter(str(error)) from None


def instant(text: str) -> datetime:
    """Parse an option's instant: ``2026-12-31T08:00``, by default in the project's zone, or a duration from now.

    Raises:
        click.BadParameter: the text is neither.
    """
    zone = parse_zone(current().timezone)
    with contextlib.suppress(CronError):
        return datetime.now(zone) + parse_duration(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-12-31T08:00, nor a duration such as 2h"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
