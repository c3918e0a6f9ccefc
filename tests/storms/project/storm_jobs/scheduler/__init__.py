"""Scheduler of the project, as the generator writes it for a project on the package."""

import os

from targcc_scheduler import Project, configure

_FAN = {
    "arguments": {"token": "", "count": 0, "bad": 0, "key": ""},
    "retries": 5,
    "steps": {
        "split": {"job": "Split", "arguments": {"token": "{flow.token}-split", "count": "{flow.count}"}},
        "part": {
            "job": "Part",
            "after": "split",
            "for_each": "split.parts",
            "arguments": {"token": "{flow.token}-part-{item}", "number": "{item}", "bad": "{flow.bad}"},
        },
        "join": {
            "job": "Join",
            "after": "part",
            "arguments": {"token": "{flow.token}-join", "tenfold": "{part.tenfold}"},
        },
        "many": {
            "job": "Branch",
            "after": "split",
            "when": "split.count > 2",
            "arguments": {"token": "{flow.token}-many"},
        },
        "few": {
            "job": "Branch",
            "after": "split",
            "when": "split.count <= 2",
            "arguments": {"token": "{flow.token}-few"},
        },
        "once": {
            "job": "Single",
            "after": "split",
            "arguments": {"key": "{flow.key}", "token": "{flow.token}-once"},
        },
        "latest": {
            "job": "Pending",
            "after": "split",
            "arguments": {"key": "{flow.key}", "token": "{flow.token}-latest"},
        },
        "room": {
            "job": "Limited",
            "after": "split",
            "arguments": {"token": "{flow.token}-room"},
        },
        "sorry": {
            "job": "Branch",
            "after": ["part", "join"],
            "on": "failure",
            "arguments": {"token": "{flow.token}-sorry"},
        },
        "last": {
            "job": "Branch",
            "after": ["many", "few", "sorry"],
            "on": "finish",
            "arguments": {"token": "{flow.token}-last"},
        },
    },
}  # fmt: skip
"""A fan-out with its fan-in, two branches of which one runs, steps with unique keys and with a limit, a step after a failure, and a step
after all branches.
"""

_CHAIN = {
    "arguments": {"token": "", "seconds": 0.0, "fails": 0},
    "steps": {
        "first": {
            "job": "Handled",
            "arguments": {"token": "{flow.token}-first", "seconds": "{flow.seconds}", "fails": 0},
        },
        "second": {
            "job": "Handled",
            "after": "first",
            "arguments": {"token": "{flow.token}-second", "seconds": "{flow.seconds}", "fails": "{flow.fails}"},
        },
    },
}  # fmt: skip
"""Two steps of the job whose runs people change."""

_ORDER = os.environ.get("STORM_ORDER", "weighted")
_SHARED = {
    "workers": 2,
    "order": _ORDER,
    "queues": {"urgent": 3 if _ORDER == "weighted" else 1, "bulk": 1},
}

configure(
    Project(
        name="storm-jobs",
        package="storm_jobs",
        queues={"default": 8, "long": 4, "urgent": 2, "bulk": 2, "aging": 1, "prompt": 1},
        pools={"shared": _SHARED},
        queue_aging={"aging": 2},
        retries=3,
        backoff="200ms",
        flows={"Fan": _FAN, "Chain": _CHAIN},
        alerts={"channels": {"note": "storm_jobs.told:Told"}},
    )
)
