"""The feature audit: pages, API and commands of the audit, and its chain."""

from ...core.languages import marked
from ...kernel.feature import Change, Commands, Feature, Loop, NavItem, Pages, Panel, Routes

FEATURE = Feature(
    __name__,
    parts=(
        Change("loops:UNSEALED", "unsealed"),
        Loop("loops:AuditChain", "audit"),
        Panel("panels:of_run", "run"),
        Panel("panels:of_overview", "overview"),
        Routes("api:router", paths=("audit",)),
        Pages("pages:router", nav=NavItem("/audit", "audit", marked("Audit"), shortcut="a")),
        Commands("commands:audit_group", "audit", after="cutover"),
    ),
)
