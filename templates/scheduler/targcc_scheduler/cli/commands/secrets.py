"""``targcc secret``: keys that encrypt stored secret arguments."""

from __future__ import annotations

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.secrets import SEALS, new_key
from ...kernel.audit import audit
from ...kernel.runs.operate import reseal
from ...scheduler import Scheduler
from ..common import opened, operator, run
from ..group import SettingError
from ..output import done, json_option

_AT_ONCE = 500


@click.group("secret")
def secret_group() -> None:
    """Manage keys for secret arguments: parameters of the types SecretStr, SecretBytes and Secret[…]."""


@secret_group.command("key")
def key() -> None:
    """Print a new key for TARGCC_SECRET_KEY. The key is not stored.

    \b
    Example:
      targcc secret key > /run/secrets/targcc_key
      export TARGCC_SECRET_KEY=file:/run/secrets/targcc_key
    """
    click.echo(new_key())


@secret_group.command("rotate")
@json_option
def rotate(*, as_json: bool) -> None:
    """Encrypt the secret arguments of all runs with the first key of TARGCC_SECRET_KEY.

    Put the new key first and keep the old key behind it, on all servers. Then rotate. Then remove the old key. Arguments that were
    stored before there was a key are encrypted, too.

    \b
    Example:
      targcc secret rotate
    """

    async def work() -> None:
        async with opened() as scheduler:
            if not SEALS.keys:
                raise SettingError("TARGCC_SECRET_KEY is not set: targcc secret key makes one")
            count = await _rotate(scheduler, operator())
        message = f"the secret arguments of {count} runs are sealed with the first key"
        done(message, as_json=as_json, runs=count)

    run(work())


async def _rotate(scheduler: Scheduler, by: Actor) -> int:
    definitions = scheduler.definitions
    jobs = [name for name, definition in definitions.items() if definition.signature.secrets]

    def sealed(job: str, arguments: str) -> str:
        return definitions[job].signature.reseal(arguments)

    count, last = 0, 0
    while True:

        async def some(db: AsyncConnection, after: int = last) -> tuple[int, int]:
            return await reseal(db, jobs, sealed, after=after, limit=_AT_ONCE)

        done, last = await scheduler.change(some)
        count += done
        if not done:
            break
    now = scheduler.clock.now()
    await scheduler.change(lambda db: audit(db, by, "rotate key", now, detail=f"{count} runs"))
    return count
