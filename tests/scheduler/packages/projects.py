"""The projects that tests play: what targcc.yaml would say."""

from pathlib import Path

from targcc_scheduler import Project

PATH = str(Path(__file__).resolve().parent)
"""What a process of its own needs on its path to import them."""

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
