"""Describe audit rows as sentences with actor, act, object and place, such as ``night paused queue mail through the API``.

Pages, the API and the command line show the same sentence; pages show it in the reader's language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import quote

from markupsafe import Markup, escape

from ..core.actor import ActorKind
from ..core.languages import for_nobody, gettext, marked, translated


class Entry(Protocol):
    """The parts of an audit row that a sentence names."""

    @property
    def actor(self) -> str:
        """Actor, such as ``API (night)``."""

    @property
    def action(self) -> str:
        """Action, such as ``pause queue``."""

    @property
    def job(self) -> str | None:
        """Job of the row."""

    @property
    def run_id(self) -> int | None:
        """Run of the row."""

    @property
    def detail(self) -> str | None:
        """Detail; the first part may name the object, such as ``queue mail``."""


_SENTENCES = {
    "acknowledge": (marked("acknowledge"), marked("%(actor)s acknowledged %(object)s")),
    "add user": (marked("add user"), marked("%(actor)s added user %(object)s")),
    "adopt audit rows": (marked("adopt audit rows"), marked("%(actor)s adopted audit rows")),
    "alert": (marked("alert"), marked("%(actor)s sent an alert about %(object)s")),
    "alert-escalated": (
        marked("alert-escalated"),
        marked("%(actor)s escalated an alert about %(object)s"),
    ),
    "alert-failed": (
        marked("alert-failed"),
        marked("%(actor)s could not send an alert about %(object)s"),
    ),
    "alert-held-back": (
        marked("alert-held-back"),
        marked("%(actor)s held back an alert about %(object)s"),
    ),
    "alert-recovered": (
        marked("alert-recovered"),
        marked("%(actor)s reported the recovery of %(object)s"),
    ),
    "alert-test": (marked("alert-test"), marked("%(actor)s sent a test alert for %(object)s")),
    "assign": (marked("assign"), marked("%(actor)s assigned %(object)s")),
    "backfill": (marked("backfill"), marked("%(actor)s backfilled %(object)s")),
    "bulk cancel": (marked("bulk cancel"), marked("%(actor)s cancelled many runs")),
    "bulk delete": (marked("bulk delete"), marked("%(actor)s deleted many runs")),
    "bulk discard": (marked("bulk discard"), marked("%(actor)s discarded many runs")),
    "bulk pause": (marked("bulk pause"), marked("%(actor)s paused the jobs of many runs")),
    "bulk priority": (
        marked("bulk priority"),
        marked("%(actor)s changed the priority of many runs"),
    ),
    "bulk queue": (marked("bulk queue"), marked("%(actor)s moved many runs to another queue")),
    "bulk retry": (marked("bulk retry"), marked("%(actor)s retried many runs")),
    "bulk run-now": (marked("bulk run-now"), marked("%(actor)s started many runs early")),
    "cancel": (marked("cancel"), marked("%(actor)s cancelled %(object)s")),
    "cancel batch": (marked("cancel batch"), marked("%(actor)s cancelled %(object)s")),
    "cancel flow": (marked("cancel flow"), marked("%(actor)s cancelled %(object)s")),
    "change password": (
        marked("change password"),
        marked("%(actor)s changed the password of %(object)s"),
    ),
    "change role": (marked("change role"), marked("%(actor)s changed the role of %(object)s")),
    "create role": (marked("create role"), marked("%(actor)s created role %(object)s")),
    "create token": (marked("create token"), marked("%(actor)s created token %(object)s")),
    "create webhook": (marked("create webhook"), marked("%(actor)s created %(object)s")),
    "cutover back": (
        marked("cutover back"),
        marked("%(actor)s handed %(object)s back to the old server"),
    ),
    "cutover start": (
        marked("cutover start"),
        marked("%(actor)s took %(object)s over from the old server"),
    ),
    "delete": (marked("delete"), marked("%(actor)s deleted %(object)s")),
    "delete webhook": (marked("delete webhook"), marked("%(actor)s deleted %(object)s")),
    "disable webhook": (marked("disable webhook"), marked("%(actor)s disabled %(object)s")),
    "discard": (marked("discard"), marked("%(actor)s discarded open runs of %(object)s")),
    "drain": (marked("drain"), marked("%(actor)s drained %(object)s")),
    "enable webhook": (marked("enable webhook"), marked("%(actor)s enabled %(object)s")),
    "end maintenance": (marked("end maintenance"), marked("%(actor)s ended %(object)s")),
    "end session": (marked("end session"), marked("%(actor)s ended sessions")),
    "fail": (marked("fail"), marked("%(actor)s marked %(object)s as failed")),
    "grant": (marked("grant"), marked("%(actor)s granted rights to role %(object)s")),
    "import-history": (
        marked("import-history"),
        marked("%(actor)s imported history of the old server"),
    ),
    "link": (marked("link"), marked("%(actor)s linked a ticket to %(object)s")),
    "mute": (marked("mute"), marked("%(actor)s muted %(object)s")),
    "override": (marked("override"), marked("%(actor)s changed %(object)s without a deploy")),
    "override ended": (marked("override ended"), marked("%(actor)s ended a change of %(object)s")),
    "owner": (marked("owner"), marked("%(actor)s changed the owner of %(object)s")),
    "pause": (marked("pause"), marked("%(actor)s paused %(object)s")),
    "pause queue": (marked("pause queue"), marked("%(actor)s paused %(object)s")),
    "plan maintenance": (marked("plan maintenance"), marked("%(actor)s planned %(object)s")),
    "prune": (marked("prune"), marked("%(actor)s removed old rows")),
    "prune audit": (marked("prune audit"), marked("%(actor)s removed old audit entries")),
    "redeliver": (marked("redeliver"), marked("%(actor)s resent a message of %(object)s")),
    "remove role": (marked("remove role"), marked("%(actor)s removed role %(object)s")),
    "remove user": (marked("remove user"), marked("%(actor)s removed user %(object)s")),
    "reopen": (marked("reopen"), marked("%(actor)s reopened %(object)s")),
    "rerun flow": (marked("rerun flow"), marked("%(actor)s reran %(object)s")),
    "reset override": (marked("reset override"), marked("%(actor)s reset a change of %(object)s")),
    "reset second factor": (
        marked("reset second factor"),
        marked("%(actor)s reset the second factor of %(object)s"),
    ),
    "resume": (marked("resume"), marked("%(actor)s resumed %(object)s")),
    "resume queue": (marked("resume queue"), marked("%(actor)s resumed %(object)s")),
    "resume server": (marked("resume server"), marked("%(actor)s resumed %(object)s")),
    "retry": (marked("retry"), marked("%(actor)s retried %(object)s")),
    "retry batch": (marked("retry batch"), marked("%(actor)s retried %(object)s")),
    "revoke": (marked("revoke"), marked("%(actor)s revoked rights of role %(object)s")),
    "revoke token": (marked("revoke token"), marked("%(actor)s revoked token %(object)s")),
    "rotate key": (marked("rotate key"), marked("%(actor)s rotated the encryption key")),
    "rotate webhook": (
        marked("rotate webhook"),
        marked("%(actor)s replaced the secret of %(object)s"),
    ),
    "second factor off": (
        marked("second factor off"),
        marked("%(actor)s turned the second factor off"),
    ),
    "second factor on": (
        marked("second factor on"),
        marked("%(actor)s turned the second factor on"),
    ),
    "second factor refused": (
        marked("second factor refused"),
        marked("%(actor)s entered a wrong code"),
    ),
    "seen": (marked("seen"), marked("%(actor)s removed an entry from the inbox")),
    "sign in": (marked("sign in"), marked("%(actor)s signed in")),
    "sign out": (marked("sign out"), marked("%(actor)s signed out")),
    "sign-in held back": (
        marked("sign-in held back"),
        marked("%(actor)s made too many sign-in attempts"),
    ),
    "sign-in refused": (marked("sign-in refused"), marked("%(actor)s failed to sign in")),
    "start flow": (marked("start flow"), marked("%(actor)s started %(object)s")),
    "stop bulk": (marked("stop bulk"), marked("%(actor)s stopped %(object)s")),
    "take back maintenance": (
        marked("take back maintenance"),
        marked("%(actor)s cancelled %(object)s"),
    ),
    "test webhook": (marked("test webhook"), marked("%(actor)s tested %(object)s")),
    "trigger": (marked("trigger"), marked("%(actor)s started %(object)s")),
    "undo cancel": (marked("undo cancel"), marked("%(actor)s undid %(object)s")),
    "undo discard": (marked("undo discard"), marked("%(actor)s undid %(object)s")),
    "undo pause": (marked("undo pause"), marked("%(actor)s undid %(object)s")),
    "undo priority": (marked("undo priority"), marked("%(actor)s undid %(object)s")),
    "undo queue": (marked("undo queue"), marked("%(actor)s undid %(object)s")),
    "undo retry": (marked("undo retry"), marked("%(actor)s undid %(object)s")),
    "use release": (marked("use release"), marked("%(actor)s put schedules in force: %(object)s")),
    "webhook off": (marked("webhook off"), marked("%(actor)s disabled %(object)s")),
}
"""The word and the sentence of each action. An action without a row here is named as it is."""

_NAMED = frozenset(
    [
        *("add user", "remove user", "change password", "change role", "reset second factor"),
        *("create token", "revoke token", "create role", "remove role", "grant", "revoke"),
    ]
)
"""Actions whose detail begins with the name of the object."""

_PLACES: dict[str, str] = {
    ActorKind.MANUAL: marked("on the dashboard"),
    ActorKind.API: marked("through the API"),
    ActorKind.CLI: marked("at the command line"),
    ActorKind.LEGACY: marked("through c_Job"),
}

_NOUNS = {
    "batch": marked("batch %(name)s"),
    "failure": marked("failure %(name)s"),
    "flow": marked("flow %(name)s"),
    "operation": marked("operation %(name)s"),
    "queue": marked("queue %(name)s"),
    "release": marked("release %(name)s"),
    "server": marked("server %(name)s"),
    "webhook": marked("webhook %(name)s"),
    "window": marked("maintenance window %(name)s"),
}
_OBJECT = re.compile(rf"({'|'.join(_NOUNS)}) ([^\s;,]+?)(?=[:;,]?(?:\s|$))[:;,]?\s*(.*)", re.DOTALL)
_NAME = re.compile(r"([^\s:]+)[:]?(?: as| is)?\s*(.*)", re.DOTALL)


class Sentence(NamedTuple):
    """An audit row in words.

    Args:
        text: Actor, act, object and place.
        rest: The part of the detail that the text does not say.
    """

    text: str
    rest: str


def sentence(entry: Entry) -> str:
    """Return the sentence of an audit row in English."""
    with for_nobody():
        return describe(entry).text


def action_word(action: str) -> str:
    """Return the word for an action in the reader's language."""
    return translated(_SENTENCES[action][0]) if action in _SENTENCES else action


def describe(entry: Entry) -> Sentence:
    """Describe an audit row in the reader's language, as plain text."""
    parts = _Parts(entry)
    job = gettext(_JOB, name=entry.job) if entry.job else ""
    run = gettext(_RUN, id=entry.run_id) if entry.run_id is not None else ""
    named = gettext(parts.noun, name=parts.name) if parts.noun else parts.name
    return Sentence(parts.sentence(gettext, parts.actor, [named, run, job]), parts.rest)


def describe_linked(entry: Entry, base: str, display: Callable[[str], str]) -> Markup:
    """Describe an audit row in the reader's language, with links to job and run.

    Args:
        entry: The audit row.
        base: Address of the dashboard.
        display: Return the display name of a job.
    """
    parts = _Parts(entry)
    named = run = job = Markup("")
    if parts.name:
        name = Markup("<b><bdi>{}</bdi></b>").format(parts.name)
        named = _marked_up(parts.noun, name=name) if parts.noun else name
    if entry.run_id is not None:
        link = Markup('<a class="run" href="{}/runs/{}"><bdi>#{}</bdi></a>')
        run = _marked_up(_RUN, id=link.format(base, entry.run_id, entry.run_id))
    if entry.job:
        link = Markup('<a class="job" href="{}/jobs/{}"><bdi>{}</bdi></a>')
        job = _marked_up(
            _JOB, name=link.format(base, quote(entry.job, safe=""), display(entry.job))
        )
    actor = Markup("<bdi>{}</bdi>").format(parts.actor)
    return Markup("{}").format(parts.sentence(_marked_up, actor, [named, run, job]))


def rest(entry: Entry) -> str:
    """Return the part of the detail that the sentence does not say."""
    return _Parts(entry).rest


_JOB = marked("job %(name)s")
_RUN = marked("run %(id)s")


def _marked_up(message: str, **values: object) -> Markup:
    """Translate a message and fill in escaped values."""
    return Markup("{}").format(escape(translated(message))) % values


class _Parts:
    """Actor, place, object and remaining detail of a row."""

    def __init__(self, entry: Entry) -> None:
        kind, _, name = entry.actor.partition(" (")
        by_itself = kind == ActorKind.SYSTEM and not name
        self.actor = translated(_SCHEDULER) if by_itself else name.removesuffix(")") or kind
        self.place = _PLACES.get(kind, "") if name else ""
        self.action = entry.action
        self.noun, self.name, self.rest = "", "", entry.detail or ""
        if match := _OBJECT.fullmatch(self.rest):
            self.noun, self.name, self.rest = _NOUNS[match[1]], match[2], match[3]
        elif entry.action in _NAMED and (match := _NAME.fullmatch(self.rest)):
            self.name, self.rest = match[1], match[2]

    def sentence(self, fill: Callable[..., str], actor: str, objects: Sequence[str]) -> str:
        """Put the sentence together; ``fill`` translates a message and fills in values."""
        whole = ""
        for part in reversed([item for item in objects if item]):
            whole = fill(_PART, part=part, whole=whole) if whole else part
        values = {"actor": actor, "object": whole or fill(_EVERYTHING)}
        if self.action in _SENTENCES:
            text = fill(_SENTENCES[self.action][1], **values)
        else:
            text = fill(_UNKNOWN, **values, action=self.action)
        return fill(_PLACED, sentence=text, place=fill(self.place)) if self.place else text


_SCHEDULER = marked("the scheduler")
_EVERYTHING = marked("the project")
_PART = marked("%(part)s of %(whole)s")
_PLACED = marked("%(sentence)s %(place)s")
_UNKNOWN = marked("%(actor)s: %(action)s, %(object)s")
