"""Keep the runs of jobs that the old server runs from being claimed."""

import sqlalchemy as sa

from ...db.tables import job_owner, job_run
from ...kernel.job_owner import Owner

IS_OURS = job_run.c.JobName.not_in(
    sa.select(job_owner.c.JobName).where(
        job_owner.c.Owner != sa.literal_column(f"'{Owner.NEW}'")  # a parameter costs more
    )
)
"""Condition that this scheduler runs the job of a run."""
