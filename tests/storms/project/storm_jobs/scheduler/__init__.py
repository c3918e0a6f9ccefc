"""The scheduler of the project, as the generator writes it for a project that depends on the package."""

from targcc_scheduler import Project, configure

configure(
    Project(
        name="storm-jobs",
        package="storm_jobs",
        queues={"default": 8, "long": 4},
        retries=3,
        backoff="200ms",
    )
)
