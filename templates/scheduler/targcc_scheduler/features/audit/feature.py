"""The feature audit: pages, API and commands of the audit, and its chain."""

from ...kernel.feature import Change, Commands, Feature, Loop, Pages, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Change("loops:UNSEALED", "unsealed"),
        Loop("loops:AuditChain", "audit"),
        Routes("api:router", paths=("audit",)),
        Pages("pages:router"),
        Commands("commands:audit_group", "audit", after="cutover"),
    ),
)
