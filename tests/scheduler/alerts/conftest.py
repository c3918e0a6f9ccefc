"""Fixtures for the alert tests."""

from alert_sinks import mail_server, mailbox, slack, teams
from cluster_fixtures import client, cluster, empty_cluster
