"""The feature audit: pages, API and commands of the audit, and its chain."""

from ...kernel.feature import Commands, Feature, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Routes("api:router", paths=("audit",)),
        Pages("pages:router"),
        Commands("commands:audit_group", "audit", after="cutover"),
    ),
)
