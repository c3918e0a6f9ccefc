"""Who was told about a job: ``c_JobAlertRecipient`` and ``c_User`` as mail addresses."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.model import Warnings
from targcc_gen.spec.rules import MAX_RECIPIENTS

_ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+")
TAKEN = "taken over or known"
_SPLIT = re.compile(r"[;,\s]+")


class Recipients:
    """Looks up the addresses of a job's recipients.

    Args:
        recipients: Rows of ``c_JobAlertRecipient``.
        users: Rows of ``c_User``, if they were exported.
        warnings: Where to say what could not be found.
    """

    def __init__(self, recipients: Iterable[Row], users: Iterable[Row], warnings: Warnings) -> None:
        self._warnings = warnings
        self._users = {cells.key(user, "id"): user for user in users}
        self._by_job: dict[str, list[Row]] = defaultdict(list)
        self._used: set[str] = set()
        self._ends: dict[int, str] = {}
        self._rows = list(recipients)
        for row in self._rows:
            self._by_job[self._job_of(row)].append(row)

    def of(self, job_id: str | None, name: str) -> tuple[str, ...]:
        """The addresses for a job, each once, as many as a job can have; the rest is warned about."""
        self.claim(job_id, name)
        found: dict[str, str] = {}
        for link in _links(job_id, name):
            for row in self._by_job.get(link, ()):
                addresses = self._addresses(row)
                if addresses:
                    self._ends[id(row)] = TAKEN
                for address in addresses:
                    found.setdefault(address.lower(), address)
        return self._fitting(list(found.values()), name)

    def claim(self, job_id: str | None, name: str) -> None:
        """Note that this job is in the export, whatever becomes of it."""
        self._used.update(_links(job_id, name))

    def ends(self) -> Counter[str]:
        """What became of each row, in words, once every job has asked."""
        strangers = {id(row) for row in self.unclaimed()}
        words = (
            (
                "of jobs that are not in the export"
                if id(row) in strangers
                else self._ends.get(id(row), "of rows that became no job")
            )
            for row in self._rows
        )
        return Counter(words)

    def unclaimed(self) -> list[Row]:
        """Recipients of jobs that are not in the export."""
        return [
            row for link, rows in self._by_job.items() if link not in self._used for row in rows
        ]

    def _job_of(self, row: Row) -> str:
        job_id = cells.key(row, *tables.JOB_ID)
        return f"id:{job_id}" if job_id else f"name:{(cells.text(row, 'jobname') or '').lower()}"

    def _addresses(self, row: Row) -> list[str]:
        try:
            gone = tables.deleted_on(row) or cells.flag(row, "isactive") is False
        except cells.UnreadableCellError as error:
            self._warnings.add(row.place, f"recipient taken as wanted: {error}")
            gone = None
        if gone:
            self._ends[id(row)] = "deleted or switched off"
            return []
        kind = (cells.text(row, "enmjobalerttype") or "email").lower()
        if kind not in {"email", "ud"}:
            self._warnings.add(row.place, f"recipient by {kind}: only mail is carried over")
            self._ends[id(row)] = f"by {kind}: the old server sent nothing"
            return []
        text = self._address_text(row)
        if text is None:
            self._ends[id(row)] = "without a known address"
            return []
        words = [word.strip("<>") for word in _SPLIT.split(text) if "@" in word]
        good = [word for word in words if _ADDRESS.fullmatch(word)]
        if not good:
            self._warnings.add(row.place, f'recipient "{text}" is no mail address')
            self._ends[id(row)] = "without a known address"
        return good

    def _address_text(self, row: Row) -> str | None:
        """``OverrideEmailOrPhone`` if ``OverrideName`` is set, else (or where that is empty) the user's address."""
        user_id = cells.key(row, "c_userid", "userid")
        if user_id is None or cells.text(row, "overridename"):
            own = cells.text(row, *tables.EMAIL)
            if own is not None or user_id is None:
                return own
        user = self._users.get(user_id)
        if user is not None and (address := cells.text(user, "email", "emailaddress", "mail")):
            return address
        if fallback := cells.text(row, *tables.EMAIL):
            return fallback
        self._warnings.add(row.place, f"recipient is user {user_id}, who is not in the export")
        return None

    def _fitting(self, addresses: list[str], name: str) -> tuple[str, ...]:
        kept: list[str] = []
        for address in addresses:
            if len(",".join([*kept, address])) <= MAX_RECIPIENTS:
                kept.append(address)
        if len(kept) < len(addresses):
            left = len(addresses) - len(kept)
            self._warnings.add("", f'"{name}": {left} recipients left out; use a mailing list')
        return tuple(kept)


def _links(job_id: str | None, name: str) -> tuple[str, str]:
    return f"id:{job_id}", f"name:{name.lower()}"
