"""Projects for tests: the values of their targcc.yaml."""

from pathlib import Path

from targcc_scheduler import Project

PATH = str(Path(__file__).resolve().parent)
"""Import path for separate processes."""

RIG = Project(
    name="rig-jobs",
    package="rig_jobs",
    timezone="Europe/Berlin",
    queues={"default": 5, "critical": 2},
    retries=3,
    backoff="1s",
)
WEB = Project(
    name="web-jobs",
    package="web_jobs",
    timezone="Europe/Berlin",
    queues={"default": 4, "critical": 2},
    retries=2,
)
NIGHT = Project(
    name="night-jobs",
    package="night_jobs",
    timezone="Asia/Jerusalem",
    queues={"default": 8, "slow": 2},
    retries=0,
)
PAIRS = Project(
    name="pair-jobs",
    package="pair_jobs",
    timezone="UTC",
    queues={"default": 16, "critical": 2},
    retries=0,
    calendars={"weekend": {"off": ("saturday", "sunday")}},
    flows={
        "Pair": {
            "arguments": {"tag": ""},
            "steps": {
                "first": {"job": "PairStep", "arguments": {"tag": "{flow.tag}"}},
                "second": {
                    "job": "PairStep",
                    "after": ["first"],
                    "arguments": {"tag": "{flow.tag} second"},
                },
            },
        }
    },
)
