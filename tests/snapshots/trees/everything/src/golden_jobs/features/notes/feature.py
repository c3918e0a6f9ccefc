"""The feature notes: texts that people leave at jobs, some of them until a day.

This module is the manifest. A part names its object as text, so that reading the manifest imports no part. Delete the parts that your
feature does not have, with their modules.
"""

from targcc_scheduler.kernel.feature import (
    Commands,
    Feature,
    Loop,
    NavItem,
    OwnedTable,
    Pages,
    Retention,
    Routes,
    WhyNot,
)

FEATURE = Feature(
    __name__,
    parts=(
        OwnedTable("model:entry"),
        Retention("model:prune"),
        WhyNot("model:reasons"),
        Loop("loops:remove_expired", "notes"),
        Routes("api:router", paths=("notes",)),
        Pages(
            "pages:router",
            nav=NavItem("/notes", "notes", "Notes"),
        ),
        Commands("commands:group", "notes"),
    ),
)
