"""The checks of `targcc-gen doctor`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from targcc_gen.errors import TargccError
from targcc_gen.git import program

_OLDEST = (3, 11)
_NEWEST = (3, 14)
_PORT = 8000
_SERVERS = {
    "postgresql": ("PostgreSQL", 5432),
    "postgres": ("PostgreSQL", 5432),
    "mssql": ("SQL Server", 1433),
}
_DATABASES = "the scheduler runs on sqlite:///file.db, postgresql://user:password@host/name or mssql://user:password@host/name"
_PATIENCE = 2.0


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        level: `ok`, `warn` or `fail`.
        what: The result in words.
        advice: The next step; empty if all is well.
    """

    level: str
    what: str
    advice: str = ""


def machine_findings() -> Iterator[Finding]:
    """Check this machine: Python, templates, uv, time zones."""
    yield _python()
    yield _templates()
    yield _uv()
    yield _zones()


def project_findings(root: Path) -> Iterator[Finding]:
    """Check the project in `root`: spec, lock, files, environment, database, port."""
    spec = _spec(root)
    yield spec
    yield _lock(root)
    if spec.level == "ok":
        yield from _state(root)
    yield from _environment(root)
    yield from _alembic(root)
    settings = _settings(root)
    yield _database(root, settings.get("TARGCC_DATABASE_URL", ""))
    yield _port(settings.get("TARGCC_PORT", ""))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        return Finding("ok", f"Python {version}")
    level = "fail" if sys.version_info < _OLDEST else "warn"
    return Finding(
        level, f"Python {version} is not one of 3.11 to 3.14", "install one: uv python install 3.13"
    )


def _templates() -> Finding:
    from targcc_gen import __version__, assets

    if (assets.project_template() / "copier.yml").is_file():
        return Finding("ok", f"targcc-gen {__version__}, with its templates")
    return Finding(
        "fail",
        f"targcc-gen {__version__} without its templates",
        "install it again: uv tool install --reinstall targcc-gen",
    )


def _uv() -> Finding:
    if uv := program("uv"):
        return Finding("ok", f"uv, {uv}")
    return Finding(
        "warn",
        "no uv",
        "pip and a virtual environment do as well: python -m venv .venv, then pip install -e .",
    )


def _zones() -> Finding:
    from targcc_scheduler.schedules.errors import CronError
    from targcc_scheduler.schedules.zones import parse_zone

    try:
        parse_zone("Europe/London")
    except CronError:
        return Finding("fail", "no time zone database", "install it: pip install tzdata")
    return Finding("ok", "time zones")


def _spec(root: Path) -> Finding:
    from targcc_gen.spec.loader import read_text
    from targcc_gen.spec.shared import whole_spec

    try:
        spec = whole_spec(read_text(root / "targcc.yaml"), root)
    except TargccError as error:
        return Finding("fail", f"targcc.yaml is wrong:\n{error.message}")
    return Finding("ok", f"targcc.yaml, {len(spec.jobs)} job{'' if len(spec.jobs) == 1 else 's'}")


def _lock(root: Path) -> Finding:
    from targcc_gen.sync import Lock

    try:
        lock = Lock.load(root)
        kept = sum(entry.base is not None for entry in lock.entries.values())
    except TargccError as error:
        return Finding("fail", error.message, error.hint or "")
    if not lock.generator:
        return Finding(
            "warn",
            "no lock in .targcc",
            "take it back from version control; without it edits cannot be merged",
        )
    return Finding("ok", f"the lock, {len(lock.entries)} files, {kept} with their base")


def _state(root: Path) -> Iterator[Finding]:
    from targcc_gen.render import render_project
    from targcc_gen.spec.loader import read_text
    from targcc_gen.spec.shared import whole_spec
    from targcc_gen.sync import make_plan

    text = read_text(root / "targcc.yaml")
    try:
        plan = make_plan(render_project(whole_spec(text, root), spec_text=text), root)
    except TargccError as error:
        yield Finding("fail", error.message, error.hint or "")
        return
    if plan.conflicts:
        names = ", ".join(change.path for change in plan.conflicts)
        yield Finding("fail", f"conflicts in {names}", "targcc-gen regenerate shows them")
    elif plan.is_empty:
        yield Finding("ok", "every file is what targcc.yaml asks for")
    else:
        due = sum(change.writes for change in plan.changes)
        files = "1 file is" if due == 1 else f"{due} files are"
        what = f"{files} not up to date" if due else "the lock in .targcc is not up to date"
        yield Finding("warn", what, "run: targcc-gen regenerate")


def _environment(root: Path) -> Iterator[Finding]:
    """Compare the scheduler's wheel in the project with the version installed in its environment; no process is started."""
    from targcc_gen.render.package import DISTRIBUTION, PACKAGE
    from targcc_gen.render.wheel import FOLDER, version_of

    paths = sorted(path.name for path in (root / FOLDER).glob(f"{PACKAGE}-*.whl"))
    carried = [version for name in paths if (version := version_of(f"{FOLDER}/{name}"))]
    folders = [folder for folder in (".venv", "venv") if (root / folder).is_dir()]
    if len(carried) != 1 or not folders:
        return
    pattern = f"[Ll]ib/**/site-packages/{PACKAGE}-*.dist-info"
    wheels = [path.name for path in (root / folders[0]).glob(pattern)]
    installed = [name.removeprefix(f"{PACKAGE}-").removesuffix(".dist-info") for name in wheels]
    if not installed:
        what = f"{folders[0]} has no {DISTRIBUTION}, and the project carries {carried[0]}"
    elif carried[0] in installed or carried[0].partition("+")[0] in installed:
        yield Finding("ok", f"{DISTRIBUTION} {installed[0]} in {folders[0]}, as the project has it")
        return
    else:
        what = (
            f"{folders[0]} has {DISTRIBUTION} {installed[0]}, and the project carries {carried[0]}"
        )
    yield Finding("warn", what, f"run: {_update(root)}")


def _alembic(root: Path) -> Iterator[Finding]:
    """Find an `env.py` of the app's own Alembic that does not leave out the scheduler's tables."""
    from targcc_gen.patch.alembic_env import NAME, OPTION, find_envs, lacks_option

    for path, data in find_envs(root):
        if lacks_option(data):
            yield Finding(
                "warn",
                f"{path} leaves the scheduler's tables to autogenerate, which would drop them",
                f"run: targcc-gen patch, or write context.configure(…, {OPTION}={NAME}) with {NAME} from the project's scheduler",
            )
        else:
            yield Finding("ok", f"{path} leaves out the scheduler's tables")


def _update(root: Path) -> str:
    from targcc_gen.dependencies.declare import Texts, update_command
    from targcc_gen.dependencies.dependency import app_dependencies
    from targcc_gen.spec import load_spec

    try:
        return update_command(Texts(root), app_dependencies(load_spec(root / "targcc.yaml")))
    except TargccError:
        return "uv sync, or: pip install --find-links vendor ."


def _settings(root: Path) -> dict[str, str]:
    """Return the scheduler's settings by name, from `.env` and, with precedence, the environment."""
    result: dict[str, str] = {}
    env = root / ".env"
    if env.is_file():
        for line in env.read_text(encoding="utf-8", errors="replace").splitlines():
            name, equals, value = line.partition("=")
            if equals and not name.lstrip().startswith("#"):
                result[name.removeprefix("export ").strip().upper()] = value.strip().strip("\"'")
    return result | {name.upper(): value for name, value in os.environ.items()}


def _database(root: Path, url: str) -> Finding:
    if not url:
        return Finding("ok", "the database that targcc.yaml names (TARGCC_DATABASE_URL is not set)")
    try:
        parts = urlsplit(_without_user(url))
        port = parts.port
    except ValueError as error:
        return Finding("fail", f"TARGCC_DATABASE_URL is no URL: {error}")
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Finding(
            "fail",
            "TARGCC_DATABASE_URL is no URL",
            _DATABASES,
        )
    kind = parts.scheme.partition("+")[0]
    if kind == "sqlite":
        return _sqlite(root, parts)
    if kind in _SERVERS:
        product, usual_port = _SERVERS[kind]
        return _reachable(product, parts.hostname or "localhost", port or usual_port)
    return Finding(
        "fail",
        f"TARGCC_DATABASE_URL begins with {scheme!r}",
        _DATABASES,
    )


def _without_user(url: str) -> str:
    """Strip user and password from a URL: a slash in a password would end the host, and error messages would show the rest."""
    scheme, separator, rest = url.partition("://")
    place, query, more = rest.partition("?")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{query}{more}"


def _sqlite(root: Path, parts: SplitResult) -> Finding:
    file = root / parts.path.removeprefix("/")
    place = file if file.exists() else file.parent
    if place.exists() and os.access(place, os.W_OK):
        return Finding("ok", f"SQLite in {file}")
    return Finding(
        "fail", f"SQLite cannot write {file}", "make its folder, or give it to this user"
    )


def _reachable(product: str, host: str, port: int) -> Finding:
    if host.startswith("/"):
        exists = Path(host).exists()
        return Finding("ok" if exists else "fail", f"{product}'s socket in {host}")
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except OSError as error:
        return Finding(
            "fail",
            f"nothing answers at {host}:{port}: {error}",
            f"start {product}, or correct TARGCC_DATABASE_URL",
        )
    return Finding("ok", f"{product}'s port answers at {host}:{port}")


def _port(text: str) -> Finding:
    if text and not text.isdecimal():
        return Finding("fail", f"TARGCC_PORT is {text!r}", "it is a number such as 8000")
    port = int(text or _PORT)
    with socket.socket() as probe:
        probe.settimeout(_PATIENCE)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if taken:
        return Finding(
            "warn",
            f"port {port} is in use",
            "this project serves there already, or choose another with TARGCC_PORT",
        )
    return Finding("ok", f"port {port} is free")
