"""What the tests of this room get."""

from alert_sinks import mail_server, mailbox, slack, teams
from cluster_fixtures import client, cluster, empty_cluster
from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    notes,
    scheduler,
    settings,
    start_node,
)
