"""Random specs with every key: most values are valid, and each part can be invalid."""

# ruff: noqa: RUF001 - texts of people

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from targcc_gen.spec import BLUEPRINTS
from targcc_gen.spec.params import PARAM_EXAMPLES

WORDS = [
    "Database",
    "Path",
    "Any",
    "DateTime",
    "Daily",
    "Job",
    "Context",
    "Test",
    "Settings",
    "Cursors",
    "Table",
    "Type",
    "Id",
    "List",
    "Json",
    "Asyncio",
    "Items",
    "Class",
    "None",
    "X9",
    "Recorder",
    "Mailer",
    "Run",
    "Result",
]
TAKEN = ["attempt", "steps", "cancelled", "scheduled_for", "class", "Upper", "self", "a" * 101]
PARAMS = [
    "id",
    "type",
    "list",
    "dict",
    "str",
    "len",
    "timeout",
    "total",
    "rows",
    "cursor",
    "items",
    "size",
    "start",
    "end",
    "chunk",
    "keep",
    "settings",
    "asyncio",
    "date",
    "datetime",
    "uuid",
    "user_id",
    "path",
    "minimum_percent",
    "print",
    "input",
    "result",
    "error",
    "name",
    "target",
    "url",
    "format",
    "filter",
    "hash",
    "max",
    "round",
    "database",
    "json",
    "any",
    "all",
    "none_value",
    "outcome",
    "tmp_path",
    "older_than_days",
    "dry_run",
    "pytest",
    "run_job",
    "float",
    "bool",
    "bytes",
    "jobs",
    "exception",
    "int",
]
PARAMS.append("a" * 80)
TEXTS = [
    "Sends mail",
    "Sends l’invoice – “ok”…",
    "שלום לכולם",
    "A\u202eb",
    "x" * 190,
    'quote " and \\',
    "two\n\nparagraphs",
    "EIN ТЕСТ",
    "1·2×3",
    "#: noqa",
    "{{ job }}",
    "{% raw %}",
    "ends with a backslash\\",
    "   ",
    '"""',
    "'''",
    "a: b",
    "yes",
    "1:30",
    "<b>&amp;",
    "${HOME}",
    "%s %(x)s {x}",
    "\U0001f680",
    "tab\there",
    "trailing ",
    "\x85",
    "e\u0301",
    "# type: ignore",
    "fmt: off",
    "a\rb",
    "\ufeff",
]


def mostly(right: list[Any], *wrong: Any) -> st.SearchStrategy[Any]:
    """Draw a valid value, and occasionally an invalid value."""
    return st.sampled_from([*right * (1 + 40 * len(wrong) // len(right)), *wrong])


TEXT = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60
)
ZONE = mostly(
    ["Asia/Jerusalem", "UTC", "Etc/GMT+2", "America/Indiana/Knox", "Asia/Kathmandu"],
    "GMT+2",
    "europe/london",
)
DURATION = mostly(["5m", "1s", "24h", "1h30m", "2d", "90s", "36500d"], "500ms", "0s", "1ms", "-5m")
LIMIT = DURATION | st.just("none")
COUNT = mostly([1, 2, 5, 1000], 0, -1)
QUEUE = st.sampled_from(["default", "critical", "slow-1"])
ISOLATION = st.sampled_from(["process", "thread"])
EMAIL = mostly(["ops@example.com", "o'neil+x@example.co.uk", "ü@exämple.de"], "no address", "a@b\n")
ADDRESS = mostly(
    ["https://hooks.example.com/T/1?a=b&c=%22", "${SLACK_URL}", "file:/run/secrets/slack"],
    "http://x",
    "$X",
)
INSTANT = mostly(
    [
        "2031-01-01T10:00",
        "2031-01-01 10:00:07+02:00",
        "2031-03-30T02:30",
        "9999-12-31T23:59",
        "0001-01-01",
    ],
    "soon",
)
CRON = mostly(
    [
        "0 2 * * *",
        "*/5 * * * * *",
        "0 0 L * ?",
        "@daily",
        "0 2 29 2 *",
        "0 9 * * MON#2",
        "*/15 8-18 * * MON-FRI",
        "0 0 1W * *",
        "  0  2 * * * ",
    ],
    "61 * * * *",
    "0 2 31 2 *",
)
ALERTS: dict[str, st.SearchStrategy[Any]] = {
    "on": st.lists(
        mostly(
            [
                "failure",
                "success",
                "missed",
                "unknown",
                "late",
                "slower than 5m",
                "slower than 1h30m",
            ],
            "slower",
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    "slack": ADDRESS,
    "teams": ADDRESS,
    "webhook": ADDRESS,
    "max_per_hour": COUNT,
    "other": st.sampled_from([*[{}] * 30, {"ntfy": "topic"}]),
    "oncall": st.sampled_from([*[False] * 30, True]),
    "urgent": st.booleans(),
}
PARAM = st.sampled_from(list(PARAM_EXAMPLES.values())) | mostly(
    [
        "str = a: b",
        'str = "\\"\\"\\""',
        "str =",
        "str = {{ x }}",
        'str = "\\u202e"',
        "int = -0",
        "int = 123456789012345678901234567890",
        "float = 1e308",
        "float = 1",
        "datetime = 2026-01-01T02:00+05:45",
        "list[str] = []",
        'list[str] = ["\\n", "שלום"]',
        'dict = {"a": [1, null, 1.5e300], "b": {"c": ""}}',
        "dict = {}",
        "str = " + "x" * 150,
    ],
    "float = nan",
    "bool = yes",
    "date = 2026-02-30",
    "list[int] = [true]",
    "uuid = x",
    "list[float]",
)
PROCEDURE = mostly(
    ["dbo.Daily", "[a b].[c]]d]", '"a""b".c', "shop..close", "Größe"],
    'x"y',
    "p; drop table x",
    "a.b.c.d.e",
    "#tmp",
)
CALENDARS = mostly(["holidays", ["holidays", "nights"]], "nowhere", [])
ON_HOLIDAY = mostly(["skip", "next", "previous"], "never")
CALENDAR_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "description": TEXT,
    "off": mostly(["saturday", ["2026-09-21 (Yom Kippur)", "12-25"]], "someday", ["13-25"]),
    "work": mostly(["2026-10-03", ["2026-10-03"]], "monday"),
    "blackouts": mostly(["22:00-23:30", ["2026-12-24 18:00 to 2026-12-27 06:00"]], "22:00"),
    "ics": mostly(["calendars/holidays.ics"], "../holidays.ics", "holidays.txt"),
    "include": mostly(["nights"], "nowhere"),
}
SCOPE = mostly(["queued", "running", "1h"], "always")
DUPLICATE = mostly(["skip", "replace", "debounce 30s", "throttle 1m"], "debounce", "wait 5s")
LIMIT_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "key": mostly(["day"], "nothing"),
    "running": mostly([1, 20], 0),
    "rate": mostly(["100/min", "5/s"], "often"),
    "burst": COUNT,
    "weight": mostly([1], 21),
}
JOB: dict[str, st.SearchStrategy[Any]] = {
    "timezone": ZONE,
    "display_name": TEXT,
    "description": TEXT,
    "queue": mostly(["default", "critical", "slow-1"], "nowhere"),
    "priority": mostly([-1000, 0, 7, 1000], 1001),
    "retries": mostly([0, 3, 100], 101),
    "backoff": DURATION,
    "timeout": LIMIT,
    "overlap": mostly(["skip", "queue", "allow"], "skp"),
    "misfire": st.fixed_dictionaries(
        {}, optional={"policy": st.sampled_from(["run_once", "skip", "run_all"]), "grace": LIMIT}
    ),
    "concurrency": COUNT,
    "limit": st.fixed_dictionaries(
        {"running": LIMIT_KEYS["running"]},
        optional={key: strategy for key, strategy in LIMIT_KEYS.items() if key != "running"},
    ),
    "isolation": ISOLATION,
    "memory_limit": mostly([16, 256, 2**20], 1),
    "calendar": CALENDARS,
    "on_holiday": ON_HOLIDAY,
    "unique": mostly([True, "day", ["day"]], "nothing", 5, []),
    "unique_scope": SCOPE,
    "on_duplicate": DUPLICATE,
    "expires_in": DURATION,
    "must_finish_by": mostly(["06:00", "6:00", "23:59"], "24:00", 360),
    "must_start_within": DURATION,
    "at_least": mostly(["1 success in 26h", "3 successes in 1d"], "0 success in 1h"),
    "ping": ADDRESS,
    "alerts": st.fixed_dictionaries(
        {"email": st.lists(EMAIL, min_size=1, max_size=2)}, optional=ALERTS
    )
    | st.fixed_dictionaries({}, optional=ALERTS),
    "paused": st.booleans(),
    "keep": st.lists(mostly(["schedule", "timeout", "alerts", "name"], "nothing"), max_size=2),
    "name": TEXT,
}
SCHEDULES = st.one_of(
    st.fixed_dictionaries({"cron": CRON}),
    st.fixed_dictionaries({"every": DURATION}, optional={"anchor": INSTANT}),
    st.fixed_dictionaries({"every": DURATION, "after": st.sampled_from(["completion", "start"])}),
    st.fixed_dictionaries({"at": INSTANT}),
    st.fixed_dictionaries({"type": st.sampled_from(["manual", "fire-and-forget", "delayed"])}),
)
SELDOM = st.sampled_from([*[False] * 30, True])
KEY = st.builds("".join, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
PLACE_DEFAULTS = {
    "retries": JOB["retries"],
    "backoff": DURATION,
    "timeout": DURATION,
    "queue": QUEUE,
}
PLACE_QUEUE = {
    "workers": COUNT,
    "concurrency": COUNT,
    "isolation": ISOLATION,
    "aging": mostly(["5m", "1d"], "2d", "1500ms"),
}
QUEUE_KEYS = {**PLACE_QUEUE, "calendar": CALENDARS, "on_holiday": ON_HOLIDAY}
PLACE_FLOW = {
    "queue": QUEUE,
    "overlap": mostly(["skip", "allow"], "queue"),
    "paused": st.booleans(),
}
PLACE_JOB = {
    "unique_scope": SCOPE,
    "on_duplicate": DUPLICATE,
    "expires_in": LIMIT,
    **{key: JOB[key] for key in ("queue", "priority", "retries", "backoff")},
    **{key: JOB[key] for key in ("timeout", "overlap", "concurrency", "paused")},
}


def needing(keys: dict[str, st.SearchStrategy[Any]], *needed: str) -> st.SearchStrategy[Any]:
    """Draw a mapping with some of the keys, always with the needed keys."""
    return st.fixed_dictionaries(
        {key: keys[key] for key in needed},
        optional={key: value for key, value in keys.items() if key not in needed},
    )


TIME = mostly(["06:00", "22:00", "23:59"], "24:00")
HOURS = {
    "days": st.lists(mostly(["mon", "sat", "sun"], "someday"), max_size=2),
    "timezone": ZONE,
}
REACHED: dict[str, st.SearchStrategy[Any]] = {
    "email": st.lists(EMAIL, min_size=1, max_size=2),
    **{key: ALERTS[key] for key in ("slack", "teams", "webhook", "other")},
}
TELL = {**REACHED, "oncall": ALERTS["oncall"]}
QUIET = {
    "start": TIME,
    "end": TIME,
    "channels": st.lists(mostly(["email", "slack"], "E-Mail"), max_size=1),
    "email": REACHED["email"],
    **HOURS,
}
DIGEST = {"at": TIME, **HOURS, **TELL}
STEP = {"after": DURATION, **TELL}
ALERTING = {
    **TELL,
    "timezone": ZONE,
    "recovered": st.booleans(),
    "urgent": st.lists(mostly(["failure", "late", "recovered"], "success!"), max_size=2),
    "quiet": st.lists(needing(QUIET, "start", "end"), max_size=1),
    "digest": needing(DIGEST, "at", "email"),
    "escalation": st.lists(
        needing(STEP, "after", "email"),
        max_size=2,
    ),
    "channels": st.sampled_from([{}, {"ntfy": "smtplib:SMTP"}]),
}
SHIFT = {"who": st.just("dana"), "start": TIME, "end": TIME, "days": HOURS["days"]}
ONCALL = {
    "timezone": ZONE,
    "people": st.just({"dana": {"email": ["dana@example.com"]}}),
    "rota": st.lists(needing(SHIFT, "who"), max_size=2),
}

FLOW = {
    "cron": CRON,
    "every": DURATION,
    "at": INSTANT,
    "timezone": ZONE,
    "display_name": TEXT,
    "description": TEXT,
    "queue": QUEUE,
    "overlap": mostly(["skip", "allow"], "queue"),
    "unique": mostly([True, "month", ["month", "limit"]], "nothing", 5, []),
    "misfire": JOB["misfire"],
    "calendar": CALENDARS,
    "on_holiday": ON_HOLIDAY,
    "paused": st.booleans(),
    "arguments": st.sampled_from([{"month": "2026-10", "limit": 3, "deep": True, "rate": 0.5}, {}]),
}
FLOW_STEP = {
    "after": mostly(["first", ["first"]], "nowhere", [7]),
    "on": mostly(["success", "failure", "finish"], "end"),
    "when": mostly(["first.count > 0 and 'x' in first.kinds", "not first.done"], "len(first)"),
    "for_each": mostly(["first.files"], "nowhere.files"),
    "arguments": mostly(
        [{"path": "in/{first.day}.{{csv}}", "rows": [1, "{first.rows}"]}], {"a": "{"}
    ),
}
PROJECT = {
    "package": mostly(["acme_jobs", "_x"], "fastapi", "class"),
    "timezone": ZONE,
    "description": TEXT,
}
POOL = {
    "workers": mostly([1, 20], 0),
    "order": mostly(["weighted"], "strict", "fair"),
}
POOLED = {"pool": st.just("main"), "weight": mostly([1, 5], 0)}
DRAWN: dict[str, set[str]] = {
    "spec": {"targcc", "project", "scheduler", "checks", "ci", "mode", "queues", "pools", "calendars", "jobs", "database", "defaults", "moved", "environments", "alerts", "oncall", "flows", "features"},
    "project": {"name", *PROJECT},
    "flow": {*FLOW, "steps"},
    "flow step": {*FLOW_STEP, "job"},
    "queue": {*QUEUE_KEYS, *POOLED},
    "pool": {*POOL},
    "environment pool": {*POOL},
    "calendar": {*CALENDAR_KEYS},
    "defaults": {*PLACE_DEFAULTS},
    "job": {*JOB, "cron", "every", "anchor", "after", "at", "type", "blueprint", "procedure", "params"},
    "alerts": {*ALERTS, "email"},
    "limit": {*LIMIT_KEYS},
    "project alerts": {*ALERTING},
    "quiet": {*QUIET},
    "digest": {*DIGEST},
    "step": {*STEP},
    "oncall": {*ONCALL},
    "person": {*REACHED},
    "shift": {*SHIFT},
    "misfire": {"policy", "grace"},
    "environment": {"defaults", "queues", "pools", "jobs", "flows"},
    "environment defaults": {*PLACE_DEFAULTS},
    "environment queue": {*PLACE_QUEUE},
    "environment job": {*PLACE_JOB},
    "environment flow": {*PLACE_FLOW},
}  # fmt: skip
"""Drawn keys by kind of mapping; a test compares them with the existing keys."""


@st.composite
def some(draw: st.DrawFn, keys: dict[str, st.SearchStrategy[Any]], at_most: int) -> dict[str, Any]:
    """Draw a few of the keys with values."""
    chosen = draw(st.lists(st.sampled_from(list(keys)), unique=True, max_size=at_most))
    return {key: draw(keys[key]) for key in chosen}


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a job."""
    job: dict[str, Any] = draw(SCHEDULES)
    job |= draw(some(JOB, 4))
    if draw(st.integers(0, 3)):
        job["blueprint"] = draw(st.sampled_from(BLUEPRINTS))
    if job.get("blueprint") == "stored-procedure":
        job["procedure"] = draw(PROCEDURE)
    names = draw(st.lists(mostly(PARAMS, *TAKEN), unique=True, max_size=3))
    kinds = PARAM
    if "type" in job or draw(SELDOM):
        kinds |= st.sampled_from(list(PARAM_EXAMPLES))
    if job.get("limit", {}).get("key") == "day" or job.get("unique") in ("day", ["day"]):
        names += ["day"]
    if names:
        job["params"] = {name: draw(kinds) for name in names}
    return job


@st.composite
def flows(draw: st.DrawFn, keys: list[str]) -> dict[str, Any]:
    """Draw a flow of two steps over jobs of the spec."""
    job = mostly(keys[:-1], keys[-1])
    second = draw(some(FLOW_STEP, 3)) | {"after": draw(FLOW_STEP["after"]), "job": draw(job)}
    return draw(some(FLOW, 3)) | {"steps": {"first": {"job": draw(job)}, "second": second}}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a whole spec as YAML data."""
    named = draw(st.dictionaries(KEY, jobs(), min_size=1, max_size=3))
    keys = [*named, "Nobody"]
    # the last job follows other jobs; invalid are the job itself and an unknown job
    if draw(st.integers(0, 2)) == 0:
        parent = mostly(keys[:-2] or keys[:1], *keys[-2:])
        named["Following"] = {
            "after": draw(st.lists(parent, min_size=1, max_size=2)),
            **draw(some(JOB, 1)),
        }
    project = {"name": draw(mostly(["acme-jobs", "a", "X.y_z"], "json"))} | draw(some(PROJECT, 2))
    whole: dict[str, Any] = {
        "targcc": draw(mostly([1], 2)),
        "project": project,
        "scheduler": "package",
        "checks": draw(mostly(["standard", "strict"], "loose")),
        "ci": draw(mostly(["github", "gitlab"], "jenkins")),
        "mode": draw(mostly(["embedded", "pages"], "web")),
        "queues": {"critical": draw(some(QUEUE_KEYS, 2)), "slow-1": draw(some(QUEUE_KEYS, 2))},
        "calendars": {"holidays": draw(some(CALENDAR_KEYS, 3)), "nights": {"off": "sunday"}},
        "jobs": named,
    }
    place = {
        "defaults": some(PLACE_DEFAULTS, 2),
        "queues": st.dictionaries(QUEUE, some(PLACE_QUEUE, 2), max_size=1),
        "pools": st.just({}),
        "jobs": st.dictionaries(st.sampled_from(keys[:-1]), some(PLACE_JOB, 3), max_size=1),
        "flows": st.dictionaries(st.just("MonthlyFlow"), some(PLACE_FLOW, 2), max_size=1),
    }
    more: dict[str, st.SearchStrategy[Any]] = {
        "database": mostly(["sqlite", "postgresql", "mssql"], "mysql"),
        "defaults": some(PLACE_DEFAULTS, 3),
        "moved": st.dictionaries(st.just("Earlier"), mostly(keys[:-1], keys[-1]), max_size=1),
        "environments": st.dictionaries(
            st.sampled_from(["staging", "production"]), some(place, 3), max_size=2
        ),
        "alerts": some(ALERTING, 3),
        "oncall": some(ONCALL, 3),
        "flows": st.dictionaries(st.just("MonthlyFlow"), flows(keys), max_size=1),
        "features": st.lists(mostly(["notes", "late_starts"], "alerts", "Notes"), max_size=2),
    }
    whole |= draw(some(more, 3))
    if draw(st.booleans()):
        whole["queues"]["shared"] = {"pool": draw(mostly(["main"], "nowhere"))}
        whole["queues"]["shared"] |= draw(some(POOLED, 1))
        whole["pools"] = {"main": draw(some(POOL, 2))}
        for environment in whole.get("environments", {}).values():
            environment["pools"] = {"main": draw(some(POOL, 2))}
    if draw(SELDOM):
        whole[draw(st.sampled_from(["jbos", "queue", "Jobs"]))] = {}
    return whole
