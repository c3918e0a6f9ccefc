"""Which runs a node can perform, and of which jobs it takes them without looking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.secrets import mask
from ...core.text import clean
from ...jobs.definition import JobDefinition
from ...storage.runs.values import Claim, Claimed, ClaimKey

_LONGEST_REASON = 300
_MOST_PLAIN = 50
"""Jobs whose names go along with each claim."""


class Fitting:
    """Whether this node can perform the runs of one claim; and their arguments, once they are checked.

    Args:
        definitions: The jobs.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._loaded: dict[int, tuple[str | None, Mapping[str, Any] | None]] = {}
        """Of each run what was looked at, and what it says."""

    def why_not(self, job_name: str, arguments_json: str | None, run_id: int) -> str | None:
        """Why a run cannot be performed here; ``None``: it can. A claim may ask more than once, and arguments that fit are checked once."""
        if run_id in self._loaded and self._loaded[run_id][0] == arguments_json:
            return None
        definition = self._definitions.get(job_name)
        if definition is None:
            return f"it knows no job {job_name}"
        try:
            loaded = definition.signature.fits(arguments_json)
        except Exception as error:  # noqa: BLE001 - a type of the project's may raise anything
            what = "; ".join(str(error).splitlines()) or type(error).__name__
            return clean(mask(f"the arguments do not fit the job here: {what}"), _LONGEST_REASON)
        self._loaded[run_id] = arguments_json, loaded
        return None

    def looked_at(self, claim: Claim) -> bool:
        """Whether a claimed run has the arguments that were looked at; it may have been given others meanwhile."""
        return self._seen(claim)[0] == claim.arguments_json

    def of(self, claims: Iterable[Claim]) -> dict[ClaimKey, Mapping[str, Any] | None]:
        """The arguments of the runs that were claimed."""
        return {one.key: self._seen(one)[1] for one in claims}

    def _seen(self, claim: Claim) -> tuple[str | None, Mapping[str, Any] | None]:
        return self._loaded.get(claim.run_id, (None, None))


class PlainJobs:
    """The jobs whose runs are claimed in one statement: without a limit, and performed by this node before.

    Args:
        definitions: The jobs; they may change.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._known: dict[str, None] = {}
        self._unfit: set[str] = set()
        self._pays = False

    def names(self) -> list[str]:
        """Their names; none while other runs are next, as it would be a round trip for nothing."""
        return [name for name in self._known if self._is_plain(name)] if self._pays else []

    def learn(self, claimed: Claimed, job_names: Iterable[str]) -> None:
        """What a claim in a transaction has shown.

        Args:
            claimed: What came of it.
            job_names: The jobs of the runs that were offered.
        """
        for name in [one.job_name for one in claimed.claims]:
            self._known.pop(name, None)
            self._known[name] = None  # the last ones are those that were seen last
        for name in list(self._known)[:-_MOST_PLAIN]:
            del self._known[name]
        names = list(job_names)
        if names:
            self._pays = not claimed.misfits and all(
                name in self._known and self._is_plain(name) for name in names
            )

    def forget(self, job_name: str) -> None:
        """A run of the job does not fit here: each is looked at from now on."""
        self._unfit.add(job_name)

    def pass_by(self) -> None:
        """Runs of other jobs are next: a claim in a transaction follows."""
        self._pays = False

    def _is_plain(self, name: str) -> bool:
        definition = self._definitions.get(name)
        if definition is None or definition.limit is not None or name in self._unfit:
            return False
        keyed = definition.keyed_limit
        return keyed is None or keyed.interval_ms is None  # tokens are taken in a transaction
