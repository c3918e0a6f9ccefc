"""The rule of ``targcc dev``: which database is the project's development database.

``dev`` works on one of two databases and on no other:

* the database of ``TARGCC_DEV_DATABASE_URL``, which the name marks as development;
* the SQLite file of the project's own default, below the current folder, if no variable names another database and ``TARGCC_ENVIRONMENT`` is empty.

``APP_DEV_DATABASE_URL`` does the same for the database that jobs work on. A server, by option, variable or profile, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from ..core.database_url import STORES
from ..db.dialects import known
from ..project import ENVIRONMENT, Project
from .group import DevelopmentDatabaseError

DATABASE, DEV_DATABASE = "TARGCC_DATABASE_URL", "TARGCC_DEV_DATABASE_URL"
APP_DATABASE, APP_DEV_DATABASE = "APP_DATABASE_URL", "APP_DEV_DATABASE_URL"
_NEVER = {
    "TARGCC_LEGACY_URL": "",
    "TARGCC_CUTOVER_URL": "",
    "TARGCC_PING_URL": "",
    "TARGCC_ALERT_EMAIL": "",
    "TARGCC_SEND_ALERTS": "false",
    "TARGCC_SEND_WEBHOOKS": "false",
    "TARGCC_MODE": "embedded",
    "TARGCC_HOST": "127.0.0.1",
    "TARGCC_BASE_URL": "",
    "TARGCC_MIGRATE_ON_START": "true",
}
"""Settings of the process that serves: no other database, no alert, no webhook, no ping, this machine only."""


def development_environment(
    environ: Mapping[str, str], dotenv: Mapping[str, str | None], project: Project, folder: Path
) -> dict[str, str]:
    """Return the environment of the process that serves, with the development database as its only database.

    Names of variables count in any case, as for settings; the environment precedes ``.env``.

    Args:
        environ: The variables of the environment.
        dotenv: The variables of ``.env``.
        project: The project, with its default.
        folder: The current folder.

    Raises:
        DevelopmentDatabaseError: The database in force is not the project's development database; the message says the way out.
    """
    given = {name.upper(): value or "" for name, value in dotenv.items()}
    given |= {name.upper(): value for name, value in environ.items()}
    chosen = dict(_NEVER)
    chosen[DATABASE] = given.get(DEV_DATABASE) or _default(given, project, folder)
    if given.get(APP_DATABASE) and not given.get(APP_DEV_DATABASE):
        raise DevelopmentDatabaseError(
            f"{APP_DATABASE} names a database that jobs work on, and nothing marks it as development.\n"
            f"  {APP_DEV_DATABASE} names the one for targcc dev; or remove {APP_DATABASE}"
        )
    if given.get(APP_DEV_DATABASE):
        chosen[APP_DATABASE] = given[APP_DEV_DATABASE]
    kept = {name: value for name, value in environ.items() if name.upper() not in chosen}
    return kept | chosen


def _default(given: Mapping[str, str], project: Project, folder: Path) -> str:
    """Return the URL of the project's own SQLite file.

    Raises:
        DevelopmentDatabaseError: Another database is in force.
    """
    way_out = f"  {DEV_DATABASE}=sqlite:///{project.package}.db names a development database, in .env or in the environment"
    if given.get(ENVIRONMENT):
        raise DevelopmentDatabaseError(
            f"{ENVIRONMENT} is {given[ENVIRONMENT]!r}: targcc dev does not work on the database of an environment.\n{way_out}; or unset {ENVIRONMENT}"
        )
    url = given.get(DATABASE) or project.database_url
    if given.get(DATABASE) and _file(url, folder) != _file(project.database_url, folder):
        raise DevelopmentDatabaseError(
            f"{DATABASE} names a database that nothing marks as development: targcc dev does not touch it.\n{way_out}; or unset {DATABASE}"
        )
    file = _file(url, folder)
    if file is None or not file.is_relative_to(folder.resolve()):
        raise DevelopmentDatabaseError(
            f"the default database of {project.name} is no SQLite file in this folder: targcc dev does not touch it.\n{way_out}"
        )
    return url


def _file(url: str, folder: Path) -> Path | None:
    """Return the file of an SQLite URL, with links resolved; ``None`` for another database, or for a URL that cannot be parsed."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return None
    if parsed.get_backend_name() not in STORES or parsed.query:
        return None
    file = known.for_url(parsed).file(parsed)
    return None if file is None else (folder / file).resolve()
