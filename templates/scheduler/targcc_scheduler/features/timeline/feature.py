"""The feature timeline: timeline, upcoming slots and charts."""

from ...kernel.feature import Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Routes("api:router", paths=("calendar", "timeline", "heatmap", "jobs/*/trend")),
        Pages("pages:router"),
        Commands("commands:upcoming", "upcoming", after="why"),
        Commands("commands:timeline", "timeline", after="upcoming"),
        Commands("commands:heatmap", "heatmap", after="timeline"),
        Commands("commands:job_trend", "job trend"),
    ),
)
