"""Weigh the evidence of every job of an import; adopt a reading that the history clearly supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from targcc_gen.evidence import findings
from targcc_gen.evidence.model import (
    Evidence,
    Finding,
    Verdict,
    Weighed,
    latest_moments,
    moment_text,
)
from targcc_gen.evidence.readings import (
    EARLY,
    Match,
    Reading,
    RunnerWaits,
    Slots,
    Waited,
    known_times,
    last_run_of,
    match,
    other_readings,
    supported,
    theory,
    window,
)
from targcc_gen.sources.model import SECOND, Import, ImportedJob, Past
from targcc_gen.spec import JobSpec, job_values

_ENOUGH = 3
_GOOD = 0.8
_AGREES = 0.9
_LATELY = 10
_GRACE = timedelta(minutes=5)


def place_of(job: ImportedJob) -> str:
    """Return an identifier of a row's job that does not depend on the job's key."""
    return f"{job.row.place}#{job.old.id}#{job.old.name}"


def weigh(result: Import, *, choose: bool = True) -> Weighed:
    """Compare every job with its history.

    A job whose history clearly supports another reading of its schedule gets that reading. An active job that has not run for long,
    while other jobs ran, becomes inactive. Both change ``result``, unless ``choose`` is false.
    """
    alive, witnesses = _alive(result)
    queues = RunnerWaits(result)
    evidences: dict[str, Evidence] = {}
    for job in [*result.jobs, *result.inactive]:
        active = job in result.jobs
        weighing = _Weighing(job, result.history.of(job.old.id, job.old.name), queues.waited(job))
        alone = witnesses <= {place_of(job)}
        evidence, chosen, second = weighing.weighed(alive, active=active, alone=alone)
        if choose:
            _take(result, job, chosen, second)
        else:
            findings = tuple(replace(finding, chosen="") for finding in evidence.findings)
            evidence = replace(evidence, findings=findings)
        evidences[place_of(job)] = evidence
    return Weighed(evidences, alive)


def _alive(result: Import) -> tuple[datetime | None, set[str]]:
    """Return the last known activity of the old server, and the jobs that ran within the month before."""
    lasts: dict[str, datetime] = {}
    for job in [*result.jobs, *result.inactive]:
        past = result.history.of(job.old.id, job.old.name)
        seen = [
            moment
            for moment in (last_run_of(job), past.log.latest() if past else None)
            if moment is not None
        ]
        if seen:
            lasts[place_of(job)] = max(seen)
    if not lasts:
        return None, set()
    now = result.options.now.astimezone(result.options.zone).replace(tzinfo=None)
    alive = min(max(lasts.values()), now)
    witnesses = {place for place, last in lasts.items() if alive - last < timedelta(days=30)}
    if len(witnesses) == 1 and len(lasts) == 1:
        return now, witnesses
    return alive, witnesses


def _take(
    result: Import, job: ImportedJob, chosen: ImportedJob, second: ImportedJob | None
) -> None:
    for jobs in (result.jobs, result.inactive):
        if job in jobs:
            jobs[jobs.index(job)] = chosen
    if chosen in result.jobs and chosen.spec.paused and not job.spec.paused:
        result.jobs.remove(chosen)
        result.inactive.append(chosen)
    if second is not None:
        result.second.append(second)


@dataclass(frozen=True, slots=True)
class _Weighing:
    """A job and its past."""

    job: ImportedJob
    past: Past | None
    waited: Waited

    def weighed(
        self, alive: datetime | None, *, active: bool, alone: bool
    ) -> tuple[Evidence, ImportedJob, ImportedJob | None]:
        """Return the evidence, the new job, and a second job if no single cron text can express the schedule."""
        job = self.job
        runs = self.past.log.last(2000) if self.past else []
        own = theory(job)
        slots = own.slots if own else None
        habit, left = findings.by_hand(runs, slots, manual_only=not job.spec.has_schedule)
        starts = window([run.started for run in left])
        evidence, reading = self._read(own, starts)
        chosen, second = self._chosen(reading) if reading else (job, None)
        now = theory(chosen)
        when = now.slots if now else None
        last = max(
            [*(run.started for run in runs[-1:]), *filter(None, [last_run_of(job)])], default=None
        )
        gone = findings.dead(self._due(when), last, alive, active=active, alone=alone)
        if gone is not None and gone.chosen:
            chosen = _changed(chosen, {"paused": True})
            second = _changed(second, {"paused": True}) if second else None
        past = self.past
        results = findings.every_finding(
            evidence.findings[0] if evidence.findings else None,
            gone,
            findings.switched_off(left, active=active, alive=alive),
            habit,
            findings.too_long(left, self._interval(when, starts)),
            findings.keeps_failing(left[-200:], past) if past else None,
            findings.month_end(job, runs),
            findings.hanging(job, runs),
        )
        if gone is not None:
            evidence = replace(evidence, verdict=Verdict.CONTRADICTS, text=gone.text)
        durations = past.log.durations() if past else []
        usual = past.log.usual() if past else None
        evidence = replace(
            evidence,
            findings=tuple(results),
            typical=None if usual is None else round(usual.total_seconds()),
            longest=durations[-1] if durations else None,
        )
        seen = evidence.verdict is not Verdict.NONE and len(starts) >= _ENOUGH
        original = job.spec if chosen.spec != job.spec else None
        chosen = replace(chosen, theory=original, seen=seen, awake=findings.is_awake(last, alive))
        return evidence, chosen, second

    # Run times.

    def _read(self, own: Reading | None, starts: list[datetime]) -> tuple[Evidence, Reading | None]:
        """Return the evidence of the starts about the schedule, and the other reading that the starts support."""
        if self.job.spec.every is not None and self.job.spec.after is not None:
            return self._follows(starts), None
        if own is None:
            text = "it has no schedule" if self.job.spec.at is None else "it runs once"
            return Evidence(text=text), None
        if len(starts) < _ENOUGH:
            return self._by_columns(own, starts)
        lately = match(starts[-_LATELY:], own.slots, self.waited)
        whole = match(starts, own.slots, self.waited)
        if lately.explained >= _AGREES * lately.starts and _covers(lately):
            return Evidence(Verdict.AGREES, _counts(whole, lately), reading=own.words), None
        better = supported(
            own, list(other_readings(self.job, starts)), starts, good=_GOOD, waited=self.waited
        )
        if better is None:  # recent starts decide
            recent = starts[-2 * _LATELY :]
            better = supported(
                own, list(other_readings(self.job, recent)), recent, good=_GOOD, waited=self.waited
            )
        return self._contradiction(whole, better, starts), better

    def _contradiction(
        self, whole: Match, better: Reading | None, starts: list[datetime]
    ) -> Evidence:
        text = f"{whole.explained:,} of {whole.starts:,} starts came at a time of its schedule"
        if whole.slots:
            text += f", and {whole.covered:,} of {whole.slots:,} such times had a start"
        examples = latest_moments(whole.strays)
        if better is None:
            finding = Finding("reading", f"{text}; its history supports no reading of it", examples)
            return Evidence(Verdict.CONTRADICTS, text, (finding,))
        matching = match(starts, better.slots, self.waited)
        text_of_match = (
            f"{text}. Read {better.words}: {matching.explained:,} of {matching.starts:,} starts, {matching.covered:,} of"
            f" {matching.slots:,} times"
        )
        took = f"it comes over {better.words}" if better.crons else ""
        examples = examples or latest_moments(starts)
        finding = Finding("reading", text_of_match, examples, took)
        return Evidence(Verdict.CONTRADICTS, text_of_match, (finding,), reading=better.words)

    def _by_columns(self, own: Reading, starts: list[datetime]) -> tuple[Evidence, Reading | None]:
        """Return evidence from too few starts: the row's own last and next run, which the old server computed."""
        points = sorted({*starts, *known_times(self.job)})
        if not points:
            return Evidence(), None
        strays = [point for point in points if not _is_due_at(own.slots, point)]
        shown = ", ".join(map(moment_text, points))
        few = "1 time is" if len(points) == 1 else f"{len(points)} times are"
        if not strays:
            return (
                Evidence(
                    Verdict.AGREES, f"{few} known, and on its schedule: {shown}", reading=own.words
                ),
                None,
            )
        text = f"{len(strays)} of {len(points)} known times ({shown}) are not on its schedule"
        for other in other_readings(self.job, points):
            if len(points) > 1 and all(_is_due_at(other.slots, point) for point in points):
                took = f"it comes over {other.words}" if other.crons else ""
                finding = Finding(
                    "reading", f"{text}, but fit if it is read {other.words}", tuple(strays), took
                )
                return (
                    Evidence(Verdict.CONTRADICTS, finding.text, (finding,), reading=other.words),
                    other,
                )
        finding = Finding("reading", text, tuple(strays))
        return Evidence(Verdict.CONTRADICTS, text, (finding,)), None

    def _follows(self, starts: list[datetime]) -> Evidence:
        """Return evidence about a job that counts from its own runs, by the gaps between its starts."""
        every = self.job.spec.every
        assert every is not None
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        if len(gaps) < _ENOUGH:
            return Evidence()
        slack = max(timedelta(seconds=90), every / 10)
        fit = [gap for gap in gaps if every - slack <= gap <= every + slack or gap > every]
        usual = sorted(gaps)[len(gaps) // 2]
        text = f"{len(fit):,} of {len(gaps):,} starts came {findings.span(every)} or more after the one before, half of them within {findings.span(usual)}"
        if len(fit) >= _AGREES * len(gaps) and usual <= every * 2:
            return Evidence(Verdict.AGREES, text, reading=f"every {findings.span(every)}")
        short = [start for gap, start in zip(gaps, starts[1:], strict=True) if gap not in fit]
        finding = Finding(
            "reading",
            f"{text}; its interval is {findings.span(every)}",
            latest_moments(short or starts),
        )
        return Evidence(Verdict.CONTRADICTS, finding.text, (finding,))

    def _due(self, slots: Slots | None) -> findings.Due | None:
        """Return a count of the job's due times between two moments; None without a schedule."""
        if slots is not None:
            return findings.due_by_slots(slots)
        every = self.job.spec.every
        return None if every is None else findings.due_by_interval(every)

    def _interval(self, slots: Slots | None, starts: Sequence[datetime]) -> timedelta | None:
        spec = self.job.spec
        if spec.every is not None:
            return spec.every
        if slots is None or not starts:
            return None
        named = list(slots(starts[-1] - timedelta(days=1), starts[-1] + timedelta(days=8)))[:50]
        return min((later - earlier for earlier, later in pairwise(named)), default=None)

    # The chosen reading.

    def _chosen(self, reading: Reading) -> tuple[ImportedJob, ImportedJob | None]:
        job = self.job
        if not reading.crons:
            return job, None
        first, *rest = reading.crons
        chosen = _changed(job, {"cron": first})
        if not rest:
            return chosen, None
        values = {"cron": rest[0], "name": f"{job.stable_name} (2)"[:100], "display_name": None}
        own_id = f"{job.old.id}{SECOND}" if job.old.id else None
        second = replace(_changed(job, values), key=f"{job.key}OtherDays")
        return chosen, replace(second, old=replace(job.old, id=own_id))


def _changed(job: ImportedJob, values: dict[str, Any]) -> ImportedJob:
    merged = {**job_values(job.spec), **values}
    given = {key: value for key, value in merged.items() if value is not None}
    return replace(job, spec=JobSpec.model_validate(given))


def _covers(matching: Match) -> bool:
    """Return whether most of the named times had a start."""
    return matching.covered >= _GOOD * matching.slots


def _is_due_at(slots: Slots, moment: datetime) -> bool:
    """Return whether a schedule names a moment, or a time shortly before."""
    return next(slots(moment - _GRACE, moment + EARLY), None) is not None


def _counts(whole: Match, lately: Match) -> str:
    if whole.explained == whole.starts:
        return f"{whole.starts:,} of {whole.starts:,} starts came at a time of its schedule"
    return (
        f"{whole.explained:,} of {whole.starts:,} starts came at a time of its schedule, of the last {lately.starts:,}"
        f" {lately.explained:,}"
    )
