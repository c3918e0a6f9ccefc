"""croniter as the reference of our reading: jobs imported from a crontab, a CronJob and Celery beat run when croniter says."""

import heapq
import random
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from targcc_gen.parity.compare import schedule_of
from targcc_gen.sources.kinds import kind_named
from targcc_gen.sources.model import Options, ReadingOptions

ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
STARTS = [datetime(2027, 12, 30, 23, 59, tzinfo=UTC), datetime(2028, 2, 27, 12, 30, tzinfo=UTC)]
COUNT = 40


def texts(seed, count):
    """Yield five fields of numbers, ranges, steps, lists and stars."""
    chance = random.Random(seed)

    def part(low, high):
        first, last = sorted(
            chance.sample(range(low, high), 2)
        )  # for croniter the whole range is a star
        return chance.choice([str(first), f"{first}-{last}", f"{first}-{last}/2"])

    def field(low, high, star):
        if chance.random() < star:
            return chance.choice(["*", "*", f"*/{chance.choice([2, 3, 5])}"])
        return ",".join(part(low, high) for _ in range(chance.choice([1, 1, 2])))

    for _ in range(count):
        yield f"{field(0, 59, 0.2)} {field(0, 23, 0.3)} {field(1, 31, 0.5)} {field(1, 12, 0.7)} {field(0, 6, 0.5)}"


def written(kind, folder: Path, crons):
    """Write a file of a kind with an entry for each cron text, in order."""
    if kind == "crontab":
        lines = [f"{text} /opt/job{place}\n" for place, text in enumerate(crons)]
        path = folder / "jobs.cron"
    elif kind == "kubernetes":
        lines = [
            f"---\nkind: CronJob\napiVersion: batch/v1\nmetadata: {{name: job{place}}}\nspec:\n  schedule: '{text}'\n  jobTemplate:\n"
            "    spec: {template: {spec: {containers: [{name: a, image: a, command: [/opt/a]}]}}}\n"
            for place, text in enumerate(crons)
        ]
        path = folder / "jobs.yaml"
    else:
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        lines = ["app.conf.beat_schedule = {\n"]
        for place, text in enumerate(crons):
            fields = ", ".join(f"{n}='{f}'" for n, f in zip(names, text.split(), strict=True))
            lines.append(
                f"  'job{place}': {{'task': 't{place}', 'schedule': crontab({fields})}},\n"
            )
        lines.append("}\n")
        path = folder / "beat.py"
    path.write_text("".join(lines), encoding="utf-8")
    return path


READINGS = {
    "crontab": {"implement_cron_bug": True},  # a day field that begins with a star leaves the day to the other
    "kubernetes": {},
    "celery": {"day_or": False},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", READINGS)
def test_imported_jobs_run_when_croniter_says(kind, tmp_path):
    crons = list(texts(7, 60))
    source = kind_named(kind).open(None)
    files = source.read([str(written(kind, tmp_path, crons))], ReadingOptions(ZONE))
    result = source.convert(files, Options(ZONE, NOW))
    jobs = {}
    for job in result.all_jobs:
        place = int(job.old.name.partition("job")[2].partition(" ")[0])
        jobs.setdefault(place, []).append(schedule_of(job.spec))
    refused = {rejection.name for rejection in result.rejected}
    assert len(jobs) + len(refused) == len(crons)
    assert len(jobs) > 50, refused
    for place, schedules in jobs.items():
        for start in STARTS:
            expected = croniter(crons[place], start, ret_type=datetime, **READINGS[kind])
            ours = heapq.merge(*(schedule.iter(start, ZONE) for schedule in schedules))
            theirs = [expected.get_next() for _ in range(COUNT)]
            assert list(islice(dict.fromkeys(islice(ours, 2 * COUNT)), COUNT)) == theirs, crons[place]  # fmt: skip
