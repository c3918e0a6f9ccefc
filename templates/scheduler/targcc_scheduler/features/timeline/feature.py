"""The feature timeline: timeline, upcoming slots and charts."""

from ...core.languages import marked
from ...kernel.feature import Commands, Feature, NavItem, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    needs=(
        "flows",
        "triage",
    ),
    parts=(
        Routes("api:router", paths=("calendar", "timeline", "heatmap", "jobs/*/trend")),
        Pages(
            "pages:router",
            nav=NavItem("/calendar", "calendar", marked("Calendar"), after="inbox", shortcut="c"),
        ),
        Panel("panels:of_job", "job"),
        Commands("commands:upcoming", "upcoming", after="why"),
        Commands("commands:timeline", "timeline", after="upcoming"),
        Commands("commands:heatmap", "heatmap", after="timeline"),
        Commands("commands:job_trend", "job trend"),
    ),
)
