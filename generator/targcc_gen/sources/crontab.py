"""Crontabs: a user's (``crontab -l``), ``/etc/crontab`` and files of ``/etc/cron.d``, as Vixie cron and cronie read them.

Sources of the rules: the manual pages crontab(5) and cron(8) of Debian's cron and of cronie.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.cron import CronSchedule, convert
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.errors import ZoneError
from targcc_gen.old_runners.cron import cron_runs, read_cron_text, vixie_polling
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import EntrySource, numbered, text_param
from targcc_gen.sources.model import ImportedJob, OldJob, Options, Rejection, SourceKind
from targcc_gen.sources.reading import Document
from targcc_gen.sources.zones import resolve_zone
from targcc_gen.spec import Param

# Lines.

_ENTRY = "entry"
TABLES = KnownTables({_ENTRY: "crontab entry"}, _ENTRY, {})
_SETTING = re.compile(r"""\s*(["']?)([A-Za-z_][A-Za-z0-9_]*)\1\s*=\s*(.*?)\s*""")
_FIELDS = re.compile(r"\s*-?(@[A-Za-z_]+|\S+(?:\s+\S+){4})\s+(\S.*)")
_USER = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*\$?)\s+(\S.*)")
_TIME = re.compile(r"[-0-9A-Za-z*/,?~#@]+")
_REBOOT = "@reboot"
_MACROS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a crontab, with the settings above it.

    Attributes:
        file: The file.
        line: The line, from 1.
        schedule: Five fields, or a word such as ``@daily``.
        command: The command, as written.
        user: The user of the command; empty in a user's own crontab.
        settings: The environment settings above the entry.
        comment: The comment lines right above the entry, joined.
    """

    file: str
    line: int
    schedule: str
    command: str
    user: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""

    @property
    def name(self) -> str:
        """The name of the program."""
        return job_name(self.command)

    @property
    def row(self) -> Row:
        """The entry as a row of a table."""
        values = {"schedule": self.schedule, "user": self.user, "command": self.command}
        return Row(_ENTRY, values, self.file, self.line)


def read_crontab(text: str, file: str, *, system: bool) -> Iterator[Entry | Rejection]:
    """Yield each entry, and a rejection for each line that cron would not read.

    Args:
        text: The file's text.
        file: The file's name.
        system: Whether entries name a user, as in ``/etc/crontab``.
    """
    settings: dict[str, str] = {}
    comments: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped.lstrip("#").strip())
            continue
        if not stripped:
            comments.clear()
            continue
        if setting := _SETTING.fullmatch(line):
            settings[setting[2]] = _unquoted(setting[3])
            continue
        comment = " ".join(filter(None, comments))
        comments.clear()
        match = _FIELDS.fullmatch(line)
        user = _USER.fullmatch(match[2]) if match and system else None
        if match is None or (system and user is None):
            needed = "five fields, a user and a command" if system else "five fields and a command"
            yield Rejection(file, number, f"is no crontab line: cron needs {needed}", stripped[:60])
            continue
        command = user[2] if user else match[2]
        yield Entry(
            file,
            number,
            " ".join(match[1].split()),
            command,
            user[1] if user else "",
            dict(settings),
            comment,
        )


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def is_system_crontab(path: Path, text: str) -> bool:
    """Return whether the entries of a file name a user: by the file's place, else if every entry has a word such as ``root``."""
    if path.name == "crontab" or "cron.d" in path.parts:
        return True
    commands = [entry.command for entry in read_crontab(text, "", system=False) if isinstance(entry, Entry)]  # fmt: skip
    words = [command.split()[0] for command in commands]
    return "root" in words and all(re.fullmatch(r"[a-z_][a-z0-9_-]*", word) for word in words)


def is_crontab(path: Path, head: str) -> bool:
    """Return whether a file is a crontab: by its name, or by its lines."""
    if path.suffix.lower() in {".sql", ".csv", ".json", ".jsonl", ".xml", ".tsv", ".yaml", ".yml"}:
        return False
    lines = [line for line in head.split("\n")[:-1] or [head] if line.strip() and not line.strip().startswith("#")]  # fmt: skip
    entries = [line for line in lines if _is_entry(line)]
    others = [line for line in lines if not _is_entry(line) and not _SETTING.fullmatch(line)]
    return bool(entries) and len(entries) >= len(others)


def _is_entry(line: str) -> bool:
    match = _FIELDS.fullmatch(line)
    if match is None:
        return False
    if match[1].startswith("@"):
        return match[1].lower() in {*_MACROS, _REBOOT, "@every_minute"}
    fields = match[1].split()
    return all(map(_TIME.fullmatch, fields)) and all(re.match(r"[*?~\d]", text) for text in fields[:3])  # fmt: skip


# Jobs.

_INTERPRETERS = {
    "sh", "bash", "dash", "zsh", "ksh", "env", "sudo", "nice", "ionice", "nohup", "time", "timeout", "flock", "chronic", "exec",
    "python", "python2", "python3", "perl", "ruby", "php", "node", "java", "cd", "test", "[", "command", "setlocal", "su", "runuser",
}  # fmt: skip
_MANAGERS = {"manage", "artisan", "console", "rake", "wp", "occ", "npm", "yarn", "make", "docker", "curl", "wget"}  # fmt: skip
_QUIET = re.compile(r"\s*(?:\d?>>?|&>)\s*(?:/dev/null|&\d)\s*")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9]+")


def job_name(command: str) -> str:
    """Return a name for a command: the name of its program, and the word after it for programs such as ``manage.py``."""
    words = re.split(r"[\s;&|()]+", command.replace('"', " ").replace("'", " "))
    names = [word for word in words if word and not word.startswith(("-", "$", ">", "<", "2>"))]
    programs = [
        word
        for place, word in enumerate(names)
        if PurePosixPath(word).name not in _INTERPRETERS
        and "=" not in word
        and (place == 0 or names[place - 1] not in {"cd", "-C"})
        and not word.replace(".", "").isdigit()
        and not re.fullmatch(r"/dev/\w+", word)
    ]
    if not programs:
        return "command"
    stem = PurePosixPath(programs[0]).stem or programs[0]
    second = f" {programs[1]}" if stem in _MANAGERS and len(programs) > 1 else ""
    return " ".join(_NOT_A_NAME.sub(" ", stem + second[:40]).split()) or "command"


def split_input(command: str) -> tuple[str, str]:
    """Split a command at its first ``%``: cron passes the rest as input, with a line end for each further ``%``; ``\\%`` is a ``%``."""
    parts = re.split(r"(?<!\\)%", command)
    plain = [part.replace("\\%", "%") for part in parts]
    text = "\n".join(plain[1:])
    return plain[0].strip(), f"{text}\n" if text else ""


def schedules_of(text: str) -> list[str]:
    """Return cron texts of ours for five fields of Vixie cron; two for a day of the month OR a weekday, without a common day.

    Raises:
        Refused: No clock starts the entry, or cron refuses the text.
    """
    word = text.lower()
    if word == _REBOOT:
        raise Refused(
            "@reboot runs at the start of the machine, which is no time: start it with the machine"
        )
    if "~" in text:
        raise Refused(f'"{text}": ~ is a random time that cron draws when it reads the file')
    try:
        return [_own(convert(text, "vixie"), text)]
    except CronError as error:
        fields = text.split()
        if len(fields) != 5:  # noqa: PLR2004 - fields of a crontab
            raise Refused(f'cron "{text}": {error.message}') from None
        return _either_day(fields, text)


def _own(schedule: CronSchedule, text: str) -> str:
    if not schedule.reachable:
        raise Refused(f'cron "{text}": there is no such date, it never runs')
    try:
        return text if CronSchedule.parse(text) == schedule else schedule.normal
    except CronError:
        return schedule.normal


def _either_day(fields: Sequence[str], text: str) -> list[str]:
    try:
        by_day = convert(" ".join([*fields[:4], "*"]), "vixie")
        by_weekday = convert(" ".join([*fields[:2], "*", *fields[3:]]), "vixie")
        january = convert(f"0 0 {fields[2]} 1 *", "vixie")  # has all days
        others = ",".join(
            str(day)
            for day in range(1, 32)
            if not january.matches_day(datetime(2024, 1, day, tzinfo=UTC))
        )
        rest = by_weekday.normal.split()
    except CronError as error:
        raise Refused(f'cron "{text}": {error.message}') from None
    if not others:
        return [_own(by_day, text)]
    rest[2] = others
    return [_own(by_day, text), _own(CronSchedule.parse(" ".join(rest)), text)]


# The simulated runner.


class VixieCron:
    """The starts of cron: once a minute, by the manual page's rules at clock changes; fields are read by croniter."""

    model = (
        "cron is simulated from its manual pages: fields by croniter, a day of the month OR a weekday, and at clock changes of less than"
        " three hours an entry at fixed times runs once, right after a gap, while * as minute or hour follows the clock."
    )

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def starts(self, job: ImportedJob, start: datetime, end: datetime) -> Iterable[datetime]:
        """Return the starts of an entry in a period."""
        text = job.old.schedule_text
        zone = ZoneInfo(job.spec.timezone) if job.spec.timezone else self._zone
        cron = read_cron_text(text, "vixie")
        return cron_runs(cron, zone, start, end, vixie_polling(text), length=timedelta(0))


# The source.


class Crontab(EntrySource[Entry]):
    """The source of crontabs."""

    tables = TABLES
    hint = "crontab -l prints the crontab of a user."
    questions = (
        "Which user runs the worker? cron ran each command as the user of its crontab, in that user's home folder, with PATH=/usr/bin:/bin.",
        "Who read the mails of cron? It mailed the output of a command, also of one that succeeded. Here output is the run's log, and a failure alerts.",
    )
    advice = (
        "Retries: cron had none, so the jobs say retries: 0. Raise it where a second attempt does no harm.",
        "Overlap: cron starts a command while its last run goes on, so the jobs say overlap: allow. overlap: skip replaces flock.",
        "After a downtime cron starts nothing that it missed, so the jobs say misfire: {policy: skip}. run_once replaces anacron.",
    )

    def entries(self, documents: Sequence[Document]) -> Iterator[Entry | Rejection]:
        """Yield the entries of all crontabs."""
        for document in documents:
            system = is_system_crontab(document.path, document.text)
            yield from read_crontab(document.text, document.file.name, system=system)

    def simulation(self, options: Options) -> VixieCron:
        """Return the simulated cron."""
        return VixieCron(options.zone)

    def drafts(self, entry: Entry, options: Options) -> Iterator[Draft]:
        """Yield the jobs of an entry: two for a day of the month OR a weekday."""
        warnings: list[str] = []
        fields = _fields(entry, options, warnings)
        for place, cron in enumerate(schedules_of(entry.schedule)):
            name, own_id = numbered(entry.name, f"{entry.user}:{entry.command}", place)
            old = OldJob(name, own_id, entry.schedule, runner=entry.user)
            values = {"cron": cron, **fields}
            yield Draft(entry.row, name, values, active=True, old=old, warnings=tuple(warnings))


def _fields(entry: Entry, options: Options, warnings: list[str]) -> dict[str, Any]:
    settings = dict(entry.settings)
    zone, mail = settings.pop("CRON_TZ", ""), settings.pop("MAILTO", None)
    shell = settings.pop("SHELL", "")
    settings.pop("MAILFROM", None)
    command, text = split_input(entry.command)
    params = {"command": text_param(command)}
    if text:
        params["stdin"] = text_param(text)
    if shell and PurePosixPath(shell).name not in {"sh", "dash"}:
        params["shell"] = text_param(shell)
    if settings:
        params["environment"] = str(Param("dict", settings, required=False))
    if entry.user:
        warnings.append(f"cron ran it as {entry.user}: run the worker of its queue as that user")
    if _QUIET.search(command):
        warnings.append("it throws its output away: without that, the output is the log of the run")
    fields: dict[str, Any] = {
        "blueprint": "command",
        "params": params,
        "retries": 0,
        "timeout": "none",
        "overlap": "allow",
        "misfire": {"policy": "skip"},
    }
    if entry.comment:
        fields["description"] = entry.comment[:1000]
    if zone:
        fields["timezone"] = _zone(zone)
    addresses = options.alert_email or tuple(
        address for address in re.split(r"[,\s]+", mail or "") if "@" in address
    )
    if addresses:
        fields["alerts"] = {"on": ("failure",), "email": addresses}
    return fields


def _zone(name: str) -> str:
    try:
        return resolve_zone(name.lstrip(":")).key
    except ZoneError:
        raise Refused(f'CRON_TZ is "{name}", which is no time zone') from None


CRONTAB = SourceKind("crontab", "cron", is_crontab, Crontab)
