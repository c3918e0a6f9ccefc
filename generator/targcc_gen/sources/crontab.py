"""Crontabs: a user's (``crontab -l``), ``/etc/crontab`` and files of ``/etc/cron.d``, as Vixie cron and cronie read them.

Sources of the rules: the manual pages crontab(5) and cron(8) of Debian's cron and of cronie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.cron import convert
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.old_runners.cron import cron_runs, read_cron_text, vixie_polling
from targcc_gen.readers.rows import KnownTables, Row
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.entries import EntrySource, numbered, text_param
from targcc_gen.sources.model import OldJob, Options, Rejection, SourceKind
from targcc_gen.sources.reading import Document
from targcc_gen.sources.schedules import cron_of, own_text, zone_named
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
    """Return whether the entries of a file name a user: by the file's place, else by the words where a user would stand.

    A file named ``crontab`` outside ``/etc`` is often the crontab of a user: there each entry needs a word that is no program.
    """
    if "cron.d" in path.parts or path.parts[-2:] == ("etc", "crontab"):
        return True
    commands = [entry.command for entry in read_crontab(text, "", system=False) if isinstance(entry, Entry)]  # fmt: skip
    users = [match[1] if (match := _USER.fullmatch(command)) else "" for command in commands]
    if not all(users) or any(user in _PROGRAMS for user in users):
        return False
    return "root" in users or (path.name == "crontab" and all(map(_names_program, commands)))


def _names_program(command: str) -> bool:
    """Return whether the word after the user is a program: a path, a variable, or a program that crontabs often call."""
    word = command.split()[1]
    return word.startswith(("/", "$", "[", ".", "~")) or word in _PROGRAMS


def is_crontab(path: Path, head: str) -> bool:
    """Return whether a file is a crontab: by its name, or by its lines."""
    if path.suffix.lower() in {".sql", ".csv", ".json", ".jsonl", ".xml", ".tsv", ".yaml", ".yml"}:
        return False
    lines = [line for line in head.split("\n")[:-1] or [head] if line.strip() and not line.strip().startswith("#")]  # fmt: skip
    entries = [line for line in lines if _is_entry(line)]
    others = [line for line in lines if not _is_entry(line) and not _SETTING.fullmatch(line)]
    return bool(entries) and (path.stem == "crontab" or len(entries) >= len(others))


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
_PROGRAMS = _INTERPRETERS | _MANAGERS | {"echo", "find", "rm", "cp", "mv", "date", "rsync", "tar", "cat", "certbot", "logrotate"}  # fmt: skip
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
    fields = text.split()
    try:
        convert(text, "vixie")
    except CronError:
        if len(fields) == 5:  # noqa: PLR2004 - it may have a day of the month and a weekday
            return _either_day(fields, text)
    return [own_text(text, cron_of(text, "vixie"))]


def _either_day(fields: Sequence[str], text: str) -> list[str]:
    by_day = cron_of(" ".join([*fields[:4], "*"]), "vixie")
    by_weekday = cron_of(" ".join([*fields[:2], "*", *fields[3:]]), "vixie")
    january = cron_of(f"0 0 {fields[2]} 1 *", "vixie")  # has all days
    others = ",".join(
        str(day)
        for day in range(1, 32)
        if not january.matches_day(datetime(2024, 1, day, tzinfo=UTC))
    )
    if not others:
        return [own_text(text, by_day)]
    rest = by_weekday.normal.split()
    rest[2] = others
    return [own_text(text, by_day), cron_of(" ".join(rest)).normal]


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
    model = (
        "cron is simulated from its manual pages: fields by croniter, a day of the month OR a weekday, and at clock changes of less than"
        " three hours an entry at fixed times runs once, right after a gap, while * as minute or hour follows the clock."
    )

    def entries(self, documents: Sequence[Document]) -> Iterator[Entry | Rejection]:
        """Yield the entries of all crontabs."""
        for document in documents:
            system = is_system_crontab(document.path, document.text)
            yield from read_crontab(document.text, document.file.name, system=system)

    def starts(
        self, entry: Entry, zone: ZoneInfo, start: datetime, end: datetime
    ) -> Iterator[datetime]:
        """Return the starts of an entry, looked for once a minute."""
        own_zone = ZoneInfo(_zone(entry)) if _zone(entry) else zone
        text = read_cron_text(entry.schedule, "vixie")
        return cron_runs(text, own_zone, start, end, vixie_polling(entry.schedule))

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
    mail, shell = settings.pop("MAILTO", ""), settings.pop("SHELL", "")
    for name in ("CRON_TZ", "MAILFROM"):
        settings.pop(name, None)
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
    if zone := _zone(entry):
        fields["timezone"] = zone
    addresses = options.alert_email or tuple(
        address for address in re.split(r"[,\s]+", mail) if "@" in address
    )
    if addresses:
        fields["alerts"] = {"on": ("failure",), "email": addresses}
    return fields


def _zone(entry: Entry) -> str:
    """Return the zone of an entry's schedule; empty for the machine's zone."""
    name = entry.settings.get("CRON_TZ", "").lstrip(":")
    return zone_named(name, "CRON_TZ") if name else ""


CRONTAB = SourceKind("crontab", "cron", is_crontab, Crontab)
