"""Fixtures for the node tests."""

from cluster_fixtures import client, cluster, empty_cluster
